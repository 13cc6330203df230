"""The contract of a task: what `make(setup, **options) -> Task` in a file of jaxcv/tasks gives."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


class Setup(NamedTuple):
    """What a task is made from, besides its own options: those of config.task."""

    make_model: Callable  # (num_classes) -> the network; None: without a classifier
    info: Any  # of the data, see jaxcv.data.source.Info
    augment: Mapping[str, Any]  # config.augment
    total_steps: int
    crop: int = 0  # px, the central square that is evaluated; 0: the whole image
    stage: str = ""  # of the network, whose output is the feature; empty: the task's choice


def unchanged(params: Any, model_state: Any, step: jax.Array) -> Any:
    """The `after` of a task with nothing to do after the update."""
    return model_state


def healthy(values: Mapping[str, float]) -> str:
    """The `diagnose` of a task that has no failure of its own which its metrics would show."""
    return ""


def get_variables(params: Mapping, model_state: Mapping) -> dict:
    """The variables of a network that is all that is trained; without batch statistics, where it has none."""
    return {"params": params} | ({"batch_stats": model_state["batch_stats"]} if model_state["batch_stats"] else {})


def set_variables(params: Mapping, model_state: Mapping, variables: Mapping) -> tuple:
    """(params, model_state) of a network, all that is trained, whose variables are `variables`."""
    return variables["params"], {**model_state, "batch_stats": variables.get("batch_stats", {})}


class Task(NamedTuple):
    """Pure functions. `model_state` is all that is not differentiated: batch statistics, a target network.

    The first four every task has. All of a batch's arrays have a leading batch axis b; `image` is uint8 (b, h, w, c).
    """

    init: Callable  # (key, batch) -> (params, model_state); under jit, only the shapes of batch matter
    loss: Callable  # (params, model_state, batch, key) -> (loss, (model_state, metrics)); alone differentiated
    measure: Callable  # (params, model_state, batch) -> {name: sums}; sums add over batches and devices
    summarize: Callable  # ({name: sums}) -> {name: float or array}; on the host, the only place that divides
    after: Callable = unchanged  # (params, model_state, step) -> model_state, once update `step` (from 0) is done
    augment: Callable | None = None  # (key, batch) -> batch as the loss sees it, with float images; to be looked at
    predict: Callable | None = None  # (params, model_state, image) -> {name: array (b, ...)}, evaluated
    get_network: Callable = get_variables  # (params, model_state) -> the variables that are exported
    set_network: Callable = set_variables  # (params, model_state, variables) -> (params, model_state) with them
    schedules: Mapping[str, Callable] = {}  # name -> f(step), to be logged beside the learning rate
    diagnose: Callable = healthy  # (training metrics) -> one sentence if training has failed, else ""
    draw: Callable | None = None  # draws what a run ends with, see jaxcv/report/byol.py
    write: Callable | None = None  # writes what the network says of a folder of images, see jaxcv/tools/predict.py
