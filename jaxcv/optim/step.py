"""Step decay: a learning rate that is multiplied at equal intervals, as torch's StepLR."""

from jaxcv.ranges import Positive, PositiveCount
from jaxcv.task import Schedule


def schedule(
    lr: float, total_steps: int, warmup_steps: int, *, every_steps: PositiveCount, gamma: Positive = 0.1
) -> Schedule:
    """`lr`, multiplied by `gamma` every `every_steps` steps from the start of the run."""
    # Integer division: compiled, the quotient of optax's staircase can fall short of a whole number, a step late.
    return lambda step: lr * gamma ** (step // every_steps)
