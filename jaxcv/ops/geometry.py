"""Where pixels go: crops, resizes and flips of one float image, as small matrix products (no gathers).

Products are full float32 (`Precision.HIGHEST`): they are a hundredth of a network's work, and the TF32 a GPU
would take instead (error 5e-4) would make its views differ from the CPU's.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError

Size = int | Sequence[int]


def _triangle(x: jax.Array) -> jax.Array:
    return jnp.maximum(0.0, 1.0 - jnp.abs(x))


def _keys(x: jax.Array) -> jax.Array:
    """Keys' cubic with a = -0.5 (IEEE Trans. ASSP 29, 1981), as Pillow's BICUBIC."""
    x = jnp.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


_KERNELS = {"bilinear": _triangle, "bicubic": _keys}


def height_width(size: Size) -> tuple[int, int]:
    """(height, width) in pixels of a side or of both; UserError for one below 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise UserError(f"size must be at least 1 pixel, not {size}")
    return height, width


def _resize_weights(length: int, start: jax.Array, extent: jax.Array, size: int, method: str) -> jax.Array:
    """How much of each of `length` pixels goes into each of the `size` that cover [start, start + extent)."""
    scale = extent / size
    centre = start + (jnp.arange(size, dtype=jnp.float32) + 0.5) * scale
    pixel = jnp.arange(length, dtype=jnp.float32)
    distance = pixel[None, :] + 0.5 - centre[:, None]  # size length
    weights = _KERNELS[method](distance / jnp.maximum(scale, 1.0))  # widened when it shrinks: antialiasing
    weights = jnp.where(((pixel >= start) & (pixel < start + extent))[None, :], weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def separable(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """`rows @ image @ columns.T` in each channel: h w c, (s, h) and (t, w) float32 -> s t c float32."""
    return jnp.einsum("sh,hwc,tw->stc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)


def resized_crop(image: jax.Array, box: Sequence, *, size: Size, method: str = "bicubic") -> jax.Array:
    """The crop `box`, resized with antialiasing: as a crop, then a resize, of torchvision or Pillow.

    Args:
      image: h w c, float32 in [0, 1].
      box: (top, left, height, width) in whole pixels, inside the image; numbers, or traced int or float.
      size: the result's side, or (height, width), in pixels.
      method: "bilinear" (triangle) or "bicubic" (Keys, a = -0.5), widened where the crop shrinks. Bicubic
        overshoots at edges, so its result is clipped to [0, 1], as Pillow's 8-bit one is and torchvision's
        float one is not.

    Returns: size size c, float32 in [0, 1].

    Raises: UserError for another method or a size below 1.
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
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The first of 10 random boxes whose sides are from 1 to `largest` pixels; if none's are, one of height 0.

    Options, result and errors are those of `random_box`.
    """
    for name, (least, greatest) in {"area": area, "ratio": ratio}.items():
        if not 0 < least <= greatest:
            raise UserError(f"{name} must be (least, greatest) with 0 < least <= greatest, not {(least, greatest)}")
    full_height, full_width = image.shape[:2]
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    areas = full_height * full_width * jax.random.uniform(area_key, 10, minval=area[0], maxval=area[1])
    ratios = jnp.exp(jax.random.uniform(ratio_key, 10, minval=math.log(ratio[0]), maxval=math.log(ratio[1])))
    heights, widths = jnp.round(jnp.sqrt(areas / ratios)), jnp.round(jnp.sqrt(areas * ratios))
    fits = (heights > 0) & (heights <= largest[0]) & (widths > 0) & (widths <= largest[1])
    first = fits & (jnp.cumsum(fits) == 1)
    height, width = (heights * first).sum(), (widths * first).sum()

    def offset(key, free):  # uniform <= 1 - 2**-23: never beyond `free`
        return jnp.floor(jax.random.uniform(key) * (free + 1))

    return offset(top_key, full_height - height), offset(left_key, full_width - width), height, width


def random_box(
    key: jax.Array,
    image: jax.Array,
    *,
    area: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The box of a random resized crop (Inception's, arXiv 1409.4842), drawn as torchvision's `get_params`.

    The first of 10 candidates that fits; if none does, the largest central box whose ratio is in range.

    Args:
      key: a typed key.
      image: h w c; only its shape matters, so the same key gives a mask of that shape the same box.
      area: least and greatest share of the image's area, uniform.
      ratio: least and greatest width / height, log-uniform.

    Returns: (top, left, height, width), float32 scalars that hold whole pixels.

    Raises: UserError unless 0 < least <= greatest.
    """
    full_height, full_width = image.shape[:2]
    box = random_fitting_box(key, image, area=area, ratio=ratio, largest=(full_height, full_width))
    height = min(full_height, round(full_width / ratio[0]))
    width = min(full_width, round(full_height * ratio[1]))
    central = (full_height - height) // 2, (full_width - width) // 2, height, width
    return tuple(jnp.where(box[2] > 0, drawn, other) for drawn, other in zip(box, central))


def random_resized_crop(
    key: jax.Array,
    image: jax.Array,
    *,
    size: Size,
    area: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    method: str = "bicubic",
) -> jax.Array:
    """`resized_crop` of a `random_box`; options and errors are theirs."""
    return resized_crop(image, random_box(key, image, area=area, ratio=ratio), size=size, method=method)


def resize(image: jax.Array, *, size: Size, method: str = "bilinear") -> jax.Array:
    """The whole image at `size`, a side or (height, width) in pixels: `resized_crop` with the box of all."""
    return resized_crop(image, (0, 0, *image.shape[:2]), size=size, method=method)


def resize_nearest(image: jax.Array, *, size: Size) -> jax.Array:
    """The whole image at `size`, each pixel that in which its centre falls: Pillow's NEAREST, torch's "nearest-exact".

    Torch's "nearest" takes the pixel of the upper left corner instead, and so moves a mask against its image. A centre
    on an edge has the later pixel, as in torch; Pillow rounds either way.

    Args:
      image: h w c, float32 or integers up to 2**24.
      size: the result's side, or (height, width), in pixels.

    Returns: size size c, of the image's dtype.
    """

    def pick(length, size):  # size length
        pixel = (2 * jnp.arange(size) + 1) * length // (2 * size)
        return (pixel[:, None] == jnp.arange(length)[None, :]).astype(jnp.float32)

    height, width = height_width(size)
    picked = separable(image.astype(jnp.float32), pick(image.shape[0], height), pick(image.shape[1], width))
    return picked.astype(image.dtype)


def center_crop(image: jax.Array, *, size: Size) -> jax.Array:
    """The central `size`, a side or (height, width) in pixels, of an h w c array, placed as torchvision does.

    Raises: UserError if the image is smaller.
    """
    height, width = height_width(size)
    if height > image.shape[0] or width > image.shape[1]:
        raise UserError(f"center_crop needs an image of at least {height}x{width}, not {image.shape[:2]}")
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return image[top : top + height, left : left + width]


def _window(length: int, start: jax.Array, size: int, mode: str) -> jax.Array:
    """(size, length): picks pixels start, start + 1 ...; those outside are mirrored about the border's, or nothing."""
    pixel = start + jnp.arange(size)
    if mode == "reflect":
        pixel = length - 1 - jnp.abs(length - 1 - jnp.abs(pixel))
    return (pixel[:, None] == jnp.arange(length)[None, :]).astype(jnp.float32)


def random_pad_crop(key: jax.Array, image: jax.Array, *, size: Size, padding: int, mode: str = "zero") -> jax.Array:
    """A crop of `size` anywhere in the image padded on each side, torchvision's `RandomCrop(size, padding)`.

    Args:
      key: a typed key.
      image: h w c, float32.
      size: the result's side, or (height, width), in pixels.
      padding: pixels on each side.
      mode: "zero" or "reflect", which mirrors the image without repeating the border.

    Returns: size size c float32.

    Raises: UserError for another mode, a padding that reaches past the reflection, and a size beyond the padded image.
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


def flip(image: jax.Array) -> jax.Array:
    """Left becomes right; any h w c array."""
    return image[:, ::-1]


def random_flip(key: jax.Array, image: jax.Array, *, p: float = 0.5) -> jax.Array:
    """`flip` with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), flip(image), image)
