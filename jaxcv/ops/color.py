"""Colour operations with torchvision's arithmetic on 1 or 3 channels; saturation, hue and grayscale keep 1 as it is."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ranges import NonNegative, Share

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def _luma(image: jax.Array) -> jax.Array:
    """(h, w, 1): ITU-R 601-2 luma with torchvision's weights, which sum to 0.9999.

    A matrix product, because XLA on CPU would compute a sum of channels, and everything before it, again for each use.
    """
    if image.shape[-1] == 1:
        return image
    weights = jnp.array([[0.2989], [0.587], [0.114]], jnp.float32)
    return jnp.dot(image, weights, precision=jax.lax.Precision.HIGHEST)


def _clip(image: jax.Array) -> jax.Array:
    return jnp.clip(image, 0.0, 1.0)


def _hexcone(image: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hue in sixths of a turn (in [-1, 5]; 0 for greys), chroma = max - min, and value = max: each (h, w)."""
    red, green, blue = (image[..., i] for i in range(3))
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1.0 / jnp.where(chroma > 0.0, chroma, 1.0)
    from_red, from_green, from_blue = (green - blue) * scale, (blue - red) * scale, (red - green) * scale
    hue = jnp.where(value == red, from_red, jnp.where(value == green, 2.0 + from_green, 4.0 + from_blue))
    return hue, chroma, value


def _from_hexcone(hue: jax.Array, chroma: jax.Array, value: jax.Array) -> jax.Array:
    """(h, w, 3): each channel is a trapezoid of the hue: two sixths full, a ramp, two sixths zero, a ramp."""

    def channel(offset: float) -> jax.Array:
        position = offset + hue
        position -= 6.0 * jnp.floor(position / 6.0)
        return value - chroma * _clip(jnp.minimum(position, 4.0 - position))

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)


def adjust_hue(image: jax.Array, delta: float | jax.Array) -> jax.Array:
    """Turns the hue by `delta` turns, in [-0.5, 0.5]; value and chroma stay the same. Clipped to [0, 1]."""
    if image.shape[-1] == 1:
        return image
    hue, chroma, value = _hexcone(image)
    return _clip(_from_hexcone(hue + 6.0 * delta, chroma, value))


def grayscale(image: jax.Array) -> jax.Array:
    """ITU-R 601-2 luma in every channel, as many channels as before."""
    return jnp.broadcast_to(_luma(image), image.shape)


def solarize(image: jax.Array, *, threshold: float = 0.5) -> jax.Array:
    """`1 - image` where the image is at least `threshold`."""
    return jnp.where(image >= threshold, 1.0 - image, image)


def normalize(image: jax.Array, *, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """`(image - mean) / std` by channel. UserError unless there are as many numbers as channels."""
    channels = image.shape[-1]
    if not len(mean) == len(std) == channels:
        raise UserError(f"mean and std need {channels} numbers each, not {len(mean)} and {len(std)}")
    shift, scale = (jnp.asarray(x, jnp.float32).reshape(1, 1, channels) for x in (mean, std))
    return (image - shift) / scale


def color_jitter(
    image: jax.Array,
    order: jax.Array,
    *,
    brightness: float | jax.Array = 1.0,
    contrast: float | jax.Array = 1.0,
    saturation: float | jax.Array = 1.0,
    hue: float | jax.Array = 0.0,
    shift: float | jax.Array = 0.0,
) -> jax.Array:
    """The four adjustments in `order`, which may be traced, each clipped to [0, 1]; the defaults change nothing.

    All except hue are one blend, `clip(f * image + g * luma + h)`. Three blends before hue and three after it, of which
    those whose turn it is not are the identity, give any order at the cost of one hue.

    order: int (4,), a permutation of torchvision's numbers: 0 brightness, 1 contrast, 2 saturation, 3 hue.
    brightness: factor of the image, at least 0: 0 is black.  shift: is added in the same step.
    contrast: factor of the distance from the image's mean luma, at least 0.
    saturation: factor of the distance from each pixel's luma, at least 0.
    hue: delta of `adjust_hue`, in turns.
    """
    gray_only = image.shape[-1] == 1
    hue_turn = (jnp.arange(4) * (order == HUE)).sum()

    def blend(image: jax.Array, name: jax.Array, is_now: jax.Array) -> jax.Array:
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


def random_color_jitter(
    key: jax.Array,
    image: jax.Array,
    *,
    p: Share = 0.8,
    brightness: NonNegative = 0.4,
    contrast: NonNegative = 0.4,
    saturation: NonNegative = 0.2,
    hue: Share = 0.1,
    shift: NonNegative = 0.0,
) -> jax.Array:
    """With probability p, `color_jitter` in one of all 24 orders; otherwise the image, bit for bit.

    The defaults are BYOL's (arXiv 2006.07733). Brightness, contrast and saturation factors are uniform in
    [max(0, 1 - amount), 1 + amount], hue in [-hue, hue] turns, the additive brightness in [-shift, shift]
    (DeepMind's code: brightness 0, shift 0.4).
    """
    keys = jax.random.split(key, 7)

    def factor(key: jax.Array, amount: float) -> jax.Array:
        return jax.random.uniform(key, minval=max(0.0, 1.0 - amount), maxval=1.0 + amount)

    jittered = color_jitter(
        image,
        jax.random.permutation(keys[1], 4),
        brightness=factor(keys[2], brightness),
        contrast=factor(keys[3], contrast),
        saturation=factor(keys[4], saturation),
        hue=jax.random.uniform(keys[5], minval=-hue, maxval=hue),
        shift=jax.random.uniform(keys[6], minval=-shift, maxval=shift),
    )
    return jnp.where(jax.random.bernoulli(keys[0], p), jittered, image)


def random_grayscale(key: jax.Array, image: jax.Array, *, p: Share) -> jax.Array:
    """`grayscale` with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), grayscale(image), image)


def random_solarize(key: jax.Array, image: jax.Array, *, p: Share, threshold: Share = 0.5) -> jax.Array:
    """`solarize` with probability p."""
    return jnp.where(jax.random.bernoulli(key, p), solarize(image, threshold=threshold), image)
