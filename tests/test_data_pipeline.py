"""Batches: position is the step, for any worker, thread and process count; nothing lost, nothing twice."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import data_files
from jaxcv.data import image_folder, pipeline
from jaxcv.data.source import Arrays, Info
from jaxcv.errors import ConfigError, DataError, UserError


def toy(size: int) -> Arrays:
    """Examples that carry their own index, in the label and in every pixel."""
    index = np.arange(size, dtype=np.int32)
    image = np.broadcast_to(index.astype(np.uint8)[:, None, None, None], (size, 4, 4, 3))
    info = Info("toy", tuple(map(str, index)), (4, 4, 3), (0.5,) * 3, (0.2,) * 3, "")
    return Arrays({"image": np.ascontiguousarray(image), "label": index}, info)


def take(count: int, source, **options) -> list[dict[str, np.ndarray]]:
    with contextlib.closing(pipeline.train_batches(source, **options)) as batches:
        return list(itertools.islice(batches, count))


def labels(batches) -> np.ndarray:
    for batch in batches:  # an example's parts stay together
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["label"].astype(np.uint8))
    return np.stack([batch["label"] for batch in batches])


def test_every_example_once_an_epoch_and_shuffled_anew():
    stream = labels(take(10, toy(35), batch_size=7, seed=3)).reshape(2, 35)
    for epoch in stream:
        assert sorted(epoch) == list(range(35)) and list(epoch) != list(range(35))
    assert not np.array_equal(stream[0], stream[1])


def test_batches_straddle_epochs():
    stream = labels(take(10, toy(10), batch_size=4, seed=0)).ravel()
    for epoch in stream.reshape(4, 10):
        assert sorted(epoch) == list(range(10))


def test_order_is_pinned_and_depends_on_the_seed():
    order = [pipeline.order(2, size=10, batch_size=4, seed=seed).tolist() for seed in (0, 1, 0)]
    assert order[0] == order[2] == [8, 1, 9, 1]
    assert order[0] != order[1]


@pytest.mark.parametrize(("workers", "then"), [(0, 3), (3, 1), (1, 0)])
def test_position_is_the_step_for_any_number_of_workers(workers, then):
    """Also where a run that had some goes on with others, in batches that straddle epochs and by one process's rows."""
    options = {"batch_size": 4, "seed": 5, "rows": np.array([1, 2])}
    stream = take(12, toy(10), threads=0, **options)
    batches = take(5, toy(10), workers=workers, **options) + take(7, toy(10), start=5, workers=then, **options)
    for name in ("image", "label"):
        np.testing.assert_array_equal(*[np.stack([b[name] for b in x]) for x in (batches, stream)])
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_nothing(threads):
    expected = labels(take(12, toy(10), batch_size=4, seed=5, threads=0))
    np.testing.assert_array_equal(labels(take(12, toy(10), batch_size=4, seed=5, threads=threads)), expected)


def test_far_steps_cost_nothing():
    stream = labels(take(1, toy(10), batch_size=4, seed=5, start=10**9))
    np.testing.assert_array_equal(stream[0], pipeline.order(10**9, size=10, batch_size=4, seed=5))


def test_the_rows_of_two_processes_make_the_batch_of_one():
    one = labels(take(6, toy(10), batch_size=4, seed=5))
    two = [labels(take(6, toy(10), batch_size=4, seed=5, rows=rows)) for rows in np.split(np.arange(4), 2)]
    np.testing.assert_array_equal(np.concatenate(two, 1), one)


def test_batch_arrays_are_the_callers_own():
    source = toy(8)
    batch = take(1, source, batch_size=8, seed=0)[0]
    batch["image"][:] = 255
    assert source.arrays["image"].max() == 7


def test_batch_larger_than_the_set():
    with pytest.raises(DataError, match="toy: the train split has 3 images < batch_size 8"):
        pipeline.train_batches(toy(3), batch_size=8, seed=0)
    with pytest.raises(DataError, match="toy: the train split has 1 image < batch_size 2"):
        pipeline.train_batches(toy(1), batch_size=2, seed=0)


def test_bad_options():
    with pytest.raises(ConfigError, match="batch_size=0 must be positive"):
        pipeline.train_batches(toy(10), batch_size=0, seed=0)
    with pytest.raises(ConfigError, match="batch_size=0 must be positive"):
        pipeline.eval_batches(toy(10), batch_size=0)
    with pytest.raises(ConfigError, match="batch_size=2 must be positive, seed=-1 and start=0 not negative"):
        pipeline.train_batches(toy(10), batch_size=2, seed=-1)
    with pytest.raises(ConfigError, match="workers=-1 and threads=1 must not be negative"):
        pipeline.train_batches(toy(10), batch_size=2, seed=0, workers=-1, threads=1)


