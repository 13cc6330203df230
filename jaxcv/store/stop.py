"""A run is asked to stop by SIGTERM or Ctrl-C, and stops where nothing is lost."""

import os
import signal
from collections.abc import Callable
from typing import Any


class Stopped(Exception):
    """Ends what a signal has asked to stop; what is saved is whole."""


def never() -> bool:
    """Nobody asks."""
    return False


def on_signals() -> Callable[[], bool]:
    """Returns should_stop(): whether SIGTERM or Ctrl-C has come since. A second signal ends the process at once."""
    came: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        came.append(number)
        for each in numbers:  # the system's own way, which also ends a process that is inside a library
            signal.signal(each, signal.SIG_DFL)
        # Not print: it may have been interrupted in the middle of a line.
        os.write(2, b"Stopping as soon as nothing is lost by it; once more to stop at once.\n")

    for number in numbers:
        signal.signal(number, note)
    return lambda: bool(came)
