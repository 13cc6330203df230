"""Learning-rate schedules by name, as functions of the step: a file here that has `schedule`, or one of optax's.

A file's `schedule(lr, total_steps, warmup_steps, *, options...)` returns step (from 0) -> learning rate. The warm-up is
added here: its values before `warmup_steps` are not used.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcv.config import duration, make_part, part_names
from jaxcv.errors import ConfigError
from jaxcv.optim.from_optax import schedule_from_optax
from jaxcv.task import Schedule


def make_schedule(
    name: str,
    *,
    lr: float,
    total_steps: int,
    steps_per_epoch: int,
    warmup_steps: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Schedule:
    """The schedule `name` with its own `options`, after a linear warm-up from 0 to `lr`.

    Options NAME_steps may be given as NAME_epochs, which may be fractions. Raises ConfigError for what is unknown or
    does not fit into `total_steps`.
    """
    if warmup_steps >= total_steps:
        raise ConfigError(f"config.optim: the warm-up ({warmup_steps} steps) must end before the run ({total_steps}).")
    group = f"optim.{name}"
    options = _in_steps(options or {}, group=group, steps_per_epoch=steps_per_epoch)
    if name in part_names("optim", "schedule"):
        given = {"lr": lr, "total_steps": total_steps, "warmup_steps": warmup_steps, "kind": Schedule}
        schedule = make_part("optim", name, "schedule", options, group=group, **given)
    else:
        schedule = schedule_from_optax(name, lr=lr, total_steps=total_steps, warmup_steps=warmup_steps, options=options)
    if not warmup_steps:
        return schedule
    warmup = optax.schedules.linear_schedule(0.0, lr, warmup_steps)
    return lambda step: jnp.where(step < warmup_steps, warmup(step), schedule(step))


def _in_steps(options: Mapping[str, Any], *, group: str, steps_per_epoch: int) -> dict[str, Any]:
    """The options with each NAME_epochs, a number or a tuple, as NAME_steps."""

    def convert(key: str, value: Any) -> tuple[str, Any]:
        name, _, unit = key.rpartition("_")
        if unit not in ("steps", "epochs"):
            return key, value

        def steps(value: float) -> int:
            return duration({**options, key: value}, name, group=group, steps_per_epoch=steps_per_epoch)

        return f"{name}_steps", jax.tree.map(steps, value)

    return dict(convert(key, value) for key, value in options.items())
