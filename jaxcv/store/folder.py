"""The folder of a run: the names of its files, and a lock, so that two runs never write to it at once."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.errors import DataError, UserError
from jaxcv.store.files import is_whole, numbered, plain, read_arrays, sealed, write_arrays, write_atomic, write_json
from jaxcv.store.log import UNKNOWN, Log, Series, open_log, read_metrics
from jaxcv.store.manifest import identity

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a write without room for it


class Folder:
    """The files of the run in `path`; none is created before it is written."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path).expanduser()
        self.config = self.path / "config.json"  # the resolved config
        self.manifest = self.path / "manifest.json"  # versions, devices, commit, seed, facts about the data
        self.metrics = self.path / "metrics.jsonl"  # a line for each log step and evaluation
        self.events = self.path / "tensorboard" / "events.out.tfevents.jaxcv"  # the same for TensorBoard
        self.checkpoints = self.path.absolute() / "checkpoints"  # orbax takes absolute paths only
        self.result = self.path / "result.json"  # the reported numbers
        self.result_arrays = self.path / "result.npz"  # the reported arrays: per class, confusion matrix
        self.examples = self.path / "examples"  # STEP.npz: predictions for the same few images
        self.figures = self.path / "figures"
        self.error_log = self.path / "error.log"
        self._lock = self.path / "lock"

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the folder and locks it; the lock ends with the process, however that ends.

        A UserError before the run has logged a training step or saved a checkpoint removes what was made here since.
        Raises UserError if the folder cannot be created or written to, or if another run has locked it. Where files
        cannot be locked, this is said.
        """
        try:
            missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
            before = {*self.path.glob("*")}
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("a+")
        except OSError as error:
            raise UserError(
                f"cannot write to --workdir={self}: {error.strerror}; name a folder that you may write to."
            ) from None
        with file:
            try:
                import fcntl  # Windows has none

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                process = file.read().strip() or "unknown"
                raise UserError(
                    f"--workdir={self} is in use by another run (process {process}); name another."
                ) from None
            except (ImportError, OSError) as error:
                reason = getattr(error, "strerror", None) or "this system has no file locks"
                print(f"{self} is not guarded against a second run at the same time: {reason}.", flush=True)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            except UserError:
                if not self._has_trained():
                    for path in {*self.path.glob("*")} - before:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                    with suppress(OSError):  # a folder above it that something else is in by now
                        for path in missing:
                            path.rmdir()
                raise

    def _has_trained(self) -> bool:
        """Whether a run here has saved a checkpoint or logged a training step."""
        logged = self.metrics.read_bytes() if self.metrics.exists() else b""
        return any(self.checkpoints.glob("[0-9]*")) or b'"train/' in logged

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Turns the error of a write without room for it, and that of a file which is gone, into a UserError."""
        try:
            yield
        except FileNotFoundError as error:
            if not Path(str(error.filename)).absolute().is_relative_to(self.path.absolute()):
                raise
            raise UserError(
                f"{error.filename} was removed during the run; restore it and run the same command again: it resumes "
                "from the last checkpoint."
            ) from error
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"cannot write {error.filename or f'in {self}'}: {error.strerror}; make room and run the same command "
                "again: it resumes from the last checkpoint."
            ) from error

    def clean(self) -> None:
        """Removes the incomplete files and checkpoints of a killed run."""
        for path in [*self.path.rglob(".*.tmp"), *self.checkpoints.glob("*.orbax-checkpoint-tmp*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def truncate(self, step: int | None) -> None:
        """Removes the examples and results that a run which resumes from `step` (None: starts) will write again."""
        for made, file in numbered(self.examples, ".npz").items():
            if step is None or made > step:
                file.unlink()
        try:
            result = None if step is None else self.read_result(step)
        except DataError as error:
            print(f"{error} It is evaluated anew.")
            result = None
        if result is None or result.get("reported_step", step) not in self.example_steps():
            for file in (self.result, self.result_arrays):
                file.unlink(missing_ok=True)

    def read_config(self) -> dict[str, Any]:
        """The content of config.json. Raises UserError if it cannot be read."""
        return self._read(self.config)

    def read_manifest(self) -> dict[str, Any]:
        """The content of manifest.json. Raises UserError if it cannot be read, or is not what the run has written.
        Earlier versions kept no SHA-256."""
        content = self._read(self.manifest)
        if "sha256" in content and not is_whole(content):
            raise UserError(f"{self.manifest} is not what the run has written.")
        return content

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            content = json.loads(file.read_text())
            if isinstance(content, dict):
                return content
        except (OSError, ValueError):
            pass
        raise UserError(f"{self} is not the workdir of a run: it has no readable {file.name}.") from None

    def identities(self) -> set[str]:
        """The identities of the run that may be in its checkpoints, as --override changes it; empty where config or
        manifest cannot be read."""
        try:
            manifest = self.read_manifest()
            return {identity(self.read_config(), manifest["data"]), *manifest.get("overridden", ())}
        except (UserError, KeyError):
            return set()

    def write_config(self, content: Mapping, *, keep: bool = False) -> None:
        """Writes config.json; keep: with a copy of the old one."""
        self._write(self.config, content, keep)

    def write_manifest(self, content: Mapping, *, keep: bool = False) -> None:
        """Writes manifest.json; keep: with a copy of the old one."""
        self._write(self.manifest, sealed(plain(content)), keep)

    def _write(self, file: Path, content: Mapping, keep: bool) -> None:
        """Writes a JSON file; keep: the old one is copied to NAME.N, N the first free number."""
        if keep and file.exists():
            copies = (file.with_name(f"{file.name}.{number}") for number in count(1))
            write_atomic(next(copy for copy in copies if not copy.exists()), file.read_bytes())
        write_json(file, content)

    def open_log(self, *, step: int, saved: Mapping[str, list] = UNKNOWN) -> Log:
        """The log of the run, cut back to `step`; see `jaxcv.store.log.open_log`."""
        return open_log(self.metrics, self.events, step=step, saved=saved)

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of the log, see `jaxcv.store.log.read_metrics`."""
        return read_metrics(self.metrics)

    def series(self) -> Series:
        """The log by key, see `jaxcv.store.log.Series`."""
        return Series(self.metrics)

    def read_evaluations(self) -> list[dict[str, float]]:
        """The lines of the log that come from evaluations, which are few."""
        return read_metrics(self.metrics, "val")

    def write_examples(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the predictions for the examples at `step`."""
        write_arrays(self.examples / f"{step}.npz", arrays)

    def example_steps(self) -> list[int]:
        """The steps whose predictions for the examples are there."""
        return list(numbered(self.examples, ".npz"))

    def read_examples(self, *, last: int) -> dict[int, dict[str, np.ndarray]]:
        """Step -> the predictions for the examples, for the steps up to `last`."""
        return {step: read_arrays(file) for step, file in numbered(self.examples, ".npz").items() if step <= last}

    def write_result(self, result: Mapping, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays, then the numbers: where there are numbers, the result is complete."""
        write_arrays(self.result_arrays, arrays)
        write_json(self.result, sealed(plain({**result, "arrays_sha256": self._arrays_sha256()})))

    def read_result(self, step: int | None = None) -> dict | None:
        """The content of result.json; None if there is none, or, with `step`, if the run did not end there.

        Raises DataError if it, or result.npz, is not what the run has written. Earlier versions kept no SHA-256.
        """
        if not self.result.exists() or not self.result_arrays.exists():
            return None
        changed = self.result
        with suppress(ValueError, KeyError, TypeError):
            result = json.loads(self.result.read_text())
            end = result["step"]
            if "sha256" not in result or (is_whole(result) and result["arrays_sha256"] == self._arrays_sha256()):
                return result if step in (None, end) else None
            changed = self.result_arrays if is_whole(result) else self.result
        raise DataError(f"{changed} is not what the run has written: delete it and run the same command again.")

    def _arrays_sha256(self) -> str:
        return sha256(self.result_arrays.read_bytes()).hexdigest()

    def read_result_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of result.npz, by name."""
        return read_arrays(self.result_arrays)
