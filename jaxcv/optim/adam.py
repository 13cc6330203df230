"""Adam (Kingma and Ba 2014, arXiv 1412.6980), as torch.optim.Adam."""

import optax


def optimizer(
    schedule: optax.Schedule,
    decay: optax.GradientTransformation,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """The decay joins the gradient; for decoupled decay see adamw.

    b1, b2: what is kept of the mean gradient and of the mean squared gradient at each step, in [0, 1).
    eps: is added to the root of the latter.
    """
    return optax.chain(decay, optax.scale_by_adam(b1, b2, eps))
