"""Batches from a source. The step is the position: batch k depends on (seed, k) alone, so a run that resumes at step k
sees the same batches as an uninterrupted one, and no position in the data is saved.

Grain reads ahead, in threads or in worker processes; that affects when a batch is made, never its content.
"""

import atexit
import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from types import ModuleType

import grain
import numpy as np
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from jaxcv.data.check import check_labels
from jaxcv.data.source import Source
from jaxcv.errors import ConfigError, DataError, UserError

THREADS = min(8, os.cpu_count() or 1)
ALL = slice(None)
Rows = np.ndarray | slice
Batches = Generator[dict[str, np.ndarray], None, None]
_open: weakref.WeakSet[Batches] = weakref.WeakSet()
_shared = threading.Event()  # set once there are workers, which put batches into shared memory


@functools.lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)


def order(step: int, *, size: int, batch_size: int, seed: int) -> np.ndarray:
    """Indices int64 (batch_size,) of global batch `step` in an endless stream of epochs, each shuffled anew.

    A batch may straddle two epochs: every example appears once in each, whatever the batch size.
    """
    epoch, place = divmod(step * batch_size + np.arange(batch_size), size)
    return np.concatenate([_epoch_order(size, seed, int(e))[place[epoch == e]] for e in np.unique(epoch)])


def gather(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The examples of `source` at `indices` (b,), stacked. DataError if their shapes differ or a label is no class."""
    batch = source.take(indices) if hasattr(source, "take") else _stacked(source, indices)
    check_labels(batch, source, indices)
    return batch


def _stacked(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    examples = [source[int(index)] for index in indices]
    batch = {}
    for name, first in examples[0].items():
        for index, example in zip(indices, examples):
            if np.shape(example[name]) != np.shape(first):
                raise DataError(
                    f"{source.info.name}: {name} {index} has shape {np.shape(example[name])} but {name} "
                    f"{indices[0]} {np.shape(first)}; examples of one data set must not differ in shape"
                )
        batch[name] = np.stack([example[name] for example in examples])
    return batch


def _train_batch(step: int, *, source: Source, batch_size: int, seed: int, rows: Rows) -> dict[str, np.ndarray]:
    return gather(source, order(step, size=len(source), batch_size=batch_size, seed=seed)[rows])


def _eval_batch(step: int, *, source: Source, batch_size: int, filled: int, rows: Rows) -> dict[str, np.ndarray]:
    place = np.arange(filled)[rows]
    indices = step * batch_size + place
    valid = (indices < len(source)) & (place < batch_size)
    return gather(source, np.minimum(indices, len(source) - 1)) | {"valid": valid.astype(np.float32)}


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    workers: int = 0,
    threads: int = THREADS,
    rows: Rows = ALL,
) -> Batches:
    """Endless batches from step `start` on, shuffled anew each epoch. Close it (contextlib.closing) when done.

    `batch_size` is global; `rows`, one process's share of each batch, are yielded. `workers` (processes, each with its
    copy of `source`) and `threads` (here, or in each worker; 0 reads nothing ahead) do not change the content. Raises
    DataError when `source` is smaller than a batch, and when an example cannot be read.
    """
    if len(source) < batch_size:
        size = "1 image" if len(source) == 1 else f"{len(source)} images"
        raise DataError(f"{source.info.name}: the train split has {size} < batch_size {batch_size}")
    if batch_size < 1 or seed < 0 or start < 0:
        raise ConfigError(f"batch_size={batch_size} must be positive, seed={seed} and start={start} not negative")
    batch = functools.partial(_train_batch, source=source, batch_size=batch_size, seed=seed, rows=rows)
    return _read_ahead(grain.MapDataset.range(start, sys.maxsize).map(batch), workers, threads)


def eval_batches(
    source: Source, *, batch_size: int, filled: int = 0, threads: int = THREADS, rows: Rows = ALL
) -> Batches:
    """Every example once, in order: ceil(len(source) / batch_size) full batches.

    Each has `filled` rows, if that is more. "valid" float32 (b,) is 1 for an example and 0 for a row that fills up a
    batch, a copy of another example. `rows` as of `train_batches`: every process yields the same number of batches.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be positive")
    if len(source) == 0:
        raise DataError(f"{source.info.name}: there are no images to evaluate on")
    filled = max(filled, batch_size)
    batch = functools.partial(_eval_batch, source=source, batch_size=batch_size, filled=filled, rows=rows)
    return _read_ahead(grain.MapDataset.range(-(-len(source) // batch_size)).map(batch), 0, threads)


def _read_ahead(batches: grain.MapDataset, workers: int, threads: int) -> Batches:
    if workers < 0 or threads < 0:
        raise ConfigError(f"workers={workers} and threads={threads} must not be negative")
    if not flags.FLAGS.is_parsed():  # grain reads absl's flags, which a user of this library may not have parsed
        flags.FLAGS.mark_as_parsed()
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads and threads + 2)
    working = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    iterator = iter(batches.to_iter_dataset(reading).mp_prefetch(working, worker_init_fn=_init_worker))
    if workers:
        _shared.set()
    generator = _closing(iterator, workers)
    _open.add(generator)
    return generator


def _closing(iterator: grain.DatasetIterator, workers: int) -> Batches:
    try:
        with _starting_workers() if workers else contextlib.nullcontext():
            first = list(itertools.islice(iterator, 1))
        while first:
            yield first.pop()  # so that it is not kept in memory
        yield from iterator
    except RuntimeError as error:
        if "Worker process was terminated" in str(error):
            raise UserError(
                f"a data worker died, often because memory ran out: use fewer data.workers ({error})"
            ) from error
        raise
    finally:
        iterator.close()


@contextlib.contextmanager
def _starting_workers() -> Iterator[None]:
    """Workers started inside inherit blocked Ctrl-C and SIGTERM, which would end them before `_init_worker` runs. Nor
    do they import this process's script, which would run once more where it has no main guard.

    The signals reach this process through its other threads; what the script defines, grain pickles by value.
    """
    resource_tracker.ensure_running()  # starting it later would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@atexit.register
def _close_all() -> None:
    """Closes grain's iterators before the interpreter unloads modules, which would make them fail noisily."""
    for generator in list(_open):
        with contextlib.suppress(ValueError):  # a thread is still inside it
            generator.close()
    if _shared.is_set():
        _await_deletions()


def _await_deletions() -> None:
    """Waits for grain's thread that frees shared memory, in order: what is left at exit is reported as leaked."""
    last = SharedMemoryArray((1,), np.uint8)
    last.unlink_on_del()
    memory = weakref.ref(last.shm)  # the thread holds it until it is freed
    del last
    deadline = time.monotonic() + 5
    while memory() is not None and time.monotonic() < deadline:
        time.sleep(0.001)


def _init_worker(index: int, count: int) -> None:
    """Makes a worker ignore signals, and end when its parent does, even by kill -9."""
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Not prctl(PR_SET_PDEATHSIG): it fires when the starting thread ends, and grain starts workers in one.
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
