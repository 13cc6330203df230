"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch of float images, as timm's `Mixup`.

Image i is mixed with image b - 1 - i, as batches are shuffled. Both methods are a weight for each pixel, and the mean
weight is that of the target: for CutMix, lambda corrected for the part of the box outside the image. Mixing is linear,
so targets may be smoothed, and images normalised, before or after.
"""

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ranges import Positive, Share


def _box(key: jax.Array, height: int, width: int, share: jax.Array) -> jax.Array:
    """(h, w) bool: a box of this share of the image, centred on a random pixel, cut off at the border."""
    row_key, column_key = jax.random.split(key)

    def inside(key: jax.Array, length: int) -> jax.Array:
        half = jnp.floor(length * jnp.sqrt(share) / 2)
        distance = jnp.arange(length) - jax.random.randint(key, (), 0, length)
        return (distance >= -half) & (distance < half)

    return inside(row_key, height)[:, None] & inside(column_key, width)[None, :]


def mixup_or_cutmix(
    key: jax.Array,
    image: jax.Array,
    target: jax.Array,
    *,
    mixup_alpha: Positive = 0.8,
    cutmix_alpha: Positive = 1.0,
    switch_p: Share = 0.5,
    p: Share = 1.0,
    per_image: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """With probability p, CutMix with probability `switch_p`, else mixup; lambda ~ Beta(alpha, alpha).

    image: (b, h, w, c), float32.  target: (b, classes), float32, one-hot or soft.  mixup_alpha, cutmix_alpha: above 0;
    with 1 lambda is uniform, with less it is nearer to 0 and 1.  per_image: whether each image, instead of the batch,
    has its own random numbers.  Returns (image, target) of the same shapes.
    """
    if target.ndim != 2:
        raise UserError(f"target must be b classes, as one-hot labels are, not of shape {target.shape}")
    if min(mixup_alpha, cutmix_alpha) <= 0:
        raise UserError(f"alpha must be above 0, not {min(mixup_alpha, cutmix_alpha)}")
    height, width = image.shape[1:3]

    def sample_weight(key: jax.Array) -> jax.Array:  # (h, w, 1)
        apply_key, switch_key, lambda_key, box_key = jax.random.split(key, 4)
        is_cut = jax.random.bernoulli(switch_key, switch_p)
        alpha = jnp.where(is_cut, cutmix_alpha, mixup_alpha)
        lam = jax.random.beta(lambda_key, alpha, alpha)
        weight = jnp.where(is_cut, 1.0 - _box(box_key, height, width, 1 - lam), lam)
        return jnp.where(jax.random.bernoulli(apply_key, p), weight, 1.0)[..., None]

    weight = jax.vmap(sample_weight)(jax.random.split(key, image.shape[0] if per_image else 1))  # (b or 1, h, w, 1)
    share = weight.mean(axis=(1, 2))  # (b or 1, 1)
    return weight * image + (1 - weight) * image[::-1], share * target + (1 - share) * target[::-1]
