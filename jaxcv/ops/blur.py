"""Gaussian blur of one float image, as two products with banded matrices that include the reflected border."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ops.geometry import check_range, separable
from jaxcv.ranges import PositiveCount, Share


def _blur_weights(length: int, sigma: float | jax.Array, kernel: int) -> jax.Array:
    """(length, length): the weight of input pixel j in output pixel i, also where a border reflects it."""
    radius = kernel // 2

    def gaussian(distance: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(distance) <= radius, jnp.exp(-0.5 * jnp.square(distance / sigma)), 0.0)

    pixel = jnp.arange(length, dtype=jnp.float32)
    target, source = pixel[:, None], pixel[None, :]
    weights = gaussian(source - target)
    weights += jnp.where(source > 0, gaussian(source + target), 0.0)  # mirrored about pixel 0
    last = length - 1
    weights += jnp.where(source < last, gaussian(2 * last - source - target), 0.0)
    return weights / gaussian(jnp.arange(-radius, radius + 1, dtype=jnp.float32)).sum()


def gaussian_blur(image: jax.Array, sigma: float | jax.Array, *, kernel: int) -> jax.Array:
    """Blurs as torchvision does: taps `exp(-d**2 / (2 sigma**2))` normalised over the kernel, borders reflected.

    sigma: standard deviation in pixels, above 0; may be traced.  kernel: odd width in pixels, at most 2 side - 1.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel must be an odd number of pixels, not {kernel}")
    height, width = image.shape[:2]
    if kernel // 2 >= min(height, width):
        largest = 2 * min(height, width) - 1
        raise UserError(f"kernel must be at most {largest} for an image of {height}x{width}, not {kernel}")
    return separable(image, _blur_weights(height, sigma, kernel), _blur_weights(width, sigma, kernel))


def random_gaussian_blur(
    key: jax.Array, image: jax.Array, *, p: Share, kernel: PositiveCount, sigma: Sequence[float] = (0.1, 2.0)
) -> jax.Array:
    """`gaussian_blur` with probability p and a standard deviation uniform in `sigma`, in pixels."""
    low, high = check_range("sigma", sigma)
    apply_key, sigma_key = jax.random.split(key)
    blurred = gaussian_blur(image, jax.random.uniform(sigma_key, minval=low, maxval=high), kernel=kernel)
    return jnp.where(jax.random.bernoulli(apply_key, p), blurred, image)
