"""RMSprop, as torch.optim.RMSprop."""

import optax

from jaxcv.ranges import Decay, Positive
from jaxcv.task import Schedule


def optimizer(
    schedule: Schedule,
    decay: optax.GradientTransformation,
    *,
    alpha: Decay = 0.99,
    eps: Positive = 1e-8,
    momentum: Decay = 0.0,
) -> optax.GradientTransformation:
    """Weight decay is added to the gradient.

    alpha: decay rate of the running mean of the squared gradient, in [0, 1).  eps: added to the denominator.
    momentum: in [0, 1); 0: none.
    """
    return optax.chain(decay, optax.scale_by_rms(alpha, eps, eps_in_sqrt=False), optax.trace(momentum))
