"""The progress of a run: a bar on a terminal, elsewhere a plain line now and then."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from rich import progress as bars
from rich.console import Console


class _Mark(NamedTuple):
    step: int
    time: float  # seconds of training so far, without pauses
    wait: float  # of them, seconds of waiting for data


class Progress:
    """The progress of a run of `total` steps, from step `start`; a context manager.

    images_per_step: the global batch size, for the rate. interval: seconds between two plain lines, at least; the first
    and the last step are always printed. window: seconds of training that rates are averaged over. console: by default
    the standard output. clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        images_per_step: int,
        console: Console | None = None,
        interval: float = 10.0,
        window: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._images = total, images_per_step
        self._interval, self._window, self._clock = interval, window, clock
        self._console = console or Console()
        self._step, self._text = start, ""
        self._frozen: float | None = None  # the training time at which the clock is stopped, while paused
        self._lost = 0.0  # seconds paused so far
        self._marks: deque[_Mark] = deque()
        self._updated = False
        self._printed: float | None = None  # when the last plain line was printed,
        self._printed_step: int | None = None  # and its step
        self._bar = None
        if self._console.is_interactive:
            self._bar = bars.Progress(
                bars.TextColumn("step {task.fields[step]}"),
                bars.BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
                bars.TextColumn("{task.fields[text]}", markup=False),
                console=self._console,
                auto_refresh=False,  # only update, say and paused redraw it: no thread
                expand=True,
            )

    def __enter__(self) -> "Progress":
        self._marks.append(_Mark(self._step, self._clock(), 0.0))
        if self._bar:
            self._task = self._bar.add_task("", total=self._total, completed=self._step, step=self._place(), text="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._draw(self._text)
            self._bar.stop()
        elif self._updated and self._printed_step != self._step:  # stopped before the last step
            self._line(self._text)

    def update(self, step: int, metrics: Mapping[str, float], wait: float) -> None:
        """Shows that `step` steps are done, and the `loss` in `metrics`. wait: seconds waited for data since the last
        update."""
        now = self._training_time()
        self._step = step
        self._marks.append(_Mark(step, now, self._marks[-1].wait + wait))
        while len(self._marks) > 2 and self._marks[1].time <= now - self._window:
            self._marks.popleft()
        parts = [f"loss {_loss(metrics['loss'])}"] if "loss" in metrics else []
        self._text = "  ".join([*parts, *self._rates()])
        self._draw(self._text)
        if not self._bar and (not self._updated or step >= self._total or self._due()):
            self._line(self._text)
        self._updated = True

    @property
    def images_per_second(self) -> float:
        """Training images per second over the window; NaN before the first update."""
        first, last = self._marks[0], self._marks[-1]
        return (last.step - first.step) * self._images / (last.time - first.time or math.nan)

    @property
    def wait_fraction(self) -> float:
        """The share of the training time in [0, 1] spent waiting for data over the window; NaN at first."""
        first, last = self._marks[0], self._marks[-1]
        return min((last.wait - first.wait) / (last.time - first.time or math.nan), 1.0)  # NaN stays NaN

    def say(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def paused(self, word: str) -> Iterator[None]:
        """Shows `word`, e.g. "evaluating", and leaves the time inside out of the rates. May be nested."""
        frozen = self._frozen
        self._frozen = self._training_time()
        self._draw(word)
        if not self._bar and self._due():
            self._line(word)
        try:
            yield
        finally:
            if frozen is None:
                self._lost = self._clock() - self._frozen
            self._frozen = frozen
            self._draw(self._text)

    def _training_time(self) -> float:
        return self._clock() - self._lost if self._frozen is None else self._frozen

    def _rates(self) -> list[str]:
        speed = self.images_per_second
        if not speed > 0:  # NaN, or no step done
            return []
        left = (self._total - self._step) * self._images / speed
        rate = f"{speed:.0f}" if speed >= 100 else f"{speed:.3g}"
        return [f"{rate} img/s", f"wait {self.wait_fraction:.0%}", f"ETA {duration(left)}"]

    def _place(self) -> str:
        done = math.floor(100 * self._step / self._total) if self._total else 100  # 100 % only at the end
        return f"{self._step:{len(str(self._total))}d}/{self._total}  {done:3d}%"

    def _draw(self, text: str) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self._step, step=self._place(), text=text, refresh=True)

    def _due(self) -> bool:
        return self._printed is None or self._clock() - self._printed >= self._interval

    def _line(self, text: str) -> None:
        self._printed, self._printed_step = self._clock(), self._step
        self.say(f"step {self._place()}  {text}".rstrip())


def _loss(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 or not math.isfinite(value) else f"{value:.3e}"


def duration(seconds: float) -> str:
    """Seconds >= 0 as people write them: 45s, 3m12s, 2h05m, 3d04h."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02d}h"
    if hours:
        return f"{hour}h{minute:02d}m"
    return f"{minute}m{second:02d}s" if minutes else f"{second}s"
