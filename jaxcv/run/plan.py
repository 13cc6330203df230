"""When a run evaluates and saves, and what it does at an evaluation."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxcv.config import duration, nearest
from jaxcv.errors import ConfigError
from jaxcv.experiment import Experiment
from jaxcv.report.progress import Progress
from jaxcv.report.tables import lower_is_better
from jaxcv.run.evaluate import Evaluation
from jaxcv.run.finish import draw_curves, is_evaluation
from jaxcv.run.run import Run
from jaxcv.step import TrainState
from jaxcv.store.processes import broadcast_from_first, is_first

CURVES_SECONDS = 30.0  # between two plots of the curves: the device waits for them
TOLD = ("accuracy", "acc/pixel", "miou/pooled_nanmean")  # endings of the metrics that are told at each evaluation


class Plan(NamedTuple):
    """The steps at which something is due besides the update."""

    total_steps: int
    save_every: int  # steps; 0: only with an evaluation
    periods: Mapping[str, int]  # evaluator -> steps between its evaluations; 0: only at the start and the end
    kept: frozenset[int]  # the steps whose predictions for the examples are kept

    def saves(self, step: int) -> bool:
        return bool(self.save_every and step % self.save_every == 0)

    def evaluators(self, step: int) -> list[str]:
        """The evaluators that are due at `step`: all of them at the start and the end."""
        ends = step in (0, self.total_steps)
        return [name for name, every in self.periods.items() if ends or (every and step % every == 0)]

    def evaluates(self, step: int) -> bool:
        return bool(self.evaluators(step))


def make_plan(config: Any, experiment: Experiment) -> Plan:
    """The plan of config.train and config.eval."""
    total, per_epoch = experiment.data.total_steps, experiment.data.steps_per_epoch
    every = duration(config.eval, "every", group="eval", steps_per_epoch=per_epoch)
    middle = every * -(-total // (2 * every)) if every else 0
    return Plan(
        total_steps=total,
        save_every=duration(config.train, "save_every", group="train", steps_per_epoch=per_epoch),
        periods=experiment.periods,
        kept=frozenset((0, every, middle)),  # `finish` keeps those of the reported step
    )


class Evaluations:
    """What happens at an evaluation: it is logged and plotted, and its score ranks the checkpoint."""

    def __init__(self, run: Run, plan: Plan, evaluation: Evaluation, progress: Progress):
        self._run, self._plan, self._evaluation, self._progress = run, plan, evaluation, progress
        self._plot = at_most_every(CURVES_SECONDS, lambda: draw_curves(run.folder))

    def catch_up(self, step: int, state: TrainState) -> None:
        """Ranks what was evaluated before this process began, and evaluates `step` where a signal had ended that."""
        done = {row["step"]: row for row in self._rows() if is_evaluation(row)}
        for past, values in done.items():
            self._run.checkpoints.rank(past, self._score(values))
        if broadcast_from_first(step not in done):
            self.evaluate(step, state)

    def evaluate(self, step: int, state: TrainState) -> None:
        """Runs the evaluators that are due at `step`."""
        run, names = self._run, self._plan.evaluators(step)
        if not names:
            return
        # The test split is looked at before the first step, and when all is over: see `finish`.
        with self._progress.paused("evaluating"):
            values, _ = self._evaluation.evaluate(state, ("val", "test") if step == 0 else ("val",), names)
            predictions = self._evaluation.predict(state) if step in self._plan.kept else {}
        run.log.write(step, values)
        chosen = [name for name in values if name.endswith(TOLD)] or list(values)
        told = [f"{name} {values[name]:.4f}" for name in chosen]
        self._progress.say(f"step {step}: {'  '.join(told)}")
        if is_first():
            if predictions:
                run.folder.write_examples(step, predictions)
            self._plot()
        best = run.experiment.best
        if best and best not in values and len(names) == len(self._plan.periods):
            raise ConfigError(f"config.eval.best={best!r} is no metric of this run; {nearest(best, list(values))}")
        run.checkpoints.rank(step, self._score(values))

    def out_of_patience(self, step: int) -> bool:
        """Whether the best score is as many evaluations old as config.train.patience says (0: never)."""
        best, patience = self._run.experiment.best, self._run.config.train.patience
        if not (patience and best and self._plan.evaluates(step)):
            return False
        scores = [self._score(row) for row in self._rows() if best in row]
        scores = [score if math.isfinite(score) else -math.inf for score in scores]
        return broadcast_from_first(bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience)

    def _rows(self) -> list[dict[str, float]]:
        return self._run.folder.read_metrics() if is_first() else []

    def _score(self, values: Mapping[str, float]) -> float | None:
        """The metric config.eval.best, negated if it is a loss: higher is better. None where it is not measured."""
        name = self._run.experiment.best
        if name not in values:
            return None
        return -values[name] if lower_is_better(name) else values[name]


def at_most_every(seconds: float, function: Callable[[], None]) -> Callable[[], None]:
    """`function`, which does nothing until so many seconds have passed since now, or since it last did something."""
    last = time.monotonic()

    def call() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            function()
            last = time.monotonic()

    return call
