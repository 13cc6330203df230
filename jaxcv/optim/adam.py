"""Adam (Kingma and Ba 2014, arXiv 1412.6980), as torch.optim.Adam."""

import optax

from jaxcv.ranges import Decay, Positive
from jaxcv.task import Schedule


def optimizer(
    schedule: Schedule, decay: optax.GradientTransformation, *, b1: Decay = 0.9, b2: Decay = 0.999, eps: Positive = 1e-8
) -> optax.GradientTransformation:
    """Weight decay is added to the gradient; for decoupled decay see adamw.

    b1, b2: decay rates of the running means of the gradient and of its square, in [0, 1).  eps: added to the
    denominator.
    """
    return optax.chain(decay, optax.scale_by_adam(b1, b2, eps))
