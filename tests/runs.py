"""Real runs of the commands under launch/, in processes of their own, for the tests that need them."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np

import data_files
from jaxcv.store import events
from jaxcv.store.checkpoint import restore_raw
from jaxcv.store.files import read_arrays
from jaxcv.store.folder import Folder

ROOT = Path(__file__).parent.parent
TINY = "--config=configs/byol.py:tiny"


def load_config(name, variant):
    """The config that configs/NAME.py gives for a variant."""
    return runpy.run_path(str(ROOT / "configs" / f"{name}.py"))["get_config"](variant)


def start(script, *flags, cache=None, **settings):
    """A command under launch/ as a Popen; see `environment`. `cache`: where it leaves and finds what is compiled."""
    if cache is not None:
        settings |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    since = time.time()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "launch" / script), *flags],
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.since = since  # for `until`
    return process


def environment(*, devices=1, **settings):
    """Unoptimised, so that a process starts soon, with so many CPU devices."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "COLUMNS": "200",
        **settings,
    }


def python(code, **settings):
    """What a Python process prints that runs `code` with tests/ on its path."""
    env = environment(PYTHONPATH=str(ROOT / "tests"), **settings)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def finish(process, timeout=300):
    """(exit code, stdout, stderr) of a process that ends by itself."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def run(script, *flags, **options):
    return finish(start(script, *flags, **options))


def until(process, workdir, step, timeout=300):
    """Waits until the run has logged `step`; what a process before it had logged does not count."""
    path = Path(workdir) / "metrics.jsonl"
    for _ in range(int(timeout / 0.01)):
        own = path.exists() and path.stat().st_mtime > process.since
        if own and any(row["step"] >= step for row in lines(path)):
            return
        if process.poll() is not None:
            raise AssertionError(f"the run ended before step {step}: {process.communicate()[1]}")
        time.sleep(0.01)
    raise AssertionError(f"step {step} never came")


def lines(path):
    """What metrics.jsonl holds apart from the wall clock; a half-written last line is left out."""
    text = Path(path).read_text()
    rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def digest(workdir, step):
    """SHA-256 over every array of a checkpoint, by name."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(restore_raw(Folder(workdir), step)):
        sha.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return sha.hexdigest()


def flags_of(name, root):
    """The command line of a tiny run; `root`: where its data are to be."""
    small = ()
    if name == "fashion_mnist":
        if not (root / name).exists():
            data_files.fashion_mnist(root, train=160, test=40)
        small = (f"data.dir={root}", "data.limit=128", "data.holdout=32", "train.log_every_steps=1")
    elif name == "camvid":
        if not (root / "CamVid").exists():
            data_files.camvid(root / "CamVid", counts={"train": 16, "val": 4, "test": 4}, size=(64, 32))
        small = (f"data.dir={root}",)
    return [f"--config=configs/{name}.py:tiny", *(f"--config.{x}" for x in small)]


def steps(workdir):
    """The steps that are saved in a workdir."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())


def as_event(row):
    """A line of metrics.jsonl as TensorBoard's file must have it."""
    values = {name: value for name, value in row.items() if name not in ("step", "time/unix")}
    return events.scalars(row["step"], values, row["time/unix"])


def assert_same_run(a, b, *, stopped=False):
    """Metrics, TensorBoard's too, parameters, results and examples are the same, bit for bit.

    stopped: one of them by a signal, so that it may have kept the step that it saved then instead of another.
    """
    assert lines(a / "metrics.jsonl") == lines(b / "metrics.jsonl")
    for workdir in (a, b):
        content = (workdir / "tensorboard/events.out.tfevents.jaxcv").read_bytes()
        assert content[len(events.opening(0.0)) :] == b"".join(map(as_event, Folder(workdir).read_metrics()))
    assert steps(a) == steps(b) or (stopped and steps(a)[-1] == steps(b)[-1]), (steps(a), steps(b))
    for step in set(steps(a)) & set(steps(b)):
        assert digest(a, step) == digest(b, step)
    assert (a / "result.json").read_text() == (b / "result.json").read_text()
    examples = sorted(path.name for path in (a / "examples").iterdir())
    assert examples == sorted(path.name for path in (b / "examples").iterdir())
    for name in examples:
        one, other = (read_arrays(workdir / "examples" / name) for workdir in (a, b))
        assert all(np.array_equal(one[key], other[key]) for key in one | other)


def damages(path):
    """Ways in which a file can be damaged, each a function of no arguments."""
    content = path.read_bytes()
    positions = {0, len(content) // 2, len(content) - 1} if content else ()
    for position in positions:
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        yield lambda flipped=flipped: path.write_bytes(flipped)
    yield lambda: path.write_bytes(content[: len(content) // 2])
    yield lambda: path.write_bytes(b"")
    yield path.unlink
