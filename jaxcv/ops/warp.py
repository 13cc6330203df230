"""Where pixels come from under an affine map: rotations, shears and shifts of one image, as Pillow does them.

Unlike a crop such a map is no product of two small matrices, so each output pixel fetches its own: one gather, whose
gradient nobody needs.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError


def rotation(angle: float | jax.Array, height: int, width: int) -> jax.Array:
    """(2, 3) float32: the matrix of `warp` that turns an image by `angle` radians, anticlockwise, about its centre."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2
    return jnp.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]], jnp.float32)


def warp(
    image: jax.Array, matrix: jax.Array, *, method: str = "nearest", fill: float | Sequence[float] = 0.0
) -> jax.Array:
    """The image under an affine map, as Pillow's `Image.transform(AFFINE)`.

    Positions are 16.16 fixed-point numbers, as Pillow's of nearest are, so a tie falls the same way on every device;
    they must stay below 32768 pixels.

    Args:
      image: h w c, float32; integers with nearest.
      matrix: (2, 3) float32, from the result's (x, y, 1) to the image's (x, y), in pixels from the top left corner,
        where centres of pixels have halves.
      method: "nearest" or "bilinear", which continues the image by its edge for half a pixel.
      fill: what lies outside the image, a number or one for each channel.

    Returns: h w c, of the image's dtype.

    Raises: UserError for another method.
    """
    if method not in ("nearest", "bilinear"):
        raise UserError(f"method must be nearest or bilinear, not {method!r}")
    height, width, channels = image.shape
    pixels = jnp.asarray(image).reshape(height * width, channels)

    def position(per_x, per_y, start):  # h w int32, in 1 / 65536 pixels, of the centres of the result's pixels
        fixed = jnp.floor(65536 * jnp.stack([per_x, per_y, start + (per_x + per_y) / 2]) + 0.5).astype(jnp.int32)
        return fixed[0] * jnp.arange(width)[None, :] + fixed[1] * jnp.arange(height)[:, None] + fixed[2]

    def fetch(x, y):  # h w c
        return pixels[jnp.clip(y, 0, height - 1) * width + jnp.clip(x, 0, width - 1)]

    matrix = jnp.asarray(matrix, jnp.float32)
    x, y = position(*matrix[0]), position(*matrix[1])
    inside = (x >= 0) & (x < width << 16) & (y >= 0) & (y < height << 16)
    if method == "nearest":
        warped = fetch(x >> 16, y >> 16)
    else:
        x, y = x - 32768, y - 32768
        right, down = ((z & 65535)[..., None] / jnp.float32(65536) for z in (x, y))
        x, y = x >> 16, y >> 16
        upper = (1 - right) * fetch(x, y) + right * fetch(x + 1, y)
        lower = (1 - right) * fetch(x, y + 1) + right * fetch(x + 1, y + 1)
        warped = (1 - down) * upper + down * lower
    return jnp.where(inside[..., None], warped, jnp.broadcast_to(jnp.asarray(fill, image.dtype), image.shape))


def random_rotation(
    key: jax.Array,
    image: jax.Array,
    *,
    degrees: float,
    p: float = 1.0,
    method: str = "nearest",
    fill: float | Sequence[float] = 0.0,
) -> jax.Array:
    """With probability p, turns the image by an angle uniform in [-degrees, degrees]; the rest is as in `warp`."""
    apply_key, angle_key = jax.random.split(key)
    angle = jnp.deg2rad(jax.random.uniform(angle_key, minval=-degrees, maxval=degrees))
    turned = warp(image, rotation(angle, *image.shape[:2]), method=method, fill=fill)
    return jnp.where(jax.random.bernoulli(apply_key, p), turned, image)
