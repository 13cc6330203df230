"""Polynomial decay of the learning rate, as torch's PolynomialLR."""

import jax.numpy as jnp
import optax

from jaxcv.ranges import Positive
from jaxcv.task import Schedule


def schedule(lr: float, total_steps: int, warmup_steps: int, *, power: Positive = 0.9) -> Schedule:
    """`lr` (1 - t)^`power`, where t goes from 0 at the end of the warm-up to 1 at `total_steps`."""
    decay = optax.schedules.polynomial_schedule(lr, 0.0, power, total_steps - warmup_steps, warmup_steps)
    # Compiled, 1 - t can round to less than 0 at the end, and a power of that is NaN.
    return lambda step: jnp.where(step < total_steps, decay(step), 0.0)
