"""The log of a run: a JSON object a line, `{"step": 10, "train/loss": 1.23, ...}`, and the same for TensorBoard.

Keys are `split/name`; values that depend on the wall clock are under `time/`.
"""

import json
import math
import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
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
    file, an event for each line, is cut back likewise, and what it lacks is added. Raises DataError if a line before
    the last is not a JSON object with a step.
    """
    kept = [(line, row) for line, row in _lines(jsonl) if row["step"] <= step]
    write_atomic(jsonl, b"".join(line for line, _ in kept))

    # In place, under one name, so that a running TensorBoard continues to read it.
    opened = clock()
    content = event_file.read_bytes() if event_file.exists() else b""
    ends = events.record_ends(content)[: 1 + len(kept)]  # of the opening, and of the event of each line
    if len(ends) > 1 and content[ends[-2] : ends[-1]] != _event(kept[len(ends) - 2][1], opened):
        ends = ends[:1]
    missing = [_event(row, opened) for _, row in kept[max(0, len(ends) - 1) :]]
    event_file.parent.mkdir(exist_ok=True)
    with event_file.open("ab") as file:
        file.truncate(ends[-1] if ends else 0)
        file.write(b"".join(missing if ends else [events.opening(opened), *missing]))
    return Log(jsonl, event_file, clock)


def _event(row: Mapping[str, float], opened: float) -> bytes:
    """The event of a line of the log; opened: when it was written, if the line does not say it."""
    values = {key: value for key, value in row.items() if key not in ("step", _WRITTEN)}
    return events.scalars(int(row["step"]), values, row.get(_WRITTEN, opened))


def no_log() -> Log:
    """A log that keeps nothing, for the processes that do not write the log."""
    return Log(Path(os.devnull), Path(os.devnull), time.time)


def _lines(path: Path, start: int = 0) -> Iterator[tuple[bytes, dict]]:
    """The complete lines of a metrics file from byte `start` on, each as (its bytes, its values); none if there is no
    file."""
    content = path.read_bytes() if path.exists() else b""
    before = content.count(b"\n", 0, start)
    lines = content[start:].split(b"\n")[:-1]  # after the last newline, a line is incomplete
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
                f'{path} line {before + number} is not a JSON object like {{"step": 10, "train/loss": 1.23}}: '
                "delete the line, or restore the file."
            )


def read_metrics(jsonl: Path) -> list[dict[str, float]]:
    """The lines of a log in order, NaN and infinities as floats, `step` an int, without an incomplete last line: a run
    may still be writing it. Raises DataError if there is no such file."""
    if not jsonl.exists():
        raise DataError(f"{jsonl} does not exist: name the workdir of a run that has started.")
    return [row for _, row in _lines(jsonl)]


class Series:
    """The values of a log by key, while it grows: each of its lines is read once."""

    def __init__(self, jsonl: Path):
        self._jsonl, self._read = jsonl, 0  # bytes
        self._columns: dict[str, tuple[array, array]] = {}

    def read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Key -> (steps int64, values float64) of the complete lines that have it by now, in order."""
        for line, row in _lines(self._jsonl, self._read):
            self._read += len(line)
            step = row.pop("step")
            for key, value in row.items():
                steps, values = self._columns.setdefault(key, (array("q"), array("d")))
                steps.append(step)
                values.append(value)
        return {key: (np.array(steps), np.array(values)) for key, (steps, values) in self._columns.items()}
