"""AutoAugment (arXiv 1805.09501) and RandAugment (arXiv 1909.13719) of one float image, as torchvision's of Pillow's.

Each image has its own ops, and under `vmap` a choice among fifteen functions would compute all of them. So all ops are
one function: a warp by a matrix, a blend with a degenerate image, and a table of the 256 levels, each of which may
change nothing.
"""

import jax
import jax.numpy as jnp

from jaxcv.errors import UserError
from jaxcv.ops import policies
from jaxcv.ops.geometry import Fill
from jaxcv.ops.warp import rotation, warp
from jaxcv.ranges import Count, PositiveCount, Share

SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness")
OPS = ("Identity", *SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")
POLICIES = {"cifar10": policies.CIFAR10, "imagenet": policies.IMAGENET}


def magnitudes(share: float, height: int, width: int) -> dict[str, float]:
    """Each op's magnitude for `apply_op` at `share`, in [0, 1], of torchvision's range; 0 for ops without one."""
    return dict.fromkeys(OPS, 0.0) | {
        "ShearX": 0.3 * share,
        "ShearY": 0.3 * share,
        "TranslateX": int(150 / 331 * width * share),
        "TranslateY": int(150 / 331 * height * share),
        "Rotate": 30.0 * share,
        "Brightness": 0.9 * share,
        "Color": 0.9 * share,
        "Contrast": 0.9 * share,
        "Sharpness": 0.9 * share,
        "Posterize": 8 - round(4 * share),
        "Solarize": 255.0 * (1 - share),
    }


def _levels(image: jax.Array) -> jax.Array:
    """int32: the 8-bit levels of numbers in [0, 1]."""
    return jnp.round(255 * jnp.clip(image, 0.0, 1.0)).astype(jnp.int32)


def _move(level: jax.Array, op: jax.Array, magnitude: jax.Array, fill: jax.Array) -> jax.Array:
    shear_x, shear_y, right, down, angle = (jnp.where(op == OPS.index(name), magnitude, 0.0) for name in SIGNED[:5])
    turn = rotation(jnp.deg2rad(angle), *level.shape[:2])
    return warp(level, turn + jnp.array([[0.0, shear_x, -right], [shear_y, 0.0, -down]]), fill=fill)


def _smooth(level: jax.Array) -> jax.Array:
    """Pillow's SMOOTH: a rounded 3x3 mean in which the centre weighs 5; the border stays the same."""
    inner = level[1:-1, 1:-1]
    rows = level[:-2] + level[1:-1] + level[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4 * inner
    return level + jnp.pad((2 * total + 13) // 26 - inner, ((1, 1), (1, 1), (0, 0)))


def _blend(level: jax.Array, op: jax.Array, magnitude: jax.Array) -> jax.Array:
    """`1 + magnitude` times as far from the op's degenerate image, rounded down to whole levels."""
    luma = level
    if level.shape[2] == 3:  # ITU-R 601-2 in 16 bits
        luma = ((level * jnp.array([[[19595, 38470, 7471]]])).sum(axis=2, keepdims=True) + 32768) >> 16
    mean = (2 * luma.sum() + luma.size) // (2 * luma.size)
    images: dict[str, jax.Array | int] = {"Brightness": 0, "Color": luma, "Contrast": mean, "Sharpness": _smooth(level)}
    degenerate = level
    for name, image in images.items():
        degenerate = jnp.where(op == OPS.index(name), image, degenerate)
    blended = degenerate + (1.0 + magnitude) * (level - degenerate)
    return jnp.clip(blended + 1e-3, 0, 255).astype(jnp.int32)  # whatever a device's rounding, a whole level stays


def _look_up(level: jax.Array, op: jax.Array, magnitude: jax.Array) -> jax.Array:
    """One channel, (h, w), through the op's table."""
    count = jnp.bincount(level.ravel(), length=256)
    cumulative = jnp.cumsum(count)
    low, high = (cumulative == 0).sum(), (cumulative < level.size).sum()  # the darkest and the brightest level present
    step = (level.size - count[high]) // 255
    levels = jnp.arange(256)
    tables = {
        "Posterize": levels & -(1 << (8 - magnitude.astype(jnp.int32))),
        "Solarize": jnp.where(levels < magnitude, levels, 255 - levels),
        "AutoContrast": jnp.where(high > low, (levels - low) * 255 // jnp.maximum(high - low, 1), levels),
        "Equalize": jnp.where(step > 0, (cumulative - count + step // 2) // jnp.maximum(step, 1), levels),
        "Invert": 255 - levels,
    }
    table = levels
    for name, new in tables.items():
        table = jnp.where(op == OPS.index(name), new, table)
    return jnp.minimum(table[level], 255)


def _apply(level: jax.Array, op: jax.Array, magnitude: jax.Array, fill: jax.Array) -> jax.Array:
    level = _blend(_move(level, op, magnitude, fill), op, magnitude)
    return jax.vmap(_look_up, in_axes=(2, None, None), out_axes=2)(level, op, magnitude)


def apply_op(image: jax.Array, op: jax.Array, magnitude: jax.Array, *, fill: Fill = 0.0) -> jax.Array:
    """One op of a policy, as Pillow does it on 8 bits.

    Brightness, Color, Contrast, Sharpness and AutoContrast are within one level of Pillow's, whose arithmetic sometimes
    just misses a whole level that ours keeps; the others are equal, except for single pixels of large rotated images.

    The image has 1 or 3 channels and is rounded to multiples of 1 / 255, as is the result.

    op: int, the index of a name in `OPS`.  magnitude: float32. Shears: pixels per pixel. TranslateX, TranslateY: whole
    pixels to the right, down. Rotate: degrees anticlockwise. Brightness, Color, Contrast, Sharpness: the factor of
    Pillow's enhancers minus 1. Posterize: the number of bits kept. Solarize: the level, of 255, from which levels are
    inverted. Others: unused.
    """
    op, magnitude = jnp.asarray(op), jnp.asarray(magnitude, jnp.float32)
    return _apply(_levels(image), op, magnitude, _levels(jnp.asarray(fill))) / jnp.float32(255)


def _random_ops(
    key: jax.Array,
    image: jax.Array,
    op: jax.Array,
    magnitude: jax.Array,
    probability: jax.Array,
    *,
    p: Share,
    fill: Fill,
) -> jax.Array:
    """With probability p, n ops one after the other, each with its own probability and a random sign.

    op, magnitude, probability: (n,).
    """
    all_key, each_key, sign_key = jax.random.split(key, 3)
    applied = jax.random.bernoulli(each_key, probability)
    sign = jax.random.rademacher(sign_key, op.shape, jnp.float32)
    magnitude = jnp.where(op <= len(SIGNED), sign, 1.0) * magnitude
    fill_level = _levels(jnp.asarray(fill))

    def step(level: jax.Array, xs: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        op, magnitude, applied = xs
        return jnp.where(applied, _apply(level, op, magnitude, fill_level), level), None

    level, _ = jax.lax.scan(step, _levels(image), (op, magnitude, applied))
    return jnp.where(jax.random.bernoulli(all_key, p), level / jnp.float32(255), image)


def random_autoaugment(key: jax.Array, image: jax.Array, *, policy: str, p: Share = 1.0, fill: Fill = 0.0) -> jax.Array:
    """With probability p, one of the 25 sub-policies of AutoAugment's `policy`, "cifar10" or "imagenet".

    Image and result are as in `apply_op`.
    """
    if policy not in POLICIES:
        raise UserError(f"policy must be {' or '.join(POLICIES)}, not {policy!r}")
    steps = [magnitudes(step / 9, *image.shape[:2]) for step in range(10)]
    table = [[(OPS.index(name), steps[step][name], share) for name, share, step in two] for two in POLICIES[policy]]
    choice_key, ops_key = jax.random.split(key)
    op, magnitude, probability = jax.random.choice(choice_key, jnp.array(table, jnp.float32)).T
    return _random_ops(ops_key, image, op, magnitude, probability, p=p, fill=fill)


def random_randaugment(
    key: jax.Array,
    image: jax.Array,
    *,
    num_ops: PositiveCount = 2,
    magnitude: Count = 9,
    bins: PositiveCount = 31,
    p: Share = 1.0,
    fill: Fill = 0.0,
) -> jax.Array:
    """With probability p, RandAugment: `num_ops` ops, each sampled from `OPS` without Invert, repeats allowed.

    magnitude: the index, from 0, of one of `bins` numbers evenly spaced over an op's range. Image and result are as in
    `apply_op`.
    """
    if not 0 <= magnitude < bins:
        raise UserError(f"magnitude must be at least 0 and below bins, {bins}, not {magnitude}")
    scale = jnp.array(list(magnitudes(magnitude / (bins - 1), *image.shape[:2]).values()), jnp.float32)
    choice_key, ops_key = jax.random.split(key)
    op = jax.random.randint(choice_key, (num_ops,), 0, OPS.index("Invert"))
    return _random_ops(ops_key, image, op, scale[op], jnp.ones(num_ops), p=p, fill=fill)
