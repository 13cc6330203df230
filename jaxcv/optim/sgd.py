"""SGD with momentum, as torch.optim.SGD."""

import optax


def optimizer(
    schedule: optax.Schedule, decay: optax.GradientTransformation, *, momentum: float = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """The decay joins the gradient.

    momentum: what is kept of the last step's direction, in [0, 1); 0: nothing.
    nesterov: looks one step of the momentum ahead (Nesterov 1983).
    """
    return optax.chain(decay, optax.trace(momentum, nesterov))
