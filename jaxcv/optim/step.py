"""A learning rate that falls at equal intervals, as torch's StepLR."""

import optax

from jaxcv.errors import ConfigError


def schedule(lr: float, total_steps: int, warmup_steps: int, *, every_steps: int, gamma: float = 0.1) -> optax.Schedule:
    """`lr` times `gamma` for each `every_steps` since the start of the run."""
    if every_steps < 1:
        raise ConfigError("config.optim.step must have an every_steps or every_epochs of at least one step.")
    # Integers: compiled, the quotient of optax's staircase can fall short of a whole number, and the step comes late.
    return lambda step: lr * gamma ** (step // every_steps)
