"""The contract of an evaluator: what `make(setup, **options) -> Evaluator` in a file of jaxcv/evals gives.

The file also has METRICS, the names that it gives as far as they are known beforehand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh

from jaxcv.evals.features import Features
from jaxcv.task import Task, Tree


class EvalSetup(NamedTuple):
    """What an evaluator is made from, besides its own options, which are those of config.evals.NAME."""

    task: Task
    info: Any  # of the data, see jaxcv.data.source.Info
    mesh: Mesh
    batch: Mapping[str, Any]  # shapes of a training batch


class Subject(NamedTuple):
    """The state that is evaluated, and the data."""

    params: Tree  # their average, where the optimiser keeps one
    model_state: Tree
    batches: Callable[[str], Iterable[dict]]  # split -> this process's rows of its batches, on the host
    features: Callable[[str], Features]  # split -> its frozen features, computed once for all evaluators


Evaluator = Callable[[Subject, Sequence[str]], dict[str, Any]]
"""(subject, splits) -> {"split/name": float or array}, exact over each split."""


class LeftOut(Exception):
    """Raised by `make` where the data or the task have not what an evaluator needs: the run goes on without it."""


def needs_classes(setup: EvalSetup) -> int:
    """The number of classes. Raises LeftOut where there are not two, or where the task gives no features."""
    if len(setup.info.classes) < 2 or "label" not in setup.batch:
        raise LeftOut("the images have no labels")
    if setup.task.predict is None:
        raise LeftOut("the task predicts no features")
    return len(setup.info.classes)


def score_features(name: str, fit: Callable[[Features], Callable[[Features], float]]) -> Evaluator:
    """The evaluator whose metric `name` is fit(features of train)(features of a split)."""

    def evaluate(subject: Subject, splits: Sequence[str]) -> dict[str, Any]:
        score = fit(subject.features("train"))
        return {f"{split}/{name}": score(subject.features(split)) for split in splits}

    return evaluate
