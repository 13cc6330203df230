"""Crops, resizes and flips of one float image (h, w, c), as small matrix products without gathers.

Products are in full float32 (`Precision.HIGHEST`): they are a hundredth of a network's work, and with TF32 (error
5e-4), the default of a GPU, its views would differ from a CPU's.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ranges import Count, Finite, Range, Share

Size = int | Sequence[int]  # a side, or (height, width), in pixels
Fill = Finite | Annotated[Sequence[float], Range(open="()")] | jax.Array  # a number, or one for each channel


def _triangle(x: jax.Array) -> jax.Array:
    return jnp.maximum(0.0, 1.0 - jnp.abs(x))


def _keys(x: jax.Array) -> jax.Array:
    """Keys' cubic with a = -0.5 (IEEE Trans. ASSP 29, 1981), as Pillow's BICUBIC."""
    x = jnp.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


_KERNELS = {"bilinear": _triangle, "bicubic": _keys}


def check_range(name: str, limits: Sequence[float], *, most: float = math.inf) -> tuple[float, float]:
    """(low, high) of the option `name`; UserError unless 0 < low <= high <= most."""
    valid = isinstance(limits, Sequence) and len(limits) == 2 and Range(0, most, open="(").holds(limits)
    if not valid or limits[0] > limits[1]:
        end = "" if most == math.inf else f" <= {most:g}"
        raise UserError(f"{name} must be (low, high) with 0 < low <= high{end}, not {limits}")
    low, high = limits
    return low, high


def height_width(size: Size) -> tuple[int, int]:
    """(height, width) in pixels; UserError for one below 1."""
    sides = (size, size) if isinstance(size, int) else size
    if not (isinstance(sides, Sequence) and len(sides) == 2 and Range(1).holds(sides)):
        raise UserError(f"size must be a side or (height, width), at least 1 pixel, not {size}")
    height, width = sides
    return height, width


def _resize_weights(length: int, start: jax.Array, extent: jax.Array, size: int, method: str) -> jax.Array:
    """(size, length): the weight of each of `length` pixels in each of `size` that cover [start, start + extent)."""
    scale = extent / size
    centre = start + (jnp.arange(size, dtype=jnp.float32) + 0.5) * scale
    pixel = jnp.arange(length, dtype=jnp.float32)
    distance = pixel[None, :] + 0.5 - centre[:, None]
    weights = _KERNELS[method](distance / jnp.maximum(scale, 1.0))  # widened when shrinking: antialiasing
    weights = jnp.where(((pixel >= start) & (pixel < start + extent))[None, :], weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def separable(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """`rows @ image @ columns.T` in each channel: (h, w, c), (s, h) and (t, w) float32 -> (s, t, c) float32."""
    return jnp.einsum("sh,hwc,tw->stc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)


def resized_crop(image: jax.Array, box: Sequence, *, size: Size, method: str = "bicubic") -> jax.Array:
    """The crop `box`, resized with antialiasing: the same as cropping, then resizing, with torchvision or Pillow.

    box: (top, left, height, width) in whole pixels, inside the image; numbers, or traced int or float.
    method: "bilinear" (triangle) or "bicubic" (Keys, a = -0.5), widened where the crop shrinks. Bicubic overshoots at
    edges, so its result is clipped to [0, 1], as with Pillow's 8 bits but unlike torchvision's floats.
    """
    if method not in _KERNELS:
        raise UserError(f"method must be {' or '.join(_KERNELS)}, not {method!r}")
    out_height, out_width = height_width(size)
    top, left, height, width = (jnp.asarray(number, jnp.float32) for number in box)
    rows = _resize_weights(image.shape[0], top, height, out_height, method)
    columns = _resize_weights(image.shape[1], left, width, out_width, method)
    resized = separable(image, rows, columns)
    return jnp.clip(resized, 0.0, 1.0) if method == "bicubic" else resized


def random_fitting_box(
    key: jax.Array, image: jax.Array, *, area: Sequence[float], ratio: Sequence[float], largest: tuple[int, int]
) -> tuple[jax.Array, ...]:
    """As `random_box`, but the sides are from 1 to `largest` pixels, and if no box fits, it has height 0."""
    (min_area, max_area), (min_ratio, max_ratio) = check_range("area", area, most=1), check_range("ratio", ratio)
    full_height, full_width = image.shape[:2]
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    areas = full_height * full_width * jax.random.uniform(area_key, (10,), minval=min_area, maxval=max_area)
    ratios = jnp.exp(jax.random.uniform(ratio_key, (10,), minval=math.log(min_ratio), maxval=math.log(max_ratio)))
    heights, widths = jnp.round(jnp.sqrt(areas / ratios)), jnp.round(jnp.sqrt(areas * ratios))
    fits = (heights > 0) & (heights <= largest[0]) & (widths > 0) & (widths <= largest[1])
    first = fits & (jnp.cumsum(fits) == 1)
    height, width = (heights * first).sum(), (widths * first).sum()

    def offset(key: jax.Array, free: jax.Array) -> jax.Array:  # uniform <= 1 - 2**-23: never beyond `free`
        return jnp.floor(jax.random.uniform(key) * (free + 1))

    return offset(top_key, full_height - height), offset(left_key, full_width - width), height, width


def random_box(
    key: jax.Array,
    image: jax.Array,
    *,
    area: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> tuple[jax.Array, ...]:
    """The box of a random resized crop (Inception's, arXiv 1409.4842), sampled as in torchvision's `get_params`.

    The first of 10 random boxes that fits; if none does, the largest central box whose ratio is in range.

    Only the image's shape matters.  area: share of the image's area, uniform.  ratio: width / height, log-uniform.
    Returns (top, left, height, width), float32 scalars that hold whole pixels.
    """
    full_height, full_width = image.shape[:2]
    box = random_fitting_box(key, image, area=area, ratio=ratio, largest=(full_height, full_width))
    height = min(full_height, round(full_width / ratio[0]))
    width = min(full_width, round(full_height * ratio[1]))
    central = (full_height - height) // 2, (full_width - width) // 2, height, width
    return tuple(jnp.where(box[2] > 0, x, other) for x, other in zip(box, central))


def random_resized_crop(
    key: jax.Array,
    image: jax.Array,
    *,
    size: Size,
    area: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    method: str = "bicubic",
) -> jax.Array:
    """`resized_crop` with a `random_box`; options as theirs."""
    return resized_crop(image, random_box(key, image, area=area, ratio=ratio), size=size, method=method)


def resize(image: jax.Array, *, size: Size, method: str = "bilinear") -> jax.Array:
    """The whole image resized, as in `resized_crop`."""
    return resized_crop(image, (0, 0, *image.shape[:2]), size=size, method=method)


def resize_nearest(image: jax.Array, *, size: Size) -> jax.Array:
    """The whole image resized by copying the pixel that each centre is in: Pillow's NEAREST, torch's "nearest-exact".

    Torch's "nearest" copies the pixel under the upper left corner instead, which moves a mask against its image. For a
    centre on an edge, this copies the later pixel, as torch does; Pillow may copy either. The image is float32 or
    integers up to 2**24, the result of its dtype.
    """

    def pick(length: int, size: int) -> jax.Array:  # (size, length)
        pixel = (2 * jnp.arange(size) + 1) * length // (2 * size)
        return (pixel[:, None] == jnp.arange(length)[None, :]).astype(jnp.float32)

    height, width = height_width(size)
    picked = separable(image.astype(jnp.float32), pick(image.shape[0], height), pick(image.shape[1], width))
    return picked.astype(image.dtype)


def center_crop(image: jax.Array, *, size: Size) -> jax.Array:
    """The central part of any (h, w, c) array, placed as torchvision does; UserError if the array is smaller."""
    height, width = height_width(size)
    if height > image.shape[0] or width > image.shape[1]:
        raise UserError(f"center_crop needs an image of at least {height}x{width}, not {image.shape[:2]}")
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return image[top : top + height, left : left + width]


def _window(length: int, start: jax.Array, size: int, mode: str) -> jax.Array:
    """(size, length): picks pixels start, start + 1, ...; those outside are 0, or mirrored at the border to reflect."""
    pixel = start + jnp.arange(size)
    if mode == "reflect":
        pixel = length - 1 - jnp.abs(length - 1 - jnp.abs(pixel))
    return (pixel[:, None] == jnp.arange(length)[None, :]).astype(jnp.float32)


def random_pad_crop(key: jax.Array, image: jax.Array, *, size: Size, padding: Count, mode: str = "zero") -> jax.Array:
    """A crop of `size` anywhere in the image padded on each side, torchvision's `RandomCrop(size, padding)`.

    padding: pixels on each side.  mode: "zero", or "reflect", which mirrors the image without repeating the border.
    """
    if mode not in ("zero", "reflect"):
        raise UserError(f"mode must be zero or reflect, not {mode!r}")
    height, width = image.shape[:2]
    out_height, out_width = height_width(size)
    if mode == "reflect" and padding >= min(height, width):
        raise UserError(f"padding must be below {min(height, width)} to reflect {height}x{width}, not {padding}")
    if out_height > height + 2 * padding or out_width > width + 2 * padding:
        raise UserError(f"size must fit into {height}x{width} padded by {padding}, which {size} does not")
    top_key, left_key = jax.random.split(key)
    top = jax.random.randint(top_key, (), -padding, height + padding - out_height + 1)
    left = jax.random.randint(left_key, (), -padding, width + padding - out_width + 1)
    return separable(image, _window(height, top, out_height, mode), _window(width, left, out_width, mode))


def random_flip(key: jax.Array, image: jax.Array, *, p: Share = 0.5) -> jax.Array:
    """Swaps left and right of any (h, w, c) array with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), image[:, ::-1], image)
