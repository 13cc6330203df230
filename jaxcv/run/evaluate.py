"""Evaluation of a state on whole splits, and its predictions for the same few images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcv.evals.evaluator import Subject
from jaxcv.evals.features import Features, make_extract
from jaxcv.experiment import Experiment
from jaxcv.mesh import put, replicated
from jaxcv.optim.optimizers import averaged
from jaxcv.step import TrainState
from jaxcv.store.stop import Stopped
from jaxcv.task import Tree

Arrays = dict[str, np.ndarray]


class Evaluation(NamedTuple):
    """The two functions; both raise Stopped between two batches once should_stop() is true."""

    evaluate: Callable[..., tuple[dict[str, float], Arrays]]
    """(state, splits, names of evaluators) -> ({"split/name": float}, {"split/name": array}), exact over each split"""
    predict: Callable[[TrainState], Arrays]
    """state -> {name: array (n, ...)}: what the task predicts for the n examples, without logits"""


def make_evaluation(experiment: Experiment, should_stop: Callable[[], bool]) -> Evaluation:
    """The evaluation of an experiment's states; what it needs is compiled when it is first used."""
    mesh, data, task = experiment.mesh, experiment.data, experiment.task
    extract = make_extract(task.predict, mesh) if task.predict else None

    def batches(source) -> Iterator[dict]:
        for batch in data.eval_batches(source):
            if should_stop():
                raise Stopped
            yield batch

    def subject(state: TrainState) -> Subject:
        params, model_state = averaged(state.params, state.opt_state), state.model_state
        known: dict[str, Features] = {}

        def split_batches(split: str) -> Iterable[dict]:
            return batches(data.sources[split])

        def features(split: str) -> Features:
            if split not in known:
                known[split] = extract(params, model_state, split_batches(split))
            return known[split]

        return Subject(params, model_state, split_batches, features)

    def evaluate(state: TrainState, splits: Sequence[str], names: Iterable[str]) -> tuple[dict[str, float], Arrays]:
        evaluated, found = subject(state), {}
        for name in names:
            found |= experiment.evaluators[name](evaluated, splits)
        arrays = {name: np.asarray(value) for name, value in found.items() if np.ndim(value)}
        return {name: float(value) for name, value in found.items() if name not in arrays}, arrays

    def forward(params: Tree, model_state: Tree, batch: dict) -> tuple:
        out = task.predict(params, model_state, batch["image"])
        return {name: value for name, value in out.items() if name != "logits"}, batch["valid"]

    compiled = jax.jit(forward, out_shardings=replicated(mesh))

    def predict(state: TrainState) -> Arrays:
        if task.predict is None:
            return {}
        params, parts = averaged(state.params, state.opt_state), []
        for batch in batches(data.examples):
            out, valid = jax.device_get(compiled(params, state.model_state, put(mesh, batch)))
            parts.append({name: value[valid > 0] for name, value in out.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Evaluation(evaluate, predict)
