"""Gaussian blur of one float image, as two products with banded matrices that hold the reflected border."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ops.geometry import separable


def _blur_weights(length: int, sigma: jax.Array, kernel: int) -> jax.Array:
    """(length, length): input pixel j is tap j - i of pixel i, and again where a border reflects it."""
    radius = kernel // 2

    def gaussian(distance):
        return jnp.where(jnp.abs(distance) <= radius, jnp.exp(-0.5 * jnp.square(distance / sigma)), 0.0)

    pixel = jnp.arange(length, dtype=jnp.float32)
    into, origin = pixel[:, None], pixel[None, :]
    weights = gaussian(origin - into)
    weights += jnp.where(origin > 0, gaussian(origin + into), 0.0)  # -j, mirrored about pixel 0
    last = length - 1
    weights += jnp.where(origin < last, gaussian(2 * last - origin - into), 0.0)
    return weights / gaussian(jnp.arange(-radius, radius + 1, dtype=jnp.float32)).sum()


def gaussian_blur(image: jax.Array, sigma: float | jax.Array, *, kernel: int) -> jax.Array:
    """Blurs as torchvision: taps `exp(-d**2 / (2 sigma**2))` normalised over the kernel, borders reflected.

    Args:
      image: h w c, float32.
      sigma: standard deviation in pixels, above 0; may be traced.
      kernel: odd width in pixels.

    Returns: h w c float32.

    Raises: UserError for an even kernel, or one that reaches past the reflection (kernel // 2 >= a side).
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel must be an odd number of pixels, not {kernel}")
    height, width = image.shape[:2]
    if kernel // 2 >= min(height, width):
        largest = 2 * min(height, width) - 1
        raise UserError(f"kernel must be at most {largest} for an image of {height}x{width}, not {kernel}")
    return separable(image, _blur_weights(height, sigma, kernel), _blur_weights(width, sigma, kernel))


def random_gaussian_blur(
    key: jax.Array, image: jax.Array, *, p: float, kernel: int, sigma: Sequence[float] = (0.1, 2.0)
) -> jax.Array:
    """`gaussian_blur` with probability p and sigma uniform in (least, greatest), in pixels.

    Raises: UserError unless 0 < least <= greatest, and as `gaussian_blur`.
    """
    least, greatest = sigma
    if not 0 < least <= greatest:
        raise UserError(f"sigma must be (least, greatest) with 0 < least <= greatest, not {(least, greatest)}")
    apply_key, sigma_key = jax.random.split(key)
    blurred = gaussian_blur(image, jax.random.uniform(sigma_key, minval=least, maxval=greatest), kernel=kernel)
    return jnp.where(jax.random.bernoulli(apply_key, p), blurred, image)