@pytest.mark.parametrize("size", [1, 7, 8, 9])
@pytest.mark.parametrize("count", [1, 2])
def test_evaluation_sees_every_example_once_in_order(size, count):
    parts = [list(pipeline.eval_batches(toy(size), batch_size=4, rows=rows)) for rows in np.split(np.arange(4), count)]
    assert [len(part) for part in parts] == [-(-size // 4)] * count
    for part in parts:
        assert all(batch["image"].shape == (4 // count, 4, 4, 3) for batch in part)
        assert all(batch["valid"].dtype == np.float32 for batch in part)
    merged = [np.concatenate([[b[k] for b in part] for part in parts], 1).ravel() for k in ("label", "valid")]
    assert merged[0][merged[1] == 1].tolist() == list(range(size))
    assert merged[1].tolist() == [1.0] * size + [0.0] * (-size % 4)


@pytest.mark.parametrize("size", [3, 9])
def test_batches_of_evaluation_are_filled_up_for_any_number_of_devices(size):
    batches = list(pipeline.eval_batches(toy(size), batch_size=4, filled=6))
    assert [batch["label"].shape for batch in batches] == [(6,)] * -(-size // 4)
    seen = [batch["label"][batch["valid"] == 1].tolist() for batch in batches]
    assert seen == [list(range(start, min(start + 4, size))) for start in range(0, size, 4)]


def test_evaluation_of_nothing():
    with pytest.raises(DataError, match="toy: there are no images to evaluate on"):
        pipeline.eval_batches(toy(0), batch_size=4)


def test_ragged_examples_are_named():
    class Ragged:
        info = toy(1).info

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return {"image": np.zeros((4 + index // 3, 4, 3), np.uint8)}

    with pytest.raises(DataError, match=r"toy: image 3 has shape \(5, 4, 3\) but image 0 \(4, 4, 3\)"):
        list(pipeline.eval_batches(Ragged(), batch_size=4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_through_grain(tmp_path, workers):
    data_files.class_folders(tmp_path / "set/train", {"a": 4})
    bad = tmp_path / "set/train/a/002.png"
    bad.write_bytes(bad.read_bytes()[:100])
    source = image_folder.source("train", dir=str(tmp_path), folder="set", size=20, holdout=0)
    with pytest.raises(DataError, match=rf"^train\[2\] {bad}: .*truncated"):
        take(1, source, batch_size=4, seed=0, workers=workers)
    with pytest.raises(DataError, match=rf"^train\[2\] {bad}: .*truncated"):
        list(pipeline.eval_batches(source, batch_size=4))


def test_folder_batches_equal_its_examples(tmp_path):
    data_files.class_folders(tmp_path / "set/train", {"a": 3, "b": 3})
    source = image_folder.source("train", dir=str(tmp_path), folder="set", size=20, holdout=0)
    order = pipeline.order(0, size=6, batch_size=6, seed=1)
    batch = take(1, source, batch_size=6, seed=1)[0]
    assert batch["label"].dtype == np.int32 and batch["label"].tolist() == [int(i >= 3) for i in order]
    for row, index in zip(batch["image"], order):
        np.testing.assert_array_equal(row, source[index]["image"])


def test_a_worker_never_sees_ctrl_c():
    """It is blocked from the start: before `_init_worker`, Ctrl-C would leave a worker that ends without a word."""
    with contextlib.closing(pipeline.train_batches(toy(8), batch_size=8, seed=0, workers=2)) as batches:
        next(batches)
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        for worker in workers:
            status = Path(f"/proc/{worker.pid}/status").read_text()
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked >> (signal.SIGINT - 1) & 1 and blocked >> (signal.SIGTERM - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_killed_worker_is_an_error_with_a_hint():
    with contextlib.closing(pipeline.train_batches(toy(8), batch_size=8, seed=0, workers=1)) as batches:
        next(batches)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"a data worker died, .* use fewer data\.workers .*exit code -9"):
            for _ in range(100):
                next(batches)


SCRIPT = """
import multiprocessing, os, signal, sys, time
import numpy as np
from grain.multiprocessing import SharedMemoryArray
from jaxcv.data import pipeline
from jaxcv.data.source import Arrays, Info

free = SharedMemoryArray.close_shm_async
SharedMemoryArray.close_shm_async = lambda *args: (time.sleep(0.1), free(*args))  # as on a busy machine

info = Info("toy", tuple(map(str, range(64))), (1, 1, 1), (0.5,), (0.2,), "")

class Own(Arrays):  # workers get it, although they do not import this script
    pass

source = Own({"label": np.arange(64, dtype=np.int32)}, info)
batches = pipeline.train_batches(source, batch_size=8, seed=0, workers=2)
next(batches)  # needs no parsed absl flags
idle = pipeline.train_batches(source, batch_size=8, seed=0)
ended = pipeline.train_batches(source, batch_size=8, seed=0)
next(ended), ended.close()
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
if sys.argv[1] == "kill":
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("end", ["exit", "kill"])
def test_workers_end_with_their_parent_and_without_a_word(tmp_path, end):
    """The script has no main guard, and runs once."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        # Files, not pipes: a surviving worker would hold a pipe open.
        process = subprocess.run(
            [sys.executable, str(script), end],
            stdout=out,
            stderr=err,
            env=environment,
            timeout=100,
            check=False,
        )
    pids = [int(pid) for pid in (tmp_path / "out").read_text().split()]
    assert len(pids) == 2
    assert process.returncode == (0 if end == "exit" else -9)
    if end == "exit":
        assert (tmp_path / "err").read_text() == ""
    deadline = time.monotonic() + 20
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, pids))
