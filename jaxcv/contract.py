"""What the parts of an experiment give each other must fit: seen by shapes alone, before the first step."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxcv.config import nearest
from jaxcv.errors import ConfigError
from jaxcv.experiment import Experiment, metrics_of
from jaxcv.task import Metrics, Tree


def check_contract(experiment: Experiment, *, name: str) -> None:
    """Raises ConfigError unless the functions of the task `name` fit together, and config.eval.best is measured.

    The update that is traced here is not traced again at the first step.
    """
    compiled, task, size = experiment.compiled, experiment.task, experiment.settings.eval.batch_size
    state, metrics = jax.eval_shape(compiled.update, compiled.abstract, compiled.batch)
    before, after = (_forms(tree) for tree in (compiled.abstract, state))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise ConfigError(
                f"the task {name!r}: {path} is {before.get(path, 'absent')} before a step and "
                f"{after.get(path, 'absent')} after it; `loss` and `after` must keep the form of the state."
            )
    for path, form in _forms(metrics).items():
        if form.partition("[")[2] != "]":
            raise ConfigError(f"the task {name!r}: the metric {path!r} of `loss` is {form}; it must be one number.")
    params, model_state = compiled.abstract.params, compiled.abstract.model_state
    batch = {key: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for key, x in compiled.batch.items()}
    valid = jax.ShapeDtypeStruct((size,), np.float32)
    sums = jax.eval_shape(task.measure, params, model_state, {**batch, "valid": valid})
    if not isinstance(sums, dict):
        raise ConfigError(f"the task {name!r}: `measure` gives a {type(sums).__name__}, not a dictionary of sums.")
    if task.predict is not None:
        out = jax.eval_shape(task.predict, params, model_state, batch["image"])
        for path, form in _forms(out).items():
            if f"{form},".partition("[")[2].split(",")[0].rstrip("]") != str(size):
                raise ConfigError(f"the task {name!r}: `predict` gives {path!r} as {form} for {size} images.")
    _check_best(experiment, sums, name)


def _check_best(experiment: Experiment, sums: Metrics, name: str) -> None:
    """Raises ConfigError unless config.eval.best is a number that the evaluators give for the split val."""
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        values = experiment.task.summarize(jax.tree.map(lambda x: np.ones(x.shape), sums))
    if not isinstance(values, Mapping):
        raise ConfigError(f"the task {name!r}: `summarize` gives a {type(values).__name__}, not a dictionary.")
    own = [key for key, value in values.items() if not np.ndim(value)]
    measured = [f"val/{metric}" for each in experiment.evaluators for metric in metrics_of(each) or own]
    if (best := experiment.best) and best not in measured:
        raise ConfigError(f"config.eval.best={best!r} is no metric of this run; {nearest(best, measured)}")


def check_values(values: Any, splits: Iterable[str], name: str) -> None:
    """Raises ConfigError unless the evaluator `name` gives {"split/name": number or array of numbers}."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"the evaluator {name!r} gives a {type(values).__name__}, not a dictionary of metrics.")
    for key, value in values.items():
        if key.partition("/")[0] not in splits:
            raise ConfigError(f"the evaluator {name!r} gives {key!r}; a metric needs its split, as in 'val/{key}'.")
        if np.asarray(value).dtype.kind not in "biuf":
            raise ConfigError(
                f"the evaluator {name!r} gives {value!r} as {key!r}, which is no number or array of them."
            )


def _forms(tree: Tree) -> dict[str, str]:
    """{"params.conv1.kernel": "float32[3,3,3,16]"}"""
    leaves = jax.tree.leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return {name: f"{x.dtype}[{','.join(map(str, x.shape))}]" for name, (_, x) in zip(names, leaves)}
