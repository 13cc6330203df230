"""Optimisers from config, as optax chains, with decay, learning rates and freezing by the parameters' names.

The order is torch's and that of BYOL's code: gradient -> clip -> decay -> momentum or Adam -> times -learning rate.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.config import call, nearest
from jaxcv.errors import ConfigError
from jaxcv.optim.parameters import check, lookup, matches
from jaxcv.optim.schedules import Schedule


def sgd(schedule: Schedule, decay: Any, *, momentum: float = 0.9, nesterov: bool = False):
    """SGD with momentum; the decay joins the gradient."""
    return optax.chain(decay, optax.trace(momentum, nesterov))


def rmsprop(schedule: Schedule, decay: Any, *, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0):
    """RMSprop as in torch.optim.RMSprop: `eps` outside the root; the decay joins the gradient."""
    return optax.chain(decay, optax.scale_by_rms(alpha, eps, eps_in_sqrt=False), optax.trace(momentum))


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


OPTIMIZERS = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adamw, "lars": lars}


def make_optimizer(
    name: str,
    schedule: Schedule,
    *,
    weight_decay: float = 0.0,
    decay_all: bool = False,
    no_decay: Sequence[str] = (),
    clip_norm: float = 0.0,
    ema_decay: float = 0.0,
    lr_multipliers: Sequence[tuple[str, float]] = (),
    freeze: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> optax.GradientTransformation:
    """The optimiser called `name` with its own `options`; patterns are those of jaxcv/optim/parameters.py.

    weight_decay: on all parameters but biases and those of norms, and on these too with `decay_all`, as in torch.
    no_decay: patterns of parameters without decay in any case.
    clip_norm: the gradient's global norm is at most this (0: off).
    ema_decay: keeps an average of the parameters in the optimiser's state (0: off), see `averaged`.
    lr_multipliers: (pattern, factor) pairs; the first pattern that matches a parameter scales its learning rate.
    freeze: patterns of parameters that stay as they are, bit for bit, and have no part in state and clipping.

    Raises ConfigError; `init` does for patterns that match no parameter.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"config.optim.name={name!r} is unknown; {nearest(name, list(OPTIMIZERS))}")
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in lr_multipliers):
        raise ConfigError('config.optim.lr_multipliers must be pairs, such as (("backbone.*", 0.1),).')

    def decayed(params: Any) -> Any:
        kinds, excepted = not_bias_or_norm(params), matches(params, no_decay)
        return jax.tree.map(lambda kind, excepted: (kind or decay_all) and not excepted, kinds, excepted)

    decay = optax.add_decayed_weights(weight_decay, decayed) if weight_decay else optax.identity()
    train = optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        call(OPTIMIZERS[name], options or {}, group=f"optim.{name}", schedule=schedule, decay=decay),
        optax.scale_by_learning_rate(schedule),
        scale_by_name(lr_multipliers),
        average_params(ema_decay) if ema_decay else optax.identity(),
    )
    rules = [(pattern, "keep") for pattern in freeze]
    tx = optax.partition({"train": train, "keep": keep_params()}, lambda params: lookup(params, rules, "train"))

    def init(params: Any) -> Any:
        check(params, no_decay, key="optim.no_decay")
        check(params, [pattern for pattern, _ in lr_multipliers], key="optim.lr_multipliers")
        check(params, freeze, key="optim.freeze")
        if all(jax.tree.leaves(matches(params, freeze))):
            raise ConfigError(f"config.optim.freeze={freeze!r} leaves nothing to train.")
        return tx.init(params)

    return optax.GradientTransformation(init, tx.update)


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


def scale_by_name(factors: Sequence[tuple[str, float]]) -> optax.GradientTransformation:
    """Scales each update by the factor of the first of the (pattern, factor) pairs that matches its name, else by 1."""
    return optax.stateless(lambda updates, params: jax.tree.map(jnp.multiply, updates, lookup(updates, factors, 1.0)))


def keep_params() -> optax.GradientTransformation:
    """Updates that change no bit of the parameters: -0.0, since 0.0 turns -0.0 into 0.0."""
    return optax.stateless_with_tree_map(lambda update, param: jnp.full_like(update, -0.0))


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
    if average is None:
        return params
    return jax.tree.map(lambda x, mean: x if isinstance(mean, optax.MaskedNode) else mean, params, average)
