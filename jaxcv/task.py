"""The contract of a task: what `make(setup, **options) -> Task` in a file of jaxcv/tasks gives.

Arrays of a batch have a leading axis b; `image` is uint8 (b, h, w, c), `label` int32 (b,), `mask` an integer (b, h, w).
`model_state` is all that is not differentiated: batch statistics, a target network.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin

import jax
import numpy as np

from jaxcv.config import check_function

Tree = Any  # a pytree of arrays
Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]

Init = Callable[[jax.Array, Batch], tuple[Tree, Tree]]
Loss = Callable[[Tree, Tree, Batch, jax.Array], tuple[jax.Array, tuple[Tree, Metrics]]]
Measure = Callable[[Tree, Tree, Batch], Metrics]
Summarize = Callable[[dict[str, np.ndarray]], dict[str, Any]]
After = Callable[[Tree, Tree, jax.Array], Tree]
Augment = Callable[[jax.Array, Batch], dict[str, jax.Array]]
Predict = Callable[[Tree, Tree, jax.Array], dict[str, jax.Array]]
Schedule = Callable[[Any], Any]  # step (from 0) -> value


class Setup(NamedTuple):
    """What a task is made from, besides its own options, which are those of config.task."""

    make_model: Callable[[int | None], Any]  # number of classes -> the network; None: without a classifier
    info: Any  # of the data, see jaxcv.data.source.Info
    augment: Mapping[str, Any]  # config.augment
    total_steps: int
    crop: int = 0  # px, side of the central square that is evaluated; 0: the whole image
    stage: str = ""  # of the network, whose output is the feature; empty: the task's choice


def unchanged(params: Tree, model_state: Tree, step: jax.Array) -> Tree:
    """The `after` of a task with nothing to do after the update."""
    return model_state


def healthy(values: Mapping[str, float]) -> str:
    """The `diagnose` of a task that has no failure of its own which its metrics would show."""
    return ""


def get_variables(params: Tree, model_state: Tree) -> dict[str, Tree]:
    """The variables of a network that is all that is trained; without batch statistics, where it has none."""
    return {"params": params} | ({"batch_stats": model_state["batch_stats"]} if model_state["batch_stats"] else {})


def set_variables(params: Tree, model_state: Tree, variables: Mapping[str, Tree]) -> tuple[Tree, Tree]:
    """(params, model_state) of a network, all that is trained, whose variables are `variables`."""
    return variables["params"], {**model_state, "batch_stats": variables.get("batch_stats", {})}


class Task(NamedTuple):
    """Pure functions, and the network that they use. The first five fields every task has."""

    model: Any  # the network, a linen module
    init: Init  # (key, batch) -> (params, model_state); under jit, only the shapes of batch matter
    loss: Loss  # (params, model_state, batch, key) -> (loss, (model_state, metrics)); alone differentiated
    measure: Measure  # (params, model_state, batch) -> {name: sums}; sums add over batches and devices
    summarize: Summarize  # {name: sums} -> {name: float or array}; on the host, the only place that divides
    after: After = unchanged  # (params, model_state, step) -> model_state, once update `step` (from 0) is done
    augment: Augment | None = None  # (key, batch) -> the batch as the loss sees it, to be shown
    predict: Predict | None = None  # (params, model_state, image) -> {name: array (b, ...)}, in evaluation mode
    get_network: Callable[[Tree, Tree], dict[str, Tree]] = get_variables  # what is exported of the state
    set_network: Callable[[Tree, Tree, Mapping[str, Tree]], tuple[Tree, Tree]] = set_variables
    schedules: Mapping[str, Schedule] = {}  # by the name under which they are logged, beside the learning rate
    diagnose: Callable[[Mapping[str, float]], str] = healthy  # training metrics -> why training has failed, or ""
    draw: Callable[[Any, Path], None] | None = None  # the figures of jaxcv.report.results.Results, into a folder
    write: Callable[..., None] | None = None  # writes predictions for a folder of images, see jaxcv/predict.py
    chance: Mapping[str, float] = {}  # metric -> what guessing gives, where `summarize` does not give it as NAME_chance


def check_functions(task: Task, name: str) -> None:
    """Raises ConfigError unless the functions of the task `name` take as many arguments as they are annotated with."""
    for field, kind in Task.__annotations__.items():
        optional = get_origin(kind) is UnionType and getattr(task, field) is None
        kind = get_args(kind)[0] if get_origin(kind) is UnionType else kind
        if get_origin(kind) is Callable and not optional:
            check_function(getattr(task, field), kind, f"the task {name!r}: `{field}`")
    for key, schedule in task.schedules.items():
        check_function(schedule, Schedule, f"the task {name!r}: `schedules[{key!r}]`")
