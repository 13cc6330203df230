"""LARS (You et al. 2017, arXiv 1708.03888), as in BYOL's code: the learning rate is outside the momentum."""

import jax
import jax.numpy as jnp
import optax

from jaxcv.optim.parameters import not_bias_or_norm
from jaxcv.ranges import Decay, Positive
from jaxcv.task import Schedule, Tree


def optimizer(
    schedule: Schedule,
    decay: optax.GradientTransformation,
    *,
    momentum: Decay = 0.9,
    trust_coefficient: Positive = 1e-3,
    clip_lr: bool = False,
) -> optax.GradientTransformation:
    """Weight decay is added to the gradient; biases and the parameters of norms have momentum alone.

    momentum: in [0, 1); 0: none.  trust_coefficient: how far a step goes, as a share of the array's norm and per unit
    of learning rate.  clip_lr: an array's rate is the smaller of learning rate and trust ratio, as in solo-learn.
    """
    return optax.chain(
        decay,
        optax.masked(scale_by_trust_ratio(trust_coefficient, schedule if clip_lr else None), not_bias_or_norm),
        optax.trace(momentum),
    )


def scale_by_trust_ratio(coefficient: float, clip_at: Schedule | None = None) -> optax.GradientTransformation:
    """Scales each update by `coefficient` x |param| / |update| (L2 norms per array; by 1 where either is 0).

    With a schedule as `clip_at`, learning rate x ratio = min(learning rate, coefficient x |param| / |update|).
    """

    def init(params: Tree) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates: Tree, state: optax.ScaleByScheduleState, params: Tree) -> tuple:
        def adapt(update: jax.Array, param: jax.Array) -> jax.Array:
            size, norm = jnp.linalg.norm(param), jnp.linalg.norm(update)
            ratio = coefficient * size / jnp.where(norm > 0, norm, 1)
            if clip_at is not None:
                lr = clip_at(state.count)
                ratio = jnp.minimum(ratio / jnp.where(lr > 0, lr, 1), 1)
            return update * jnp.where((size > 0) & (norm > 0), ratio, 1)

        return jax.tree.map(adapt, updates, params), optax.ScaleByScheduleState(state.count + 1)

    return optax.GradientTransformation(init, update)
