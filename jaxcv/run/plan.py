"""When a run evaluates and saves, and what an evaluation does."""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxcv.config import duration
from jaxcv.experiment import Experiment
from jaxcv.report.progress import Progress
from jaxcv.report.tables import lower_is_better
from jaxcv.run.evaluate import Evaluation
from jaxcv.run.finish import draw_curves
from jaxcv.run.run import Run
from jaxcv.step import TrainState
from jaxcv.store.log import Log
from jaxcv.store.processes import broadcast_from_first, is_first

CURVES_SECONDS = 30.0  # between two plots of the curves: the device waits for them
PRINTED = ("accuracy", "acc/pixel", "miou/pooled_nanmean")  # endings of the metrics printed at each evaluation


class Plan(NamedTuple):
    """The steps at which a run saves, evaluates and keeps predictions."""

    total_steps: int
    save_every: int  # steps; 0: only with an evaluation
    periods: Mapping[str, int]  # evaluator -> steps between its evaluations; 0: only at the start and the end
    kept: frozenset[int]  # steps whose predictions for the examples are saved

    def saves(self, step: int) -> bool:
        return bool(self.save_every and step % self.save_every == 0)

    def evaluators(self, step: int) -> list[str]:
        """The evaluators that are due at `step`: all of them at the start and the end."""
        ends = step in (0, self.total_steps)
        return [name for name, every in self.periods.items() if ends or (every and step % every == 0)]

    def evaluates(self, step: int) -> bool:
        return bool(self.evaluators(step))


def make_plan(experiment: Experiment) -> Plan:
    """The plan of config.train and config.eval."""
    settings, total, per_epoch = experiment.settings, experiment.data.total_steps, experiment.data.steps_per_epoch
    every = duration(settings.eval._asdict(), "every", group="eval", steps_per_epoch=per_epoch)
    middle = every * -(-total // (2 * every)) if every else 0
    return Plan(
        total_steps=total,
        save_every=duration(settings.train._asdict(), "save_every", group="train", steps_per_epoch=per_epoch),
        periods=experiment.periods,
        kept=frozenset((0, every, middle)),  # `finish` saves those of the reported step
    )


class Evaluations:
    """What happens at an evaluation: it is logged and plotted, and its score ranks the checkpoint."""

    def __init__(self, run: Run, log: Log, plan: Plan, evaluation: Evaluation, progress: Progress):
        self._run, self._log, self._plan, self._evaluation, self._progress = run, log, plan, evaluation, progress
        series = run.folder.series()
        self._plot = at_most_every(CURVES_SECONDS, lambda: draw_curves(run.folder, series))

    def catch_up(self, step: int, state: TrainState) -> None:
        """Ranks the evaluations of a run that resumes at `step`, and evaluates `step` if a signal prevented that."""
        done = {int(row["step"]): row for row in self._rows()}
        for evaluated, values in done.items():
            self._run.checkpoints.rank(evaluated, self._score(values))
        if broadcast_from_first(step not in done):
            self.evaluate(step, state)
        if is_first() and self._run.experiment.task.predict:
            for lost in sorted(self._plan.kept & set(done) - set(self._run.folder.example_steps())):
                self._progress.say(f"{self._run.folder.examples}/{lost}.npz is missing: the figures lack step {lost}.")

    def evaluate(self, step: int, state: TrainState) -> None:
        """Runs the evaluators that are due at `step`."""
        run, names = self._run, self._plan.evaluators(step)
        if not names:
            return
        # The test split is evaluated before the first step, and once more in `finish`.
        with self._progress.paused("evaluating"):
            values, _ = self._evaluation.evaluate(state, ("val", "test") if step == 0 else ("val",), names)
            predictions = self._evaluation.predict(state) if step in self._plan.kept else {}
        self._log.write(step, values)
        printed = [name for name in values if name.endswith(PRINTED)] or list(values)
        self._progress.say(f"step {step}: {'  '.join(f'{name} {values[name]:.4f}' for name in printed)}")
        if is_first():
            if predictions:
                run.folder.write_examples(step, predictions)
            self._plot()
        run.checkpoints.rank(step, self._score(values))

    def out_of_patience(self, step: int) -> bool:
        """Whether the last config.train.patience evaluations (0: any number) have not improved the best score."""
        best, patience = self._run.experiment.best, self._run.experiment.settings.train.patience
        if not (patience and best and self._plan.evaluates(step)):
            return False
        scores = [self._score(row) for row in self._rows() if best in row]
        scores = [score if math.isfinite(score) else -math.inf for score in scores]
        return broadcast_from_first(bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience)

    def _rows(self) -> list[dict[str, float]]:
        return self._run.folder.read_evaluations() if is_first() else []

    def _score(self, values: Mapping[str, float]) -> float:
        """The metric config.eval.best, negated if it is a loss: higher is better. NaN where it is not measured."""
        name = self._run.experiment.best
        value = values.get(name, math.nan)
        return -value if lower_is_better(name) else value


def at_most_every(seconds: float, function: Callable[[], None]) -> Callable[[], None]:
    """Returns `function` throttled: it is called at most once in `seconds`, and not in the first `seconds` from now."""
    last = time.monotonic()

    def throttled() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            function()
            last = time.monotonic()

    return throttled
