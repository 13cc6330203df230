"""AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101), as torch.optim.AdamW."""

import optax


def optimizer(
    schedule: optax.Schedule,
    decay: optax.GradientTransformation,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Adam whose decay is decoupled: it joins after the gradient is scaled.

    b1, b2: what is kept of the mean gradient and of the mean squared gradient at each step, in [0, 1).
    eps: is added to the root of the latter.
    """
    return optax.chain(optax.scale_by_adam(b1, b2, eps), decay)
