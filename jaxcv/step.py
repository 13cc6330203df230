"""What a run's state is, and the one train step that all tasks share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.prng import stream
from jaxcv.task import Task


class TrainState(NamedTuple):
    """All that a run remembers: arrays only. Keys and data are functions of `step`."""

    step: jax.Array  # int32 scalar: updates done
    params: Any
    model_state: Any
    opt_state: Any


def make_init(task: Task, tx: optax.GradientTransformation, *, seed: int) -> Callable:
    """Returns init(batch, weights=None) -> TrainState, a function of the seed and the batch's shapes.

    weights: replace initial ones; a tree like the task's `get_network`, with None where the initial ones stay.
    """

    def init(batch: dict, weights: Any = None) -> TrainState:
        params, model_state = task.init(stream(jax.random.key(seed), "init"), batch)
        if weights is not None:
            initial = task.get_network(params, model_state)
            network = jax.tree.map(lambda w, x: x if w is None else w, weights, initial, is_leaf=lambda w: w is None)
            params, model_state = task.set_network(params, model_state, network)
        return TrainState(jnp.zeros((), jnp.int32), params, model_state, tx.init(params))

    return init


def make_update(task: Task, tx: optax.GradientTransformation, *, seed: int, accumulate: int = 1) -> Callable:
    """Returns update(state, batch) -> (state, metrics).

    With `accumulate` > 1 the batch is taken in that many equal parts one after the other, and their gradients,
    losses and metrics are averaged: the memory of one part, and for networks without batch statistics the same update.
    Metrics are float32 scalars; `loss` and `grad_norm` (global L2 norm before clipping) are always among them.
    """
    differentiate = jax.value_and_grad(task.loss, has_aux=True)

    def gradients(params: Any, model_state: Any, batch: dict, key: jax.Array) -> tuple:
        (loss, (model_state, metrics)), grads = differentiate(params, model_state, batch, key)
        return model_state, (grads, {"loss": loss, **metrics})

    def update(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(stream(jax.random.key(seed), "train"), state.step)
        if accumulate == 1:
            model_state, (grads, metrics) = gradients(state.params, state.model_state, batch, key)
        else:
            model_state, total = state.model_state, None
            # A Python loop: lax.scan around a convolution's gradient is dozens of times slower on CPU.
            for i, part in enumerate(_parts(batch, accumulate)):
                if total is not None:  # one part at a time: the next waits for this one's gradients
                    total, part = jax.lax.optimization_barrier((total, part))
                model_state, new = gradients(state.params, model_state, part, jax.random.fold_in(key, i))
                total = new if total is None else jax.tree.map(jnp.add, total, new)
            grads, metrics = jax.tree.map(lambda x: x / accumulate, total)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = task.after(params, model_state, state.step)
        metrics["grad_norm"] = optax.tree.norm(grads)
        return TrainState(state.step + 1, params, model_state, opt_state), metrics

    return update


def _parts(batch: dict, count: int) -> list[dict]:
    """Splits rows 0..b-1 into `count` batches of rows i, i + count, ...: each part spreads over all devices."""
    rows = jax.tree.map(lambda x: x.reshape(x.shape[0] // count, count, *x.shape[1:]), batch)
    return [jax.tree.map(lambda x, i=i: x[:, i], rows) for i in range(count)]
