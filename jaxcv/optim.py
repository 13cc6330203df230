"""Learning-rate schedules and optimisers from config, as optax chains.

The order is torch's and that of BYOL's code: gradient -> clip -> decay -> momentum or Adam -> times -learning rate.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.config import call, nearest
from jaxcv.errors import ConfigError

Schedule = Callable[[Any], Any]  # step (from 0) -> learning rate

# ---------------------------------------------------------------------------------------------------------- schedules


def constant(lr: float, total_steps: int, warmup_steps: int) -> Schedule:
    """Linear warm-up from 0 to `lr`, which then stays."""
    warmup = optax.schedules.linear_schedule(0.0, lr, warmup_steps)
    return optax.schedules.join_schedules([warmup, optax.schedules.constant_schedule(lr)], [warmup_steps])


def cosine(lr: float, total_steps: int, warmup_steps: int) -> Schedule:
    """Linear warm-up from 0 to `lr` in `warmup_steps`, then half a cosine to 0 at `total_steps`."""
    return optax.schedules.warmup_cosine_decay_schedule(0.0, lr, warmup_steps, total_steps)


SCHEDULES = {"constant": constant, "cosine": cosine}


def make_schedule(name: str, *, lr: float, total_steps: int, warmup_steps: int = 0) -> Schedule:
    """The schedule called `name` with peak learning rate `lr`; durations in steps."""
    if name not in SCHEDULES:
        raise ConfigError(f"config.optim.schedule={name!r} is unknown; {nearest(name, list(SCHEDULES))}")
    if warmup_steps >= total_steps > 0 and name != "constant":
        raise ConfigError(f"config.optim: the warm-up ({warmup_steps} steps) must end before the run ({total_steps}).")
    return SCHEDULES[name](lr, total_steps, warmup_steps)


# --------------------------------------------------------------------------------------------------------- optimisers


def sgd(schedule: Schedule, decay: Any, *, momentum: float = 0.9, nesterov: bool = False):
    """SGD with momentum; the decay joins the gradient."""
    return optax.chain(decay, optax.trace(momentum, nesterov))


def adam(schedule: Schedule, decay: Any, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
    """Adam (arXiv 1412.6980); the decay joins the gradient, as in torch.optim.Adam."""
    return optax.chain(decay, optax.scale_by_adam(b1, b2, eps))


def adamw(schedule: Schedule, decay: Any, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""
    return optax.chain(optax.scale_by_adam(b1, b2, eps), decay)


def lars(
    schedule: Schedule,
    decay: Any,
    *,
    momentum: float = 0.9,
    trust_coefficient: float = 1e-3,
    clip_lr: bool = False,
):
    """LARS (arXiv 1708.03888) as in BYOL's code: the learning rate is outside the momentum; 1-d params not adapted.

    `clip_lr`: an array's rate is the smaller of the learning rate and its trust ratio, as in solo-learn.
    """
    return optax.chain(
        decay,
        optax.masked(scale_by_trust_ratio(trust_coefficient, schedule if clip_lr else None), not_bias_or_norm),
        optax.trace(momentum),
    )


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "lars": lars}


def make_optimizer(
    name: str,
    schedule: Schedule,
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    ema_decay: float = 0.0,
    options: Mapping[str, Any] | None = None,
) -> optax.GradientTransformation:
    """The optimiser called `name` with its own `options`.

    weight_decay: on all parameters but biases and those of norms.  clip_norm: the gradient's global norm is at most
    this (0: off).  ema_decay: keeps an average of the parameters in the optimiser's state (0: off), see `averaged`.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"config.optim.name={name!r} is unknown; {nearest(name, list(OPTIMIZERS))}")
    decay = optax.add_decayed_weights(weight_decay, not_bias_or_norm) if weight_decay else optax.identity()
    return optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        call(OPTIMIZERS[name], options or {}, group=f"optim.{name}", schedule=schedule, decay=decay),
        optax.scale_by_learning_rate(schedule),
        average_params(ema_decay) if ema_decay else optax.identity(),
    )


def not_bias_or_norm(params: Any) -> Any:
    """True for weight matrices and kernels; False for biases and the scales and offsets of norms, which are vectors."""
    return jax.tree.map(lambda x: x.ndim > 1, params)


class TrustRatioState(NamedTuple):
    count: jax.Array  # int32 scalar


def scale_by_trust_ratio(coefficient: float, clip_at: Schedule | None = None) -> optax.GradientTransformation:
    """Scales each update by `coefficient` x |param| / |update| (L2 norms per array; by 1 where either is 0).

    With a schedule as `clip_at`, learning rate x ratio = min(learning rate, coefficient x |param| / |update|).
    """

    def init(params: Any) -> TrustRatioState:
        return TrustRatioState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: TrustRatioState, params: Any) -> tuple:
        def adapt(update: jax.Array, param: jax.Array) -> jax.Array:
            size, norm = jnp.linalg.norm(param), jnp.linalg.norm(update)
            ratio = coefficient * size / jnp.where(norm > 0, norm, 1)
            if clip_at is not None:
                lr = clip_at(state.count)
                ratio = jnp.minimum(ratio / jnp.where(lr > 0, lr, 1), 1)
            return update * jnp.where((size > 0) & (norm > 0), ratio, 1)

        return jax.tree.map(adapt, updates, params), TrustRatioState(state.count + 1)

    return optax.GradientTransformation(init, update)


class AverageState(NamedTuple):
    average: Any  # like params


def average_params(decay: float) -> optax.GradientTransformation:
    """Leaves the updates alone and keeps average = decay * average + (1 - decay) * params. Goes last in a chain."""

    def update(updates: Any, state: AverageState, params: Any) -> tuple:
        moved = optax.apply_updates(params, updates)
        return updates, AverageState(optax.incremental_update(moved, state.average, 1 - decay))

    return optax.GradientTransformation(lambda params: AverageState(jax.tree.map(jnp.copy, params)), update)


def averaged(params: Any, opt_state: Any) -> Any:
    """The parameters to evaluate with: their average where the optimiser keeps one, else themselves."""
    average = optax.tree.get(opt_state, "average")
    return params if average is None else average
