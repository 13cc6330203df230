"""Affine maps of one float image (h, w, c): rotations, scales, shears and shifts, as Pillow does them.

Unlike a crop, such a map is not a product of two small matrices, so each output pixel is fetched: one gather, whose
gradient is never needed.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ops.geometry import Fill, Size, check_range, height_width
from jaxcv.ranges import NonNegative, Share


def rotation(angle: float | jax.Array, height: float | jax.Array, width: float | jax.Array) -> jax.Array:
    """(2, 3) float32: the matrix with which `warp` turns an image by `angle` radians anticlockwise about its centre."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2
    return jnp.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]], jnp.float32)


def warp(
    image: jax.Array,
    matrix: jax.Array,
    *,
    size: Size | None = None,
    method: str = "nearest",
    fill: Fill = 0.0,
) -> jax.Array:
    """The image under an affine map, as Pillow's `Image.transform(AFFINE)`.

    Positions are 16.16 fixed-point numbers, like Pillow's for nearest, so a tie is broken the same way on every device;
    they must stay below 32768 pixels.

    matrix: (2, 3) float32, from the result's (x, y, 1) to the image's (x, y), in pixels from the top left corner, so
    that the centres of pixels are at halves.  size: by default the image's.  method: "bilinear", which repeats the edge
    for half a pixel, or "nearest", for integers too. The result has the image's dtype.
    """
    if method not in ("nearest", "bilinear"):
        raise UserError(f"method must be nearest or bilinear, not {method!r}")
    height, width, channels = image.shape
    out_height, out_width = height_width((height, width) if size is None else size)
    pixels = jnp.asarray(image).reshape(height * width, channels)

    def position(per_x: jax.Array, per_y: jax.Array, start: jax.Array) -> jax.Array:
        """Where the centres of the result's pixels come from, int32 (h', w'), in 1 / 65536 pixels."""
        fixed = jnp.floor(65536 * jnp.stack([per_x, per_y, start + (per_x + per_y) / 2]) + 0.5).astype(jnp.int32)
        return fixed[0] * jnp.arange(out_width)[None, :] + fixed[1] * jnp.arange(out_height)[:, None] + fixed[2]

    def fetch(x: jax.Array, y: jax.Array) -> jax.Array:
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
    return jnp.where(inside[..., None], warped, jnp.broadcast_to(jnp.asarray(fill, image.dtype), warped.shape))


def random_rotation(
    key: jax.Array,
    image: jax.Array,
    *,
    degrees: NonNegative,
    p: Share = 1.0,
    method: str = "nearest",
    fill: Fill = 0.0,
) -> jax.Array:
    """With probability p, turns the image by an angle uniform in [-degrees, degrees]; other options as in `warp`."""
    apply_key, angle_key = jax.random.split(key)
    angle = jnp.deg2rad(jax.random.uniform(angle_key, minval=-degrees, maxval=degrees))
    turned = warp(image, rotation(angle, *image.shape[:2]), method=method, fill=fill)
    return jnp.where(jax.random.bernoulli(apply_key, p), turned, image)


def random_scaled_crop(
    key: jax.Array,
    image: jax.Array,
    *,
    size: Size,
    factor: Sequence[float] = (0.5, 2.0),
    degrees: NonNegative = 0.0,
    method: str = "bilinear",
    fill: Fill = 0.0,
) -> jax.Array:
    """The image scaled, turned about its centre, and cropped at a random place, in one `warp`.

    Without turning, it is torch's `interpolate` to whole pixels without antialiasing, then `random_crop`.

    factor: of both sides, uniform.  degrees: the angle is uniform in [-degrees, degrees].  method: as in `warp`.
    """
    low, high = check_range("factor", factor)
    height, width = image.shape[:2]
    out_height, out_width = height_width(size)
    factor_key, angle_key, top_key, left_key = jax.random.split(key, 4)
    scaling = jax.random.uniform(factor_key, minval=low, maxval=high)
    scaled_height, scaled_width = (jnp.maximum(jnp.round(scaling * side), 1.0) for side in (height, width))
    angle = jnp.deg2rad(jax.random.uniform(angle_key, minval=-degrees, maxval=degrees))

    def start(key: jax.Array, free: jax.Array) -> jax.Array:  # whole pixels; negative if the image is smaller
        free = free.astype(jnp.int32)
        return jax.random.randint(key, (), jnp.minimum(free, 0), jnp.maximum(free, 0) + 1)

    top, left = start(top_key, scaled_height - out_height), start(left_key, scaled_width - out_width)
    turn = rotation(angle, scaled_height, scaled_width)
    first = turn[:, 0] * left + turn[:, 1] * top + turn[:, 2]
    scale = jnp.stack([width / scaled_width, height / scaled_height])[:, None]
    matrix = scale * jnp.stack([turn[:, 0], turn[:, 1], first], axis=1)
    return warp(image, matrix, size=size, method=method, fill=fill)


def random_crop(key: jax.Array, image: jax.Array, *, size: Size, fill: Fill = 0.0) -> jax.Array:
    """A crop at a random place, without resampling: torchvision's `RandomCrop(size, pad_if_needed=True)`.

    An image, float32 or integers, that is smaller than the crop is at a random place in it, surrounded by `fill`.
    """
    return random_scaled_crop(key, image, size=size, factor=(1.0, 1.0), method="nearest", fill=fill)
