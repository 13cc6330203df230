"""docs/library.md: its code runs, in one process and in order, without a main guard."""

import re
import subprocess
import sys

import runs

PAGE = (runs.ROOT / "docs" / "library.md").read_text()


def test_the_code_of_the_page_runs(tmp_path, cache):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks))
    settings = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, script]
    done = subprocess.run(command, cwd=tmp_path, env=runs.environment(**settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = done.stdout.splitlines()
    assert len(blocks) == 4
    assert out[-3].startswith("(2, 32) ('disc',")
    assert re.fullmatch(r"2 [\d.]+ \['backbone', 'predictor', 'projector'\]", out[-2])
    assert out[-1] == "8 8"
