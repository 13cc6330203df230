"""A learning rate that is multiplied at given steps, as torch's MultiStepLR."""

from collections.abc import Sequence
from itertools import pairwise

import optax

from jaxcv.errors import ConfigError
from jaxcv.ranges import Positive
from jaxcv.task import Schedule


def schedule(
    lr: float, total_steps: int, warmup_steps: int, *, milestones_steps: Sequence[int], gamma: Positive = 0.1
) -> Schedule:
    """`lr`, multiplied by `gamma` at each of `milestones_steps`, counted from the start of the run."""
    if not all(a < b for a, b in pairwise([0, *milestones_steps])):
        raise ConfigError(f"config.optim.multi_step: the milestones must rise from step 1, not {milestones_steps}.")
    return optax.schedules.piecewise_constant_schedule(lr, dict.fromkeys(milestones_steps, gamma))
