"""A constant learning rate."""

import optax

from jaxcv.task import Schedule


def schedule(lr: float, total_steps: int, warmup_steps: int) -> Schedule:
    """`lr` at every step."""
    return optax.schedules.constant_schedule(lr)
