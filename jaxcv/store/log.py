"""The log of a run: a JSON object a line, `{"step": 10, "train/loss": 1.23, ...}`, and the same for TensorBoard.

Keys are `split/name`; values that depend on the wall clock are under `time/`.
"""

import json
import math
import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from jaxcv.errors import DataError
from jaxcv.store import events
from jaxcv.store.files import plain, write_atomic

_WRITTEN = "time/unix"  # when a line was written, in seconds since 1970
UNKNOWN = {"metrics": [0, sha256().hexdigest()], "events": [0, ""]}  # `digests` that were not saved: none are compared
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # strings, as JSON has no such numbers


class Log:
    """The open log of a run, from `open_log` or `no_log`; a context manager."""

    def __init__(self, jsonl: Path, event_file: Path, clock: Callable[[], float]):
        self._jsonl = _Appended(jsonl)
        self._events = _Appended(event_file)
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
        self._events.write(events.scalars(int(step), values, now))

    def digests(self) -> dict[str, list]:
        """[bytes, SHA-256] of both files as they are now, for `open_log`."""
        return {"metrics": self._jsonl.digest(), "events": self._events.digest()}

    def close(self) -> None:
        self._jsonl.close()
        self._events.close()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Appended:
    """A file that is appended to, each write at once, and its running SHA-256."""

    def __init__(self, path: Path):
        content = path.read_bytes() if path.is_file() else b""
        self._file, self._size, self._sha = path.open("ab"), len(content), sha256(content)

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self._size += len(data)
        self._sha.update(data)

    def digest(self) -> list:
        return [self._size, self._sha.hexdigest()]

    def close(self) -> None:
        self._file.close()


def open_log(
    jsonl: Path,
    event_file: Path,
    *,
    step: int,
    saved: Mapping[str, list] = UNKNOWN,
    clock: Callable[[], float] = time.time,
) -> Log:
    """Opens the log for appending, after removing the lines with a later step than `step` and an incomplete last line.

    step: the step of the restored checkpoint, -1 for a new run.  saved: the `digests` that were saved with it. Thus a
    run that was interrupted has the files of one that was not, apart from `time/`, provided that lines are written
    before the checkpoint of their step. Only what follows the saved part is read line by line.

    Lines that were doubled, added or put in another order are mended. Raises DataError, and changes nothing, where not
    all lines of `saved` are left, or if a line after them and before the last is not a JSON object with a step.
    TensorBoard's file is rewritten from the lines where it is not the saved one.
    """
    content = found = jsonl.read_bytes() if jsonl.exists() else b""
    head = _saved_part(content, saved["metrics"])
    if head is None:
        content = _sorted(content)
        head = _saved_part(content, saved["metrics"])
        if head is None:
            raise DataError(f"{jsonl} is not what was logged up to step {step}: lines of it are missing or changed.")
    after = _lines(jsonl, content[len(head) :], first=head.count(b"\n") + 1)
    tail = {line: row for line, row in after if row["step"] <= step}
    kept = head + b"".join(tail)
    if jsonl.exists() and found.startswith(kept):
        os.truncate(jsonl, len(kept))
    else:
        write_atomic(jsonl, kept)

    # Rewritten in place, under one name, so that a running TensorBoard continues to read it.
    event_file.parent.mkdir(exist_ok=True)
    opened, rows = clock(), list(tail.values())
    if event_file.exists() and _saved_part(event_file.read_bytes(), saved["events"]) is not None:
        os.truncate(event_file, saved["events"][0])
    else:
        event_file.write_bytes(events.opening(opened))
        rows = [row for _, row in _lines(jsonl, kept)]
    with event_file.open("ab") as file:
        file.writelines(_event(row, opened) for row in rows)
    return Log(jsonl, event_file, clock)


def _saved_part(content: bytes, saved: Sequence) -> bytes | None:
    """The beginning of `content` that has the [bytes, SHA-256] `saved`; None if there is none."""
    size, digest = saved
    return content[:size] if sha256(content[:size]).hexdigest() == digest else None


def _sorted(content: bytes) -> bytes:
    """The lines of a log in the order in which a run writes them, each once, without those that are none."""
    rows = {line + b"\n": row for line in content.split(b"\n")[:-1] if (row := _row(line))}
    return b"".join(line for line, _ in sorted(rows.items(), key=lambda x: (x[1]["step"], "train/loss" not in x[1])))


def _event(row: Mapping[str, float], opened: float) -> bytes:
    values = {key: value for key, value in row.items() if key not in ("step", _WRITTEN)}
    return events.scalars(int(row["step"]), values, row.get(_WRITTEN, opened))


def no_log() -> Log:
    """A log that keeps nothing, for the processes that do not write the log."""
    return Log(Path(os.devnull), Path(os.devnull), time.time)


def _row(line: bytes) -> dict | None:
    """The values in a line of a log; None if it is none."""
    try:
        row = json.loads(line)
        row = {key: _NONFINITE[value] if isinstance(value, str) else value for key, value in row.items()}
        return row if isinstance(row["step"], int) else None
    except (ValueError, AttributeError, KeyError):
        return None


def _lines(path: Path, content: bytes, part: bytes = b"", *, first: int = 1) -> Iterator[tuple[bytes, dict]]:
    """The complete lines with `part` in the content of the log `path` from line `first` on, each as (its bytes, its
    values)."""
    lines = content.split(b"\n")[:-1]  # after the last newline, a line is incomplete
    for number, line in enumerate(lines, first):
        if part not in line:
            continue
        if row := _row(line):
            yield line + b"\n", row
        elif number - first < len(lines) - 1:
            raise DataError(
                f'{path} line {number} is not a JSON object like {{"step": 10, "train/loss": 1.23}}: '
                "delete the line, or restore the file."
            )


def read_metrics(jsonl: Path, split: str = "") -> list[dict[str, float]]:
    """The lines of a log in order, NaN and infinities as floats, `step` an int, without an incomplete last line: a run
    may still be writing it.

    split: only the lines with metrics of this split. Raises DataError if there is no such file.
    """
    if not jsonl.exists():
        raise DataError(f"{jsonl} does not exist: name the workdir of a run that has started.")
    return [row for _, row in _lines(jsonl, jsonl.read_bytes(), f'"{split}/'.encode() if split else b"")]


class Series:
    """The values of a log by key, while it grows: each of its lines is read once."""

    def __init__(self, jsonl: Path):
        self._jsonl, self._bytes, self._count = jsonl, 0, 0  # of the lines that have been read
        self._columns: dict[str, tuple[array, array]] = {}

    def read(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Key -> (steps int64, values float64) of the complete lines that have it by now, in order."""
        content = self._jsonl.read_bytes()[self._bytes :] if self._jsonl.exists() else b""
        for line, row in _lines(self._jsonl, content, first=self._count + 1):
            self._bytes, self._count = self._bytes + len(line), self._count + 1
            step = row.pop("step")
            for key, value in row.items():
                steps, values = self._columns.setdefault(key, (array("q"), array("d")))
                steps.append(step)
                values.append(value)
        return {key: (np.array(steps), np.array(values)) for key, (steps, values) in self._columns.items()}
