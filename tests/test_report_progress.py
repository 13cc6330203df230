"""Progress with a clock we turn ourselves: plain lines, rates without pauses, and a bar on a terminal."""

import io
import math

import pytest
from rich.console import Console

from jaxcv.report.progress import Progress, duration


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def plain():
    return Console(file=io.StringIO(), force_terminal=False, force_interactive=False, width=40)


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=100, color_system=None)


def written(console):
    return console.file.getvalue()


def test_plain_line():
    clock, console = Clock(), plain()
    with Progress(4000, images_per_step=64, console=console, clock=clock) as progress:
        clock.now += 16
        progress.update(200, {"loss": 3.48123}, 0.8)
    expected = "step  200/4000    5%  loss 3.4812  800 img/s  wait 5%  ETA 5m04s\n"
    assert written(console) == expected


def test_plain_lines_are_the_first_the_last_and_one_an_interval():
    clock, console = Clock(), plain()
    with Progress(100, images_per_step=1, console=console, clock=clock) as progress:
        for step in range(1, 101):
            clock.now += 1
            progress.update(step, {}, 0.0)
    steps = [int(line.split("/")[0].removeprefix("step")) for line in written(console).splitlines()]
    assert steps == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]
    assert written(console).splitlines()[-1] == "step 100/100  100%  1 img/s  wait 0%  ETA 0s"


def test_a_run_that_stops_early_tells_its_last_step():
    clock, console = Clock(), plain()
    with Progress(100, start=50, images_per_step=8, console=console, clock=clock) as progress:
        for step in (60, 70):
            clock.now += 1
            progress.update(step, {"loss": math.nan}, 2.0)  # waiting is never more than all of the time
    assert written(console).splitlines() == [
        "step  60/100   60%  loss nan  80 img/s  wait 100%  ETA 4s",
        "step  70/100   70%  loss nan  80 img/s  wait 100%  ETA 3s",
    ]


def test_pauses_are_left_out_of_the_rates():
    clock, console = Clock(), plain()
    with Progress(100, images_per_step=10, console=console, clock=clock, interval=1000) as progress:
        assert math.isnan(progress.images_per_second) and math.isnan(progress.wait_fraction)
        with progress.paused("compiling"):
            clock.now += 77
        clock.now += 5
        progress.update(10, {}, 1.0)
        with progress.paused("evaluating"):
            clock.now += 30
            with progress.paused("saving"):
                clock.now += 3
            clock.now += 4
        clock.now += 5
        progress.update(20, {}, 1.0)
        assert progress.images_per_second == pytest.approx(20)
        assert progress.wait_fraction == pytest.approx(0.2)
        with pytest.raises(RuntimeError), progress.paused("evaluating"):
            clock.now += 50
            raise RuntimeError
        clock.now += 5
        progress.update(30, {}, 1.0)
        assert progress.images_per_second == pytest.approx(20)
    assert written(console).splitlines()[0] == "step   0/100    0%  compiling"


def test_rates_are_of_the_window():
    clock = Clock()
    with Progress(1000, images_per_step=1, console=plain(), clock=clock, window=20) as progress:
        for step in range(1, 11):
            clock.now += 10
            progress.update(step, {}, 10.0)
        for step in range(11, 51):
            clock.now += 1
            progress.update(step, {}, 0.0)
        assert progress.images_per_second == pytest.approx(1)
        assert progress.wait_fraction == 0


def test_a_clock_that_stands_still_is_no_error():
    console = plain()
    with Progress(10, images_per_step=1, console=console, clock=Clock()) as progress:
        progress.update(5, {"loss": 0.0}, 0.0)
    assert written(console) == "step  5/10   50%  loss 0.0000\n"


def test_say_takes_text_as_it_is():
    console = plain()
    with Progress(10, images_per_step=1, console=console, clock=Clock()) as progress:
        progress.say("step 5: [bold] " + "long " * 20)
    assert written(console) == "step 5: [bold] " + "long " * 20 + "\n"


def test_terminal_shows_a_bar_the_word_of_a_pause_and_lines_above():
    clock, console = Clock(), terminal()
    with Progress(4000, images_per_step=64, console=console, clock=clock) as progress:
        with progress.paused("compiling"):
            assert "compiling" in written(console)
        clock.now += 16
        progress.update(200, {"loss": 3.48123}, 0.8)
        frame = written(console).split("\x1b[2K")[-1]
        assert frame.startswith("step  200/4000    5% ━")
        assert frame.rstrip().endswith("loss 3.4812  800 img/s  wait 5%  ETA 5m04s")
        assert len(frame.rstrip("\n")) == 100
        with progress.paused("evaluating"):
            assert written(console).split("\x1b[2K")[-1].rstrip().endswith("evaluating")
        progress.say("a line [x]")
        assert "a line [x]\nstep  200/4000" in written(console)
    assert written(console).endswith("\x1b[?25h")  # the cursor is shown again


@pytest.mark.parametrize("value, text", [(12345.6, "1.235e+04"), (2e-5, "2.000e-05"), (-0.5, "-0.5000")])
def test_loss_of_any_size(value, text):
    clock, console = Clock(), plain()
    with Progress(10, images_per_step=1, console=console, clock=clock) as progress:
        clock.now += 1
        progress.update(1, {"loss": value}, 0.0)
    assert f"loss {text}  " in written(console)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (192, "3m12s"),
        (7500, "2h05m"),
        (3 * 86400 + 4.2 * 3600, "3d04h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
