"""Evaluation of a state on whole splits, and its predictions for the example images."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcv.contract import check_values
from jaxcv.data.source import Source
from jaxcv.evals.evaluator import Subject
from jaxcv.evals.features import Features, fetch, make_extract
from jaxcv.experiment import Experiment
from jaxcv.mesh import put, replicated
from jaxcv.optim.optimizers import averaged
from jaxcv.step import TrainState
from jaxcv.store.stop import Stopped
from jaxcv.task import Batch, Tree

Arrays = dict[str, np.ndarray]


class Evaluation(NamedTuple):
    """Two functions of a state; both raise Stopped between two batches once should_stop() is true."""

    evaluate: Callable[[TrainState, Sequence[str], Iterable[str]], tuple[dict[str, float], Arrays]]
    """(state, splits, names of evaluators) -> ({"split/name": float}, {"split/name": array}), exact over each split"""
    predict: Callable[[TrainState], Arrays]
    """state -> {name: array (n, ...)}: what the task predicts for the n examples, without logits"""


def make_evaluation(experiment: Experiment, should_stop: Callable[[], bool]) -> Evaluation:
    """The evaluation of an experiment's states; compiles what it needs when that is first used."""
    mesh, data = experiment.mesh, experiment.data
    task_predict = experiment.task.predict or (lambda params, model_state, image: {})
    extract = make_extract(task_predict, mesh)

    def batches(source: Source) -> Iterator[dict]:
        for batch in data.eval_batches(source):
            if should_stop():
                raise Stopped
            yield batch

    def subject(state: TrainState) -> Subject:
        params, model_state = averaged(state.params, state.opt_state), state.model_state
        cache: dict[str, Features] = {}

        def split_batches(split: str) -> Iterable[dict]:
            return batches(data.sources[split])

        def features(split: str) -> Features:
            if split not in cache:
                cache[split] = extract(params, model_state, split_batches(split))
            return cache[split]

        return Subject(params, model_state, split_batches, features)

    def evaluate(state: TrainState, splits: Sequence[str], names: Iterable[str]) -> tuple[dict[str, float], Arrays]:
        evaluated = subject(state)
        metrics: dict[str, Any] = {}
        for name in names:
            values = experiment.evaluators[name](evaluated, splits)
            check_values(values, splits, name)
            metrics |= values
        arrays = {name: np.asarray(value) for name, value in metrics.items() if np.ndim(value)}
        return {name: float(value) for name, value in metrics.items() if name not in arrays}, arrays

    @functools.partial(jax.jit, out_shardings=replicated(mesh))
    def forward(params: Tree, model_state: Tree, batch: Batch) -> tuple:
        out = task_predict(params, model_state, batch["image"])
        return {name: value for name, value in out.items() if name != "logits"}, batch["valid"]

    def predict(state: TrainState) -> Arrays:
        if experiment.task.predict is None:
            return {}
        params = averaged(state.params, state.opt_state)
        results = fetch(forward(params, state.model_state, put(mesh, batch)) for batch in batches(data.examples))
        parts = [{name: value[valid > 0] for name, value in out.items()} for out, valid in results]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Evaluation(evaluate, predict)
