"""What colour pixels have: torchvision's arithmetic on one float image in [0, 1], 1 or 3 channels, h w c.

Adjustments are clipped to [0, 1] and have random twins. Saturation, hue and grayscale leave 1 channel be.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def _luma(image: jax.Array) -> jax.Array:
    """h w 1: ITU-R 601-2 luma with torchvision's weights, which sum to 0.9999.

    A product, because XLA on CPU computes a sum of channels, and all that leads to it, anew for each user.
    """
    if image.shape[-1] == 1:
        return image
    weights = jnp.array([[0.2989], [0.587], [0.114]], jnp.float32)
    return jnp.dot(image, weights, precision=jax.lax.Precision.HIGHEST)


def _clip(image: jax.Array) -> jax.Array:
    return jnp.clip(image, 0.0, 1.0)


def adjust_brightness(image: jax.Array, factor: float | jax.Array) -> jax.Array:
    """`factor * image`, clipped: factor 0 is black, 1 the image."""
    return _clip(factor * image)


def shift_brightness(image: jax.Array, delta: float | jax.Array) -> jax.Array:
    """`image + delta`, clipped: the brightness of DeepMind's BYOL code."""
    return _clip(image + delta)


def adjust_contrast(image: jax.Array, factor: float | jax.Array) -> jax.Array:
    """Away from (factor > 1) or towards (< 1) the mean luma of the image, clipped."""
    return _clip(factor * image + (1.0 - factor) * _luma(image).mean())


def adjust_saturation(image: jax.Array, factor: float | jax.Array) -> jax.Array:
    """Away from (factor > 1) or towards (< 1) each pixel's luma, clipped."""
    if image.shape[-1] == 1:
        return image
    return _clip(factor * image + (1.0 - factor) * _luma(image))


