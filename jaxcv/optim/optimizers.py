"""Optimisers by name: a file here that has `optimizer`, or one of optax's, in the chain that all of them share.

A file's `optimizer(schedule, decay, *, options...)` gives the direction of a step, before the learning rate; it applies
`decay`, the weight decay, in its own place. The order is torch's and that of BYOL's code:
gradient -> clip -> optimiser, with its decay -> times -learning rate.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxcv.config import check_value, make_part, part_names
from jaxcv.errors import ConfigError
from jaxcv.optim.from_optax import optimizer_from_optax
from jaxcv.optim.parameters import check_patterns, lookup, matches, not_bias_or_norm
from jaxcv.ranges import NonNegative
from jaxcv.task import Schedule, Tree


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
    """The optimiser `name` with its own `options`; for patterns see jaxcv/optim/parameters.py.

    weight_decay: on all parameters but biases and those of norms; with `decay_all` on these too, as in torch.
    no_decay: patterns of parameters that never decay.
    clip_norm: the largest global norm of the gradient (0: any).
    ema_decay: decay rate of a moving average of the parameters, kept in the state (0: none); see `averaged`.
    lr_multipliers: (pattern, factor) pairs; the first pattern that matches a parameter scales its learning rate.
    freeze: patterns of parameters that keep every bit, and are left out of state and clipping.

    Raises ConfigError; for patterns that match no parameter, `init` does.
    """
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in lr_multipliers):
        raise ConfigError('config.optim.lr_multipliers must be pairs, such as (("backbone.*", 0.1),).')
    for pattern, factor in lr_multipliers:
        check_value(factor, NonNegative, f"config.optim.lr_multipliers: the factor of {pattern!r}")

    def decayed(params: Tree) -> Tree:
        weights, excepted = not_bias_or_norm(params), matches(params, no_decay)
        return jax.tree.map(lambda weight, excepted: (weight or decay_all) and not excepted, weights, excepted)

    decay = optax.add_decayed_weights(weight_decay, decayed) if weight_decay else optax.identity()
    options = options or {}
    if name in part_names("optim", "optimizer"):
        given = {"schedule": schedule, "decay": decay, "kind": optax.GradientTransformation}
        direction = make_part("optim", name, "optimizer", options, group=f"optim.{name}", **given)
        steps = [direction, optax.scale_by_learning_rate(schedule)]
    else:
        mask = None if decay_all and not no_decay else decayed
        steps = [optimizer_from_optax(name, schedule, decay, weight_decay=weight_decay, mask=mask, options=options)]
    train = optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        *steps,
        scale_by_name(lr_multipliers),
        average_params(ema_decay) if ema_decay else optax.identity(),
    )
    rules = [(pattern, "keep") for pattern in freeze]
    tx = optax.partition({"train": train, "keep": keep_params()}, lambda params: lookup(params, rules, "train"))

    def init(params: Tree) -> Tree:
        check_patterns(params, no_decay, key="optim.no_decay")
        check_patterns(params, [pattern for pattern, _ in lr_multipliers], key="optim.lr_multipliers")
        check_patterns(params, freeze, key="optim.freeze")
        if all(jax.tree.leaves(matches(params, freeze))):
            raise ConfigError(f"config.optim.freeze={freeze!r} leaves nothing to train.")
        return tx.init(params)

    return optax.GradientTransformation(init, tx.update)


def scale_by_name(factors: Sequence[tuple[str, float]]) -> optax.GradientTransformation:
    """Scales each update by the factor of the first of the (pattern, factor) pairs that matches its name, else by 1."""
    return optax.stateless(lambda updates, params: jax.tree.map(jnp.multiply, updates, lookup(updates, factors, 1.0)))


def keep_params() -> optax.GradientTransformation:
    """Updates that change no bit of the parameters: -0.0, since 0.0 turns -0.0 into 0.0."""
    return optax.stateless_with_tree_map(lambda update, param: jnp.full_like(update, -0.0))


class AverageState(NamedTuple):
    average: Tree  # like params


def average_params(decay: float) -> optax.GradientTransformation:
    """Leaves the updates alone and keeps average = decay * average + (1 - decay) * params. The last of a chain."""

    def update(updates: Tree, state: AverageState, params: Tree) -> tuple:
        new = optax.apply_updates(params, updates)
        return updates, AverageState(optax.incremental_update(new, state.average, 1 - decay))

    return optax.GradientTransformation(lambda params: AverageState(jax.tree.map(jnp.copy, params)), update)


def averaged(params: Tree, opt_state: Tree) -> Tree:
    """The parameters to evaluate: their average where the optimiser keeps one, else themselves."""
    average = optax.tree.get(opt_state, "average")
    if average is None:
        return params
    return jax.tree.map(lambda x, mean: x if isinstance(mean, optax.MaskedNode) else mean, params, average)
