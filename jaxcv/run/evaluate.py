"""Evaluation of a state on whole splits: the task's own sums, and probes of frozen features."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcv.config import call
from jaxcv.data.pipeline import eval_batches
from jaxcv.experiment import Experiment
from jaxcv.measure.probe import make_extract, make_knn, make_linear
from jaxcv.mesh import local_rows, put, replicated
from jaxcv.optim.optimizers import averaged
from jaxcv.step import TrainState
from jaxcv.store.stop import Stopped, never


def make_evaluate(
    experiment: Experiment, *, batch_size: int, knn: Mapping, probe: Mapping, should_stop: Callable = never
) -> Callable:
    """Returns evaluate(state, splits) -> ({"split/name": float}, {"split/name": array}), exact over each split.

    It raises Stopped between two batches once should_stop() is true.

    knn, probe: options of `make_knn` and `make_linear` on the features that `predict` gives, whose bank and
    training set is the split `train`; left out if empty, and where the data have no classes.
    """
    mesh, sources, task = experiment.mesh, experiment.sources, experiment.task
    num_classes = len(sources["train"].info.classes)
    measure = jax.jit(task.measure, out_shardings=replicated(mesh))
    extract = make_extract(experiment.predict, mesh)

    def batches(split: str) -> Iterable[dict]:
        return _batches(sources[split], batch_size, mesh, should_stop)

    def evaluate(state: TrainState, splits: tuple[str, ...]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        params, model_state = averaged(state.params, state.opt_state), state.model_state
        values, arrays = {}, {}
        for split in splits:
            sums = _total(measure(params, model_state, put(mesh, batch)) for batch in batches(split))
            for name, value in task.summarize(sums).items():
                if np.ndim(value):
                    arrays[f"{split}/{name}"] = np.asarray(value)
                else:
                    values[f"{split}/{name}"] = float(value)
        if num_classes > 1 and (knn or probe):
            train = extract(params, model_state, batches("train"))
            given = {"mesh": mesh, "num_classes": num_classes}
            scores = {}
            if knn:
                scores["knn_accuracy"] = call(make_knn, knn, group="eval.knn", bank=train, **given)
            if probe:
                scores["probe_accuracy"] = call(make_linear, probe, group="eval.probe", train=train, **given)
            for split in splits:
                features = extract(params, model_state, batches(split))
                values |= {f"{split}/{name}": score(features) for name, score in scores.items()}
        return values, arrays

    return evaluate


def make_examples(experiment: Experiment, *, batch_size: int, should_stop: Callable = never) -> Callable:
    """Returns examples(state) -> {name: array}: what `predict` says of the examples to be drawn, but logits.

    It raises Stopped between two batches once should_stop() is true.
    """
    mesh, source = experiment.mesh, experiment.examples

    def forward(params: Any, model_state: Any, batch: dict) -> tuple:
        out = experiment.predict(params, model_state, batch["image"])
        return {name: value for name, value in out.items() if name != "logits"}, batch["valid"]

    predict = jax.jit(forward, out_shardings=replicated(mesh))

    def examples(state: TrainState) -> dict[str, np.ndarray]:
        params, parts = averaged(state.params, state.opt_state), []
        for batch in _batches(source, batch_size, mesh, should_stop):
            out, valid = jax.device_get(predict(params, state.model_state, put(mesh, batch)))
            parts.append({name: value[valid > 0] for name, value in out.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return examples


def _batches(source: Any, batch_size: int, mesh: Mesh, should_stop: Callable) -> Iterator[dict]:
    """This process's share of all batches of a source."""
    for batch in eval_batches(source, batch_size=batch_size, rows=local_rows(mesh, batch_size)):
        if should_stop():
            raise Stopped
        yield batch


def _total(sums: Iterable[dict]) -> dict[str, np.ndarray]:
    """Adds sums over batches in float64 on the host, each fetched while the next is computed."""
    total, pending = None, None
    for new in sums:
        total, pending = _add(total, pending), new
    return _add(total, pending)


def _add(total: dict | None, new: dict | None) -> dict | None:
    if new is None:
        return total
    new = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.device_get(new))
    return new if total is None else jax.tree.map(np.add, total, new)
