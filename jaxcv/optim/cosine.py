"""Cosine annealing of the learning rate, as torch's CosineAnnealingLR, step by step."""

import optax

from jaxcv.ranges import NonNegative
from jaxcv.task import Schedule


def schedule(lr: float, total_steps: int, warmup_steps: int, *, final_lr: NonNegative = 0.0) -> Schedule:
    """From `lr` at the end of the warm-up to `final_lr` at `total_steps`, along half a cosine."""
    return optax.schedules.warmup_cosine_decay_schedule(0.0, lr, warmup_steps, total_steps, final_lr)
