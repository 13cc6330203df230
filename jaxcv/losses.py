"""Losses: per-example values, unreduced."""

import jax
import optax


def cosine_distance(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """BYOL's regression loss ||p/|p| - t/|t|||^2 = 2 - 2 cos(p, t) (arXiv 2006.07733, eq. 2).

    Args: prediction, target: float, (..., d).  Returns: (...) in [0, 4].
    """
    return 2 - 2 * optax.cosine_similarity(prediction, target, epsilon=1e-6)
