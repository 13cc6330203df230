"""Step decay: a learning rate that is multiplied at equal intervals, as torch's StepLR."""

from jaxcv.errors import ConfigError
from jaxcv.task import Schedule


def schedule(lr: float, total_steps: int, warmup_steps: int, *, every_steps: int, gamma: float = 0.1) -> Schedule:
    """`lr`, multiplied by `gamma` every `every_steps` steps from the start of the run."""
    if every_steps < 1:
        raise ConfigError("config.optim.step must have an every_steps or every_epochs of at least one step.")
    # Integer division: compiled, the quotient of optax's staircase can fall short of a whole number, a step late.
    return lambda step: lr * gamma ** (step // every_steps)
