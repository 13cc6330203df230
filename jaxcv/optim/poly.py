"""A learning rate that falls as a power of the time left, as torch's PolynomialLR."""

import jax.numpy as jnp
import optax


def schedule(lr: float, total_steps: int, warmup_steps: int, *, power: float = 0.9) -> optax.Schedule:
    """`lr` (1 - t)^`power`, t from 0 at the end of the warm-up to 1 at `total_steps`."""
    falling = optax.schedules.polynomial_schedule(lr, 0.0, power, total_steps - warmup_steps, warmup_steps)
    # Compiled, 1 - t can round to less than 0 at the end, of which the power is nan.
    return lambda step: jnp.where(step < total_steps, falling(step), 0.0)
