"""The record of a run: a JSON object a line, `{"step": 10, "train/loss": 1.23, ...}`.

Keys read `split/name`; what depends on the wall clock is under `time/`. TensorBoard's file is derived from it.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from jaxcv.errors import DataError
from jaxcv.store import events
from jaxcv.store.files import plain, write_atomic

_WRITTEN = "time/unix"  # when a line was written, in seconds since 1970
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no such numbers: they are strings


class Log:
    """The open record of a run; made by `open_log` or `no_log`, usable in a `with`."""

    def __init__(self, jsonl: Path, event_file: Path, clock: Callable[[], float]):
        self._jsonl = jsonl.open("ab")
        self._events = event_file.open("ab")
        self._clock = clock

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line, and the scalars for TensorBoard; both have left the process when this returns.

        metrics: `split/name` -> a number (a float, or a numpy or JAX scalar; NaN and infinities allowed).
        """
        if taken := {"step", _WRITTEN} & set(metrics):
            raise ValueError(f"metrics must not contain {sorted(taken)}: the log writes it itself")
        values = {name: float(metrics[name]) for name in sorted(metrics)}
        now = round(self._clock(), 3)
        line = json.dumps(plain({"step": int(step), **values, _WRITTEN: now}), allow_nan=False)
        self._jsonl.write(f"{line}\n".encode())
        self._jsonl.flush()
        self._events.write(events.scalars(int(step), values, now))
        self._events.flush()

    def close(self) -> None:
        self._jsonl.close()
        self._events.close()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_log(jsonl: Path, event_file: Path, *, step: int, clock: Callable[[], float] = time.time) -> Log:
    """Cuts the record back to its lines with step <= `step` and opens it for the lines that follow.

    step: the step of the restored checkpoint, -1 for a run that starts anew. So the files of an interrupted run become
    those of an uninterrupted one, apart from `time/`. Lines up to a checkpoint's step must be written before that
    checkpoint is. A half-written last line is dropped; TensorBoard's file is written afresh from the lines. Raises
    DataError if a line before the last is not a JSON object with a step.
    """
    kept = [(line, row) for line, row in _lines(jsonl) if row["step"] <= step]
    write_atomic(jsonl, b"".join(line for line, _ in kept))

    # Rewritten in place under one name: a TensorBoard that is watching reads on where it was.
    event_file.parent.mkdir(exist_ok=True)
    opened = clock()
    content = [events.opening(opened)]
    for _, row in kept:
        values = {key: value for key, value in row.items() if key not in ("step", _WRITTEN)}
        content.append(events.scalars(row["step"], values, row.get(_WRITTEN, opened)))
    event_file.write_bytes(b"".join(content))
    return Log(jsonl, event_file, clock)


def no_log() -> Log:
    """A log that keeps nothing, for a process that is not the one to keep the record."""
    return Log(Path(os.devnull), Path(os.devnull), time.time)


def _lines(path: Path) -> Iterator[tuple[bytes, dict]]:
    """The whole lines of a metrics file, each as (its bytes, its values); none if there is no file."""
    content = path.read_bytes() if path.exists() else b""
    lines = content.split(b"\n")[:-1]  # what follows the last newline is half a line
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row = {key: _NONFINITE[value] if isinstance(value, str) else value for key, value in row.items()}
            whole = isinstance(row["step"], int)
        except (ValueError, AttributeError, KeyError):
            whole = False
        if whole:
            yield line + b"\n", row
        elif number < len(lines):
            raise DataError(
                f'{path} line {number} is not a JSON object like {{"step": 10, "train/loss": 1.23}}: '
                "delete the line, or restore the file."
            )


def read_metrics(jsonl: Path) -> list[dict[str, float]]:
    """The lines of a record in order, NaN and infinities as floats, `step` an int. A run may still be writing: a
    half-written last line is left out. Raises DataError where there is no such file."""
    if not jsonl.exists():
        raise DataError(f"{jsonl} does not exist: name the workdir of a run that has started.")
    return [row for _, row in _lines(jsonl)]


def series(rows: Iterable[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps int64, values float64) of the rows that hold `key`, in order; empty arrays if none does."""
    found = [(row["step"], row[key]) for row in rows if key in row]
    steps, values = zip(*found) if found else ((), ())
    return np.array(steps, np.int64), np.array(values, np.float64)
