"""A run's folder: the only place that spells the names of its files, and that keeps it to one run at a time."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.errors import UserError
from jaxcv.store.files import read_arrays, write_arrays, write_atomic, write_json
from jaxcv.store.log import Log, open_log, read_metrics

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a system says where there is no room for a file


class Folder:
    """The files of the run in `path`, a str or Path; nothing is made before it is written."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path).expanduser()
        self.config = self.path / "config.json"  # the resolved config
        self.manifest = self.path / "manifest.json"  # versions, devices, commit, seed, what is known of the data
        self.metrics = self.path / "metrics.jsonl"  # a line for each log step and evaluation
        self.events = self.path / "tensorboard" / "events.out.tfevents.jaxcv"  # the same for TensorBoard
        self.checkpoints = self.path / "checkpoints"
        self.result = self.path / "result.json"  # the numbers that are reported
        self.result_arrays = self.path / "result.npz"  # per class, confusion matrix
        self.examples = self.path / "examples"  # STEP.npz: what the network predicts for the same images
        self.figures = self.path / "figures"
        self.error_log = self.path / "error.log"
        self._lock = self.path / "lock"

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it: two runs never write to one. The lock goes with the process, however it ends.

        Raises UserError where the folder cannot be made or written to, or another run holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("a+")
        except OSError as error:
            raise UserError(
                f"cannot write to --workdir={self}: {error.strerror}; name a folder that you may write to."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                message = f"--workdir={self} is in use by another run (process {holder}); name another."
                raise UserError(message) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def full_disk_told(self) -> Iterator[None]:
        """Turns the error of a write for which there is no room into a UserError."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"cannot write {error.filename or f'in {self}'}: {error.strerror}; make room and run the same command "
                "again: it goes on from the last checkpoint."
            ) from error

    def clean(self) -> None:
        """Removes the files and checkpoints that a killed run had not written to their end."""
        for file in self.path.rglob(".*.tmp"):
            file.unlink(missing_ok=True)
        for folder in self.checkpoints.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(folder)

    def truncate(self, step: int | None) -> None:
        """Removes examples and results that a run which goes on from `step` (None: anew) will make again."""
        for file in self.examples.glob("*.npz"):
            if step is None or int(file.stem) > step:
                file.unlink()
        if step is None or self.read_result(step) is None:
            for file in (self.result, self.result_arrays):
                file.unlink(missing_ok=True)

    def read_config(self) -> dict[str, Any]:
        """What config.json holds. Raises UserError where it cannot be read."""
        return self._read(self.config)

    def read_manifest(self) -> dict[str, Any]:
        """What manifest.json holds. Raises UserError where it cannot be read."""
        return self._read(self.manifest)

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            content = json.loads(file.read_text())
            if isinstance(content, dict):
                return content
        except (OSError, ValueError):
            pass
        raise UserError(f"{self} is not the workdir of a run: it has no readable {file.name}.") from None

    def write_config(self, content: Mapping, *, keep: bool = False) -> None:
        """Writes config.json; with `keep` the old one stays beside it."""
        self._write(self.config, content, keep)

    def write_manifest(self, content: Mapping, *, keep: bool = False) -> None:
        """Writes manifest.json; with `keep` the old one stays beside it."""
        self._write(self.manifest, content, keep)

    def _write(self, file: Path, content: Mapping, keep: bool) -> None:
        """Writes a JSON file; with `keep` a copy of the old one stays, under the first number that is free."""
        if keep and file.exists():
            number = 1
            while (copy := file.with_name(f"{file.name}.{number}")).exists():
                number += 1
            write_atomic(copy, file.read_bytes())
        write_json(file, content)

    def open_log(self, *, step: int) -> Log:
        """The record of the run, cut back to `step`; see `jaxcv.store.log.open_log`."""
        return open_log(self.metrics, self.events, step=step)

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of the record, see `jaxcv.store.log.read_metrics`."""
        return read_metrics(self.metrics)

    def write_examples(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps what the network predicts for the examples at `step`."""
        write_arrays(self.examples / f"{step}.npz", arrays)

    def read_examples(self, *, last: int) -> dict[int, dict[str, np.ndarray]]:
        """Step -> what was kept of it, for the steps up to `last`."""
        steps = sorted(int(file.stem) for file in self.examples.glob("*.npz"))
        return {step: read_arrays(self.examples / f"{step}.npz") for step in steps if step <= last}

    def write_result(self, result: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays, then the numbers: a result whose numbers are there is whole."""
        write_arrays(self.result_arrays, arrays)
        write_json(self.result, result)

    def read_result(self, step: int | None = None) -> dict | None:
        """What result.json holds, if it can be read; with `step`, if it is that of a run which ended there."""
        try:
            result = json.loads(self.result.read_text())
            return result if step in (None, result["step"]) and self.result_arrays.exists() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read_result_arrays(self) -> dict[str, np.ndarray]:
        """What result.npz holds, by name."""
        return read_arrays(self.result_arrays)
