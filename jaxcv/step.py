"""What a task is, what a run's state is, and the one train step that all tasks share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.prng import stream


class Task(NamedTuple):
    """Five pure functions. `extra` is all that is not differentiated: batch statistics, a target network."""

    init: Callable  # (key, batch) -> (params, extra); under jit, only the shapes of batch matter
    loss: Callable  # (params, extra, batch, key) -> (loss, (extra, metrics)); the only differentiated function
    after: Callable  # (params, extra, step) -> extra, once update number `step` (from 0) has moved the params
    measure: Callable  # (params, extra, batch) -> {name: sums}; sums add over batches and devices
    summarize: Callable  # ({name: sums}) -> {name: float}; on the host, the only place that divides


def unchanged(params: Any, extra: Any, step: jax.Array) -> Any:
    """The `after` of a task with nothing to do after the update."""
    return extra


class TrainState(NamedTuple):
    """All that a run remembers: arrays only. Keys and data are functions of `step`."""

    step: jax.Array  # int32 scalar: updates done
    params: Any
    extra: Any
    opt_state: Any


def make_init(task: Task, tx: optax.GradientTransformation, *, seed: int) -> Callable:
    """Returns init(batch) -> TrainState, a function of the seed and the batch's shapes."""

    def init(batch: dict) -> TrainState:
        params, extra = task.init(stream(jax.random.key(seed), "init"), batch)
        return TrainState(jnp.zeros((), jnp.int32), params, extra, tx.init(params))

    return init


def make_update(task: Task, tx: optax.GradientTransformation, *, seed: int, accumulate: int = 1) -> Callable:
    """Returns update(state, batch) -> (state, metrics).

    With `accumulate` > 1 the batch is taken in that many equal parts one after the other, and their gradients,
    losses and metrics are averaged: the memory of one part, and for networks without batch statistics the same update.
    Metrics are float32 scalars; `loss` and `grad_norm` (global L2 norm before clipping) are always among them.
    """
    differentiate = jax.value_and_grad(task.loss, has_aux=True)

    def gradients(params: Any, extra: Any, batch: dict, key: jax.Array) -> tuple:
        (loss, (extra, metrics)), grads = differentiate(params, extra, batch, key)
        return extra, (grads, {"loss": loss, **metrics})

    def update(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(stream(jax.random.key(seed), "train"), state.step)
        if accumulate == 1:
            extra, (grads, metrics) = gradients(state.params, state.extra, batch, key)
        else:
            extra, total = state.extra, None
            # A Python loop: lax.scan around a convolution's gradient is dozens of times slower on CPU.
            for i, part in enumerate(_parts(batch, accumulate)):
                if total is not None:  # one part at a time: the next waits for this one's gradients
                    total, part = jax.lax.optimization_barrier((total, part))
                extra, new = gradients(state.params, extra, part, jax.random.fold_in(key, i))
                total = new if total is None else jax.tree.map(jnp.add, total, new)
            grads, metrics = jax.tree.map(lambda x: x / accumulate, total)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        extra = task.after(params, extra, state.step)
        metrics["grad_norm"] = optax.tree.norm(grads)
        return TrainState(state.step + 1, params, extra, opt_state), metrics

    return update


def _parts(batch: dict, count: int) -> list[dict]:
    """Splits rows 0..b-1 into `count` batches of rows i, i + count, ...: each part spreads over all devices."""
    rows = jax.tree.map(lambda x: x.reshape(x.shape[0] // count, count, *x.shape[1:]), batch)
    return [jax.tree.map(lambda x, i=i: x[:, i], rows) for i in range(count)]
