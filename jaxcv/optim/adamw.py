"""AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101), as torch.optim.AdamW."""

import optax

from jaxcv.ranges import Decay, Positive
from jaxcv.task import Schedule


def optimizer(
    schedule: Schedule, decay: optax.GradientTransformation, *, b1: Decay = 0.9, b2: Decay = 0.999, eps: Positive = 1e-8
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay: it is added after the gradient is scaled. b1, b2, eps: as of adam."""
    return optax.chain(optax.scale_by_adam(b1, b2, eps), decay)
