"""Metrics: sums that add over batches and devices, and the functions that divide them."""

import jax
import jax.numpy as jnp


def moments(x: jax.Array, valid: jax.Array | None = None) -> dict[str, jax.Array]:
    """Sums for `spread`: how many rows, their sum and the sum of their outer products.

    Args: x: float32 (b, d).  valid: (b,) of 1 and 0; rows with 0 do not count.
    """
    valid = jnp.ones(x.shape[0]) if valid is None else valid
    kept = x * valid[:, None]
    # Not TensorFloat-32: the covariance below is a difference of nearly equal numbers.
    outer = jnp.matmul(kept.T, x, precision=jax.lax.Precision.HIGHEST)
    return {"count": valid.sum(), "sum": kept.sum(0), "outer": outer}


def spread(sums: dict) -> dict:
    """How far vectors on the unit sphere spread, from their `moments`: what a collapse takes away.

    feature_std: standard deviation of each dimension, averaged, times sqrt(d): 1 where they fill the sphere evenly,
      0 where all are the same vector (SimSiam's measure, arXiv 2011.10566, sec. 4.1).
    effective_rank: (tr C)^2 / tr(C^2) of their covariance C, the exponential of the order-2 Renyi entropy of its
      spectrum, in [1, d]; never above the Shannon version of Roy & Vetterli (2007), and needs no eigenvalues.
    Works on jax and numpy arrays alike.
    """
    mean = sums["sum"] / sums["count"]
    covariance = sums["outer"] / sums["count"] - mean[:, None] * mean[None, :]
    variance = covariance.diagonal().clip(0)
    return {
        "feature_std": (variance**0.5).mean() * len(variance) ** 0.5,
        "effective_rank": variance.sum() ** 2 / ((covariance**2).sum() + 1e-20),
    }
