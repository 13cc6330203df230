"""The log of a run: a JSON object a line, `{"step": 10, "train/loss": 1.23, ...}`, and the same for TensorBoard.

Keys are `split/name`; values that depend on the wall clock are under `time/`.
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
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # strings, as JSON has no such numbers


class Log:
    """The open log of a run, from `open_log` or `no_log`; a context manager."""

    def __init__(self, jsonl: Path, event_file: Path, clock: Callable[[], float]):
        self._jsonl = jsonl.open("ab")
        self._events = event_file.open("ab")
        self._clock = clock

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends one line, and the scalars for TensorBoard; both survive the process from here on.

        metrics: `split/name` -> a float, or a numpy or JAX scalar; NaN and infinities are allowed.
        """
        if reserved := {"step", _WRITTEN} & set(metrics):
            raise ValueError(f"metrics must not contain {sorted(reserved)}: the log writes it itself")
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
    """Opens the log for appending, after removing the lines with a later step than `step` and an incomplete last line.

    step: the step of the restored checkpoint, -1 for a new run. Thus a run that was interrupted has the files of one
    that was not, apart from `time/`, provided that lines are written before the checkpoint of their step. TensorBoard's
    file is rewritten from the lines. Raises DataError if a line before the last is not a JSON object with a step.
    """
    kept = [(line, row) for line, row in _lines(jsonl) if row["step"] <= step]
    write_atomic(jsonl, b"".join(line for line, _ in kept))

    # Rewritten in place, under one name, so that a running TensorBoard continues to read it.
    event_file.parent.mkdir(exist_ok=True)
    opened = clock()
    content = [events.opening(opened)]
    for _, row in kept:
        values = {key: value for key, value in row.items() if key not in ("step", _WRITTEN)}
        content.append(events.scalars(row["step"], values, row.get(_WRITTEN, opened)))
    event_file.write_bytes(b"".join(content))
    return Log(jsonl, event_file, clock)


def no_log() -> Log:
    """A log that keeps nothing, for the processes that do not write the log."""
    return Log(Path(os.devnull), Path(os.devnull), time.time)


def _lines(path: Path) -> Iterator[tuple[bytes, dict]]:
    """The complete lines of a metrics file, each as (its bytes, its values); none if there is no file."""
    content = path.read_bytes() if path.exists() else b""
    lines = content.split(b"\n")[:-1]  # after the last newline, a line is incomplete
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row = {key: _NONFINITE[value] if isinstance(value, str) else value for key, value in row.items()}
            valid = isinstance(row["step"], int)
        except (ValueError, AttributeError, KeyError):
            valid = False
        if valid:
            yield line + b"\n", row
        elif number < len(lines):
            raise DataError(
                f'{path} line {number} is not a JSON object like {{"step": 10, "train/loss": 1.23}}: '
                "delete the line, or restore the file."
            )


def read_metrics(jsonl: Path) -> list[dict[str, float]]:
    """The lines of a log in order, NaN and infinities as floats, `step` an int, without an incomplete last line: a run
    may still be writing it. Raises DataError if there is no such file."""
    if not jsonl.exists():
        raise DataError(f"{jsonl} does not exist: name the workdir of a run that has started.")
    return [row for _, row in _lines(jsonl)]


def series(rows: Iterable[Mapping[str, float]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps int64, values float64) of the rows that have `key`, in order; empty arrays if none has."""
    rows = [row for row in rows if key in row]
    return np.array([row["step"] for row in rows], np.int64), np.array([row[key] for row in rows], np.float64)
