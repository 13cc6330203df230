"""A run's folder: one run at a time, no remains of an earlier one, one line where the disk is full."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxcv.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a system says where there is no room for a file


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Makes the workdir and holds it: two runs never write to one. The lock goes with the process, however it ends.

    Raises UserError where the folder cannot be made or written to, or another run holds it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / "lock").open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write to --workdir={workdir}: {error.strerror}; name a folder that you may write to."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            message = f"--workdir={workdir} is in use by another run (process {holder}); name another."
            raise UserError(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def clean(workdir: Path) -> None:
    """Removes the files and checkpoints that a killed run had not written to their end."""
    for file in workdir.rglob(".*.tmp"):
        file.unlink(missing_ok=True)
    for folder in (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(folder)


@contextmanager
def full_disk_told(workdir: Path) -> Iterator[None]:
    """Turns the error of a write for which there is no room into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"cannot write {error.filename or f'in {workdir}'}: {error.strerror}; make room and run the same command "
            "again: it goes on from the last checkpoint."
        ) from error
