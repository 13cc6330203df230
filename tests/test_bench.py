"""The benchmark runs, adds up, and nothing recompiles while it times. It asserts no speed."""

import json

import pytest

import runs


def test_bench_prints_its_table_and_writes_its_numbers(tmp_path, cache):
    path = tmp_path / "bench.json"
    flags = ["--config=configs/colorize.py:tiny", "--steps=3", f"--json={path}"]
    code, out, err = runs.run("bench.py", *flags, cache=cache)
    assert code == 0, err
    for row in ("images/s", "data wait", "augmentation", "model", "MFU", "compile time", "peak memory"):
        assert row in out
    numbers = json.loads(path.read_text())
    assert numbers["recompilations"] == 0 and numbers["compilations"] > 0
    assert numbers["flops_per_step"] > 1e6 and numbers["memory/peak"] > 1e7
    assert 0 < numbers["mfu"] < 1
    parts = sum(numbers[f"time/{part}"] for part in ("data_wait", "augmentation", "model"))
    assert parts >= 0.99 * numbers["time/step"]
    assert numbers["images_per_second"] * numbers["time/step"] == pytest.approx(16)
