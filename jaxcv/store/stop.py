"""Stopping a run on SIGTERM or Ctrl-C, at a point where nothing is lost."""

import os
import signal
from collections.abc import Callable
from types import FrameType


class Stopped(Exception):
    """Ends a run after a signal; what is saved is complete."""


def never() -> bool:
    """The should_stop() of a run that no signal stops."""
    return False


def on_signals() -> Callable[[], bool]:
    """Returns should_stop(): whether SIGTERM or Ctrl-C has arrived. A second signal ends the process at once."""
    arrived: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        for each in signals:  # the system's default also ends a process that is inside a library
            signal.signal(each, signal.SIG_DFL)
        # Not print: the signal may have interrupted one.
        os.write(2, b"Stopping after this step is saved; press Ctrl-C once more to stop at once.\n")

    for number in signals:
        signal.signal(number, handle)
    return lambda: bool(arrived)
