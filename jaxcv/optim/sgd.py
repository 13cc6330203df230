"""SGD with momentum, as torch.optim.SGD."""

import optax

from jaxcv.ranges import Decay
from jaxcv.task import Schedule


def optimizer(
    schedule: Schedule, decay: optax.GradientTransformation, *, momentum: Decay = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """Weight decay is added to the gradient.

    momentum: in [0, 1); 0: none.  nesterov: Nesterov's momentum (1983).
    """
    return optax.chain(decay, optax.trace(momentum, nesterov))
