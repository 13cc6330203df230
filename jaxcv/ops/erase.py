"""Random Erasing of one float image."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.ops.geometry import random_fitting_box


def random_erase(
    key: jax.Array,
    image: jax.Array,
    *,
    p: float = 0.5,
    area: Sequence[float] = (0.02, 0.33),
    ratio: Sequence[float] = (0.3, 3.3),
    fill: float | Sequence[float] = 0.0,
    noise: float | Sequence[float] = 0.0,
) -> jax.Array:
    """With probability p, a box becomes noise: Random Erasing (arXiv 1708.04896) as torchvision's, with its defaults.

    The data's mean as `fill` is what value 0 is after `normalize`, and its standard deviation as `noise` is "random".
    If none of 10 boxes is smaller than the image in height and width, nothing is erased.

    Args:
      key: a typed key.
      image: h w c, float32.
      area: least and greatest share of the image's area, uniform.
      ratio: least and greatest height / width, log-uniform.
      fill, noise: mean and standard deviation of normal noise; numbers, or one for each channel.

    Returns: h w c float32.

    Raises: UserError unless 0 < least <= greatest.
    """
    apply_key, box_key, noise_key = jax.random.split(key, 3)
    height, width = image.shape[:2]
    box = random_fitting_box(  # of the transpose, whose width / height is our ratio
        box_key, image.swapaxes(0, 1), area=area, ratio=ratio, largest=(width - 1, height - 1)
    )
    left, top, box_width, box_height = box
    row, column = jnp.arange(height), jnp.arange(width)
    rows, columns = (row >= top) & (row < top + box_height), (column >= left) & (column < left + box_width)
    erased = (rows[:, None] & columns[None, :])[..., None] & jax.random.bernoulli(apply_key, p)
    fill, noise = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), image.shape) for x in (fill, noise))
    return jnp.where(erased, fill + noise * jax.random.normal(noise_key, image.shape), image)
