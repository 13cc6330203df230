"""A run is asked to stop by SIGTERM or Ctrl-C, and stops where nothing is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(Exception):
    """Ends what a signal has asked to stop; what is saved is whole."""


def never() -> bool:
    """Nobody asks."""
    return False


@contextmanager
def signals() -> Iterator[Callable[[], bool]]:
    """Yields asked(): whether SIGTERM or Ctrl-C has come. A second signal ends the process at once."""
    came: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        came.append(number)
        for each in numbers:  # the system's own: it also ends a process that is inside a library
            signal.signal(each, signal.SIG_DFL)
        # Not print: it may have been interrupted in the middle of a line.
        os.write(2, b"Stopping as soon as nothing is lost by it; once more to stop at once.\n")

    old = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
