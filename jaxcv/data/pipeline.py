"""Batches from a source. Position is the step: what batch k holds follows from (seed, k) alone, so a run
started at step k sees what an uninterrupted one sees, and nothing about the data need be saved.

Grain reads ahead, in threads or in worker processes; it changes when a batch is made, never what is in it.
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
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import grain
import numpy as np
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from jaxcv.data.source import Source
from jaxcv.errors import ConfigError, DataError, UserError

THREADS = min(8, os.cpu_count() or 1)
ALL = slice(None)
_open: weakref.WeakSet[Iterator] = weakref.WeakSet()
_shared = threading.Event()  # there are, or were, workers: they put batches into shared memory


@functools.lru_cache(maxsize=4)
def _epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)


def order(step: int, *, size: int, batch_size: int, seed: int) -> np.ndarray:
    """Indices int64 (batch_size,) of global batch `step` of an endless stream of epochs, each shuffled anew.

    A batch may straddle two epochs: every example comes once in each, whatever the batch size.
    """
    epoch, place = divmod(step * batch_size + np.arange(batch_size), size)
    return np.concatenate([_epoch_order(size, seed, int(e))[place[epoch == e]] for e in np.unique(epoch)])


def gather(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The examples of `source` at `indices` (b,), stacked. DataError when their shapes differ."""
    if hasattr(source, "take"):
        return source.take(indices)
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


def _train_batch(step: int, *, source: Source, batch_size: int, seed: int, rows: Any) -> dict[str, np.ndarray]:
    return gather(source, order(step, size=len(source), batch_size=batch_size, seed=seed)[rows])


def _eval_batch(step: int, *, source: Source, batch_size: int, rows: Any) -> dict[str, np.ndarray]:
    indices = (step * batch_size + np.arange(batch_size))[rows]
    valid = indices < len(source)
    return gather(source, np.minimum(indices, len(source) - 1)) | {"valid": valid.astype(np.float32)}


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    workers: int = 0,
    threads: int = THREADS,
    rows: np.ndarray | slice = ALL,
) -> Iterator[dict[str, np.ndarray]]:
    """Batches from step `start` on, without end, shuffled anew each epoch. Close it (contextlib.closing) when
    done.

    `batch_size` is global: what is yielded are these `rows` of each batch, one process's share. `workers`
    (processes, each with its copy of `source`) and `threads` (here, or in each worker; 0 reads nothing ahead) do
    not change what the batches hold. Raises DataError when `source` is smaller than a batch, and when an example
    cannot be read.
    """
    if len(source) < batch_size:
        size = "1 image" if len(source) == 1 else f"{len(source)} images"
        raise DataError(f"{source.info.name}: the train split has {size} < batch_size {batch_size}")
    if batch_size < 1 or seed < 0 or start < 0:
        raise ConfigError(f"batch_size={batch_size} must be positive, seed={seed} and start={start} not negative")
    batch = functools.partial(_train_batch, source=source, batch_size=batch_size, seed=seed, rows=rows)
    return _read_ahead(grain.MapDataset.range(start, sys.maxsize).map(batch), workers, threads)


def eval_batches(
    source: Source, *, batch_size: int, threads: int = THREADS, rows: np.ndarray | slice = ALL
) -> Iterator[dict[str, np.ndarray]]:
    """Every example once, in order: ceil(len(source) / batch_size) batches, which all have all their rows.

    "valid" float32 (b,) is 1 for an example and 0 for a row that only fills up the last batch (a copy of the
    last example). `rows` as of `train_batches`: every process yields equally many batches.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be positive")
    if len(source) == 0:
        raise DataError(f"{source.info.name}: there are no images to evaluate on")
    batch = functools.partial(_eval_batch, source=source, batch_size=batch_size, rows=rows)
    return _read_ahead(grain.MapDataset.range(-(-len(source) // batch_size)).map(batch), 0, threads)


def _read_ahead(batches: grain.MapDataset, workers: int, threads: int) -> Iterator[dict[str, np.ndarray]]:
    if workers < 0 or threads < 0:
        raise ConfigError(f"workers={workers} and threads={threads} must not be negative")
    if not flags.FLAGS.is_parsed():  # grain reads absl's flags, and a library's user may not use absl
        flags.FLAGS.mark_as_parsed()
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads and threads + 2)
    working = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    iterator = iter(batches.to_iter_dataset(reading).mp_prefetch(working, worker_init_fn=_init_worker))
    if workers:
        _shared.set()
    generator = _closing(iterator, workers)
    _open.add(generator)
    return generator


def _closing(iterator: grain.DatasetIterator, workers: int) -> Iterator[dict[str, np.ndarray]]:
    try:
        with _signals_left_to_parent() if workers else contextlib.nullcontext():
            first = list(itertools.islice(iterator, 1))
        while first:
            yield first.pop()  # not held here while the run lasts
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
def _signals_left_to_parent() -> Iterator[None]:
    """Workers that start meanwhile know neither Ctrl-C nor SIGTERM, which would end them before `_init_worker` is run.

    The signals reach this process by its other threads.
    """
    resource_tracker.ensure_running()  # starting it later would let them in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@atexit.register
def _close_all() -> None:
    """Grain's iterators must be gone before the interpreter takes its modules apart, or they fail noisily."""
    for generator in list(_open):
        with contextlib.suppress(ValueError):  # a thread is inside it still
            generator.close()
    if _shared.is_set():
        _await_deletions()


def _await_deletions() -> None:
    """Grain frees shared memory in a thread of its own, in order; what is left to it at exit is reported as leaked."""
    last = SharedMemoryArray((1,), np.uint8)
    last.unlink_on_del()
    memory = weakref.ref(last.shm)  # the thread holds it until it is freed
    del last
    deadline = time.monotonic() + 5
    while memory() is not None and time.monotonic() < deadline:
        time.sleep(0.001)


def _init_worker(index: int, count: int) -> None:
    """A worker leaves signals to its parent, and ends when its parent does, even by kill -9."""
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Not prctl(PR_SET_PDEATHSIG): it fires when the starting thread ends, and grain starts workers in one.
    multiprocessing.parent_process().join()
    os._exit(1)
