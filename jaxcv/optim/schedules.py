"""Learning-rate schedules from config: those of torch.optim.lr_scheduler, as functions of the step."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcv.config import call, duration, nearest
from jaxcv.errors import ConfigError

Schedule = Callable[[Any], Any]  # step (from 0) -> learning rate


def make_schedule(
    name: str,
    *,
    lr: float,
    total_steps: int,
    steps_per_epoch: int,
    warmup_steps: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Schedule:
    """The schedule called `name` with its own `options`, after a linear warm-up from 0 to `lr`.

    Of the options those in steps, NAME_steps, may be given as NAME_epochs, fractions too.
    Raises ConfigError for what is unknown or does not fit into `total_steps`.
    """
    if name not in SCHEDULES:
        raise ConfigError(f"config.optim.schedule={name!r} is unknown; {nearest(name, list(SCHEDULES))}")
    if warmup_steps >= total_steps:
        raise ConfigError(f"config.optim: the warm-up ({warmup_steps} steps) must end before the run ({total_steps}).")
    group = f"optim.{name}"
    options = _in_steps(options or {}, group=group, steps_per_epoch=steps_per_epoch)
    given = {"lr": lr, "total_steps": total_steps, "warmup_steps": warmup_steps}
    schedule = call(SCHEDULES[name], options, group=group, **given)
    if not warmup_steps:
        return schedule
    rise = optax.schedules.linear_schedule(0.0, lr, warmup_steps)
    return lambda step: jnp.where(step < warmup_steps, rise(step), schedule(step))


def constant(lr: float, total_steps: int, warmup_steps: int) -> Schedule:
    """`lr` throughout."""
    return optax.schedules.constant_schedule(lr)


def step(lr: float, total_steps: int, warmup_steps: int, *, every_steps: int, gamma: float = 0.1) -> Schedule:
    """StepLR: times `gamma` every so many steps from the start of the run on."""
    if every_steps < 1:
        raise ConfigError("config.optim.step must have an every_steps or every_epochs of at least one step.")
    # Integers: compiled, the quotient of optax's staircase can fall short of a whole number, and the step comes late.
    return lambda step: lr * gamma ** (step // every_steps)


def multi_step(
    lr: float, total_steps: int, warmup_steps: int, *, milestones_steps: Sequence[int], gamma: float = 0.1
) -> Schedule:
    """MultiStepLR: times `gamma` at each milestone, counted from the start of the run."""
    if not all(a < b for a, b in pairwise([0, *milestones_steps])):
        raise ConfigError(f"config.optim.multi_step: the milestones must rise from step 1, not {milestones_steps}.")
    return optax.schedules.piecewise_constant_schedule(lr, dict.fromkeys(milestones_steps, gamma))


def cosine(lr: float, total_steps: int, warmup_steps: int, *, final_lr: float = 0.0) -> Schedule:
    """CosineAnnealingLR, step by step: half a cosine from the end of the warm-up to `final_lr` at `total_steps`."""
    return optax.schedules.warmup_cosine_decay_schedule(0.0, lr, warmup_steps, total_steps, final_lr)


def poly(lr: float, total_steps: int, warmup_steps: int, *, power: float = 0.9) -> Schedule:
    """PolynomialLR: lr (1 - t)^power, t from 0 at the end of the warm-up to 1 at `total_steps`."""
    return optax.schedules.polynomial_schedule(lr, 0.0, power, total_steps - warmup_steps, warmup_steps)


def one_cycle(
    lr: float,
    total_steps: int,
    warmup_steps: int,
    *,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal: str = "cosine",
) -> Schedule:
    """OneCycleLR (arXiv 1708.07120): lr / div_factor -> lr -> lr / (div_factor final_div_factor) at the last step.

    pct_start: the share of the run that rises.  anneal: cosine or linear, both ways.  Momentum stays as it is; torch's
    cycle_momentum, on by default, moves it against the learning rate.
    """
    if warmup_steps:
        raise ConfigError("config.optim: one_cycle has a warm-up of its own; set the other to 0.")
    if anneal not in ("cosine", "linear"):
        raise ConfigError(f"config.optim.one_cycle.anneal={anneal!r} is unknown; it must be 'cosine' or 'linear'.")
    # torch's boundaries; optax's own one-cycle schedules peak and end a step later
    peak, last = pct_start * total_steps - 1, total_steps - 1
    if not 0 < peak < last:
        raise ConfigError(
            f"config.optim.one_cycle.pct_start={pct_start} must leave steps to rise and to fall in {total_steps}."
        )
    scales = {peak: div_factor, last: 1 / (div_factor * final_div_factor)}
    return optax.schedules.piecewise_interpolate_schedule(anneal, lr / div_factor, scales)


SCHEDULES = {
    "constant": constant,
    "step": step,
    "multi_step": multi_step,
    "cosine": cosine,
    "poly": poly,
    "one_cycle": one_cycle,
}


def _in_steps(options: Mapping[str, Any], *, group: str, steps_per_epoch: int) -> dict[str, Any]:
    """The options with each NAME_epochs as NAME_steps, the values of a tuple one by one."""

    def convert(key: str, value: Any) -> tuple[str, Any]:
        name, _, unit = key.rpartition("_")
        if unit not in ("steps", "epochs"):
            return key, value

        def one(value: float) -> int:
            return duration({**options, key: value}, name, group=group, steps_per_epoch=steps_per_epoch)

        return f"{name}_steps", jax.tree.map(one, value)

    return dict(convert(key, value) for key, value in options.items())
