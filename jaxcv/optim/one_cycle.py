"""The one-cycle learning rate (Smith and Topin 2017, arXiv 1708.07120), as torch's OneCycleLR."""

from typing import Literal

import optax

from jaxcv.errors import ConfigError
from jaxcv.ranges import Positive, Share
from jaxcv.task import Schedule


def schedule(
    lr: float,
    total_steps: int,
    warmup_steps: int,
    *,
    pct_start: Share = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
    anneal: Literal["cosine", "linear"] = "cosine",
) -> Schedule:
    """`lr` / `div_factor` -> `lr` -> `lr` / (`div_factor` `final_div_factor`) at the last step.

    pct_start: the share of the run in which it rises.  anneal: cosine or linear, up and down.  Momentum is constant;
    torch's cycle_momentum, on by default, moves it against the learning rate.
    """
    if warmup_steps:
        raise ConfigError("config.optim: one_cycle has a warm-up of its own; set the other to 0.")
    # The boundaries are torch's; optax's own one-cycle schedules peak and end a step later.
    peak, last = pct_start * total_steps - 1, total_steps - 1
    if not 0 < peak < last:
        raise ConfigError(
            f"config.optim.one_cycle.pct_start={pct_start} must leave steps to rise and to fall in {total_steps}."
        )
    scales = {peak: div_factor, last: 1 / (div_factor * final_div_factor)}
    return optax.schedules.piecewise_interpolate_schedule(anneal, lr / div_factor, scales)
