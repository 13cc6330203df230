"""The contract of an evaluator: what `make(setup, **options)` in a file of jaxcv/evals returns.

The file also has METRICS: the names of its metrics, without the split, and for each what guessing gives, a function of
the data's Info, or None; empty where only the task knows them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxcv.evals.features import Features
from jaxcv.task import Task, Tree


class EvalSetup(NamedTuple):
    """What an evaluator is made from, besides its own options, which are those of config.evals.NAME."""

    task: Task
    info: Any  # of the data, see jaxcv.data.source.Info
    mesh: Mesh
    batch: Mapping[str, jax.ShapeDtypeStruct]  # shapes of a training batch


class Subject(NamedTuple):
    """The state to evaluate, and the data."""

    params: Tree  # their average, where the optimiser keeps one
    model_state: Tree
    batches: Callable[[str], Iterable[dict]]  # split -> this process's rows of its batches, on the host
    features: Callable[[str], Features]  # split -> its frozen features, computed once for all evaluators


Evaluator = Callable[[Subject, Sequence[str]], dict[str, Any]]
"""(subject, splits) -> {"split/name": float or array}, exact over each split."""


class LeftOut(Exception):
    """Raised by `make` where the data or the task lack what an evaluator needs; the run does without it."""


def needs_classes(setup: EvalSetup) -> int:
    """The number of classes. Raises LeftOut where there are fewer than two, or where the task predicts no features."""
    if len(setup.info.classes) < 2 or "label" not in setup.batch:
        raise LeftOut("the images have no labels")
    if setup.task.predict is None:
        raise LeftOut("the task predicts no features")
    return len(setup.info.classes)


def random_class(info: Any) -> float:
    """What guessing gives of an accuracy: how often a random class is right."""
    return 1 / len(info.classes)


def score_features(name: str, fit: Callable[[Features], Callable[[Features], float]]) -> Evaluator:
    """The evaluator whose metric `name` is fit(features of train)(features of a split)."""

    def evaluate(subject: Subject, splits: Sequence[str]) -> dict[str, Any]:
        score = fit(subject.features("train"))
        return {f"{split}/{name}": score(subject.features(split)) for split in splits}

    return evaluate