def _hexcone(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hue in sixths of a turn (in [-1, 5]; 0 for greys), chroma = max - min, and value = max: each h w."""
    red, green, blue = (image[..., i] for i in range(3))
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1.0 / jnp.where(chroma > 0.0, chroma, 1.0)
    from_red, from_green, from_blue = (green - blue) * scale, (blue - red) * scale, (red - green) * scale
    hue = jnp.where(value == red, from_red, jnp.where(value == green, 2.0 + from_green, 4.0 + from_blue))
    return hue, chroma, value


def _from_hexcone(hue: jax.Array, chroma: jax.Array, value: jax.Array) -> jax.Array:
    """h w 3: each channel is a trapezoid of the hue, two sixths full, a ramp, two sixths none, a ramp."""

    def channel(offset):
        position = offset + hue
        position -= 6.0 * jnp.floor(position / 6.0)
        return value - chroma * _clip(jnp.minimum(position, 4.0 - position))

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)


def rgb_to_hsv(image: jax.Array) -> jax.Array:
    """h w 3: hue in turns, saturation and value, each in [0, 1], as `colorsys` (Smith, SIGGRAPH 1978)."""
    hue, chroma, value = _hexcone(image)
    saturation = chroma / jnp.where(value > 0.0, value, 1.0)
    return jnp.stack([hue / 6.0 - jnp.floor(hue / 6.0), saturation, value], axis=-1)


def hsv_to_rgb(image: jax.Array) -> jax.Array:
    """The inverse of `rgb_to_hsv`; hue may be any number of turns."""
    hue, saturation, value = (image[..., i] for i in range(3))
    return _from_hexcone(6.0 * hue, saturation * value, value)


def adjust_hue(image: jax.Array, delta: float | jax.Array) -> jax.Array:
    """Turns the hue by `delta` turns, in [-0.5, 0.5]; value and chroma stay."""
    if image.shape[-1] == 1:
        return image
    hue, chroma, value = _hexcone(image)
    return _clip(_from_hexcone(hue + 6.0 * delta, chroma, value))


def grayscale(image: jax.Array) -> jax.Array:
    """ITU-R 601-2 luma in every channel; the channel count stays."""
    return jnp.broadcast_to(_luma(image), image.shape)


def solarize(image: jax.Array, *, threshold: float = 0.5) -> jax.Array:
    """`1 - image` where the image is at least `threshold`."""
    return jnp.where(image >= threshold, 1.0 - image, image)


def normalize(image: jax.Array, *, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """`(image - mean) / std`, one number for each channel; UserError if their count is not the channels'."""
    channels = image.shape[-1]
    if not len(mean) == len(std) == channels:
        raise UserError(f"mean and std need {channels} numbers each, not {len(mean)} and {len(std)}")
    mean, std = (jnp.asarray(x, jnp.float32).reshape(1, 1, channels) for x in (mean, std))
    return (image - mean) / std


def color_jitter(
    image: jax.Array,
    order: jax.Array,
    *,
    brightness: float | jax.Array,
    contrast: float | jax.Array,
    saturation: float | jax.Array,
    hue: float | jax.Array,
    shift: float | jax.Array = 0.0,
) -> jax.Array:
    """The four adjustments one after the other, in a traced order.

    All but hue are one blend, `clip(f * image + g * luma + h)`, so three blends before hue and three after,
    those out of turn being the identity, give any order at the cost of one hue.

    Args:
      image: h w c, float32 in [0, 1].
      order: int (4,), a permutation: order[k] is the k-th adjustment done, numbered as torchvision does:
        0 brightness, 1 contrast, 2 saturation, 3 hue.
      brightness, contrast, saturation: factors of `adjust_*`, at least 0.
      hue: delta of `adjust_hue`, in turns.
      shift: added in brightness' turn, which is `clip(brightness * image + shift)`.

    Returns: h w c, float32 in [0, 1].
    """
    gray_only = image.shape[-1] == 1
    hue_turn = (jnp.arange(4) * (order == HUE)).sum()

    def blend(image, name, is_now):
        factor = jnp.where(name == BRIGHTNESS, brightness, jnp.where(name == CONTRAST, contrast, saturation))
        if gray_only:
            factor = jnp.where(name == SATURATION, 1.0, factor)
        factor = jnp.where(is_now, factor, 1.0)
        luma = _luma(image)
        of_luma = jnp.where(name == SATURATION, 1.0 - factor, 0.0)
        constant = jnp.where(name == CONTRAST, (1.0 - factor) * luma.mean(), 0.0)
        constant += jnp.where(is_now & (name == BRIGHTNESS), shift, 0.0)
        return _clip(factor * image + of_luma * luma + constant)

    names = [jnp.where(i < hue_turn, order[i], order[i + 1]) for i in range(3)]  # the order without hue
    for i, name in enumerate(names):
        image = blend(image, name, i < hue_turn)
    image = adjust_hue(image, hue)
    for i, name in enumerate(names):
        image = blend(image, name, i >= hue_turn)
    return image


def _random_factor(key: jax.Array, amount: float) -> jax.Array:
    return jax.random.uniform(key, minval=max(0.0, 1.0 - amount), maxval=1.0 + amount)


def random_brightness(key: jax.Array, image: jax.Array, *, amount: float) -> jax.Array:
    """`adjust_brightness` with a factor uniform in [max(0, 1 - amount), 1 + amount]."""
    return adjust_brightness(image, _random_factor(key, amount))


def random_brightness_shift(key: jax.Array, image: jax.Array, *, amount: float) -> jax.Array:
    """`shift_brightness` with a delta uniform in [-amount, amount]."""
    return shift_brightness(image, jax.random.uniform(key, minval=-amount, maxval=amount))


def random_contrast(key: jax.Array, image: jax.Array, *, amount: float) -> jax.Array:
    """`adjust_contrast` with a factor uniform in [max(0, 1 - amount), 1 + amount]."""
    return adjust_contrast(image, _random_factor(key, amount))


def random_saturation(key: jax.Array, image: jax.Array, *, amount: float) -> jax.Array:
    """`adjust_saturation` with a factor uniform in [max(0, 1 - amount), 1 + amount]."""
    return adjust_saturation(image, _random_factor(key, amount))


def random_hue(key: jax.Array, image: jax.Array, *, amount: float) -> jax.Array:
    """`adjust_hue` with a delta uniform in [-amount, amount] turns."""
    return adjust_hue(image, jax.random.uniform(key, minval=-amount, maxval=amount))


def random_color_jitter(
    key: jax.Array,
    image: jax.Array,
    *,
    p: float = 0.8,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
    shift: float = 0.0,
) -> jax.Array:
    """With probability p, `color_jitter` in an order drawn from all 24; otherwise the image, bit for bit.

    The defaults are BYOL's (arXiv 2006.07733). Brightness, contrast and saturation factors are uniform in
    [max(0, 1 - amount), 1 + amount], hue in [-hue, hue] turns, the additive brightness in [-shift, shift]
    (DeepMind's code: brightness 0, shift 0.4).
    """
    keys = jax.random.split(key, 7)
    jittered = color_jitter(
        image,
        jax.random.permutation(keys[1], 4),
        brightness=_random_factor(keys[2], brightness),
        contrast=_random_factor(keys[3], contrast),
        saturation=_random_factor(keys[4], saturation),
        hue=jax.random.uniform(keys[5], minval=-hue, maxval=hue),
        shift=jax.random.uniform(keys[6], minval=-shift, maxval=shift),
    )
    return jnp.where(jax.random.bernoulli(keys[0], p), jittered, image)


def random_grayscale(key: jax.Array, image: jax.Array, *, p: float) -> jax.Array:
    """`grayscale` with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), grayscale(image), image)


def random_solarize(key: jax.Array, image: jax.Array, *, p: float, threshold: float = 0.5) -> jax.Array:
    """`solarize` with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), solarize(image, threshold=threshold), image)
