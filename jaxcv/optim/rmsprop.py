"""RMSprop, as torch.optim.RMSprop."""

import optax


def optimizer(
    schedule: optax.Schedule,
    decay: optax.GradientTransformation,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
) -> optax.GradientTransformation:
    """The decay joins the gradient.

    alpha: what is kept of the mean squared gradient at each step, in [0, 1).
    eps: is added to its root.
    momentum: what is kept of the last step's direction, in [0, 1); 0: nothing.
    """
    return optax.chain(decay, optax.scale_by_rms(alpha, eps, eps_in_sqrt=False), optax.trace(momentum))
