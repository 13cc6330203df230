"""Random Erasing of one float image."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.ops.geometry import Fill, random_fitting_box
from jaxcv.ranges import Share


def random_erase(
    key: jax.Array,
    image: jax.Array,
    *,
    p: Share = 0.5,
    area: Sequence[float] = (0.02, 0.33),
    ratio: Sequence[float] = (0.3, 3.3),
    fill: Fill = 0.0,
    noise: Fill = 0.0,
) -> jax.Array:
    """With probability p, a box becomes noise: Random Erasing (arXiv 1708.04896) as in torchvision, with its defaults.

    On images that are not yet normalised, the data's mean as `fill` is torchvision's value 0, and the mean with the
    data's standard deviation as `noise` is its "random". If none of 10 random boxes is smaller than the image in both
    height and width, nothing is erased.

    area: share of the image's area, uniform.  ratio: height / width, log-uniform.  fill, noise: mean and standard
    deviation of the normal noise, a number or one for each channel.
    """
    apply_key, box_key, noise_key = jax.random.split(key, 3)
    height, width = image.shape[:2]
    box = random_fitting_box(  # of the transposed image, in which width / height is our ratio
        box_key, image.swapaxes(0, 1), area=area, ratio=ratio, largest=(width - 1, height - 1)
    )
    left, top, box_width, box_height = box
    row, column = jnp.arange(height), jnp.arange(width)
    rows, columns = (row >= top) & (row < top + box_height), (column >= left) & (column < left + box_width)
    erased = (rows[:, None] & columns[None, :])[..., None] & jax.random.bernoulli(apply_key, p)
    mean, std = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), image.shape) for x in (fill, noise))
    return jnp.where(erased, mean + std * jax.random.normal(noise_key, image.shape), image)
