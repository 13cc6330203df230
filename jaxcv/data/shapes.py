"""The embedded data set: coloured, textured shapes on textured ground, with class labels and per-pixel masks.

Nothing is downloaded: image i is a function of (seed, split, i, size) alone. Its label says which shape it shows.
Position, size, angle, colours and textures are sampled independently of the label, so only the outline tells the class.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np

from jaxcv.data.source import Arrays, Info, check_split, fingerprint, voc_palette
from jaxcv.ranges import Count, Range

COUNTS = {"train": 8192, "val": 1024, "test": 2048}
Side = Annotated[int, Range(8)]
Target = Literal["label", "mask"]
MEAN, STD = (0.391, 0.391, 0.391), (0.19, 0.19, 0.19)
GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment


# Outlines: signed distance to the edge, negative inside, of a shape that fits the unit circle (y points down).


def _disc(x: np.ndarray, y: np.ndarray, cx: float = 0, cy: float = 0, radius: float = 1) -> np.ndarray:
    return np.sqrt((x - cx) ** 2 + (y - cy) ** 2) - radius


def _polygon(x: np.ndarray, y: np.ndarray, corners: list[tuple[float, float]]) -> np.ndarray:
    """Distance to the nearest edge, and even-odd crossings of the ray towards +x for the sign."""
    square = np.full_like(x, np.inf)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        t = np.clip((px * ex + py * ey) * (1 / (ex * ex + ey * ey)), 0, 1)
        np.minimum(square, (px - t * ex) ** 2 + (py - t * ey) ** 2, out=square)
        crosses = (y >= ay) != (y >= by)
        left = px * ey < py * ex if ey > 0 else px * ey > py * ex
        inside ^= crosses & left
    distance = np.sqrt(square)
    return np.where(inside, -distance, distance)


def _regular(*radii: float, turns: int) -> list[tuple[float, float]]:
    """Corners at equal angles whose distances from the centre repeat `radii`, `turns` times."""
    n = turns * len(radii)
    angles = [2 * math.pi * i / n for i in range(n)]
    return [(radii[i % len(radii)] * math.sin(a), -radii[i % len(radii)] * math.cos(a)) for i, a in enumerate(angles)]


_CROSS = [(0.94, 0.33), (0.33, 0.33), (0.33, 0.94), (-0.33, 0.94), (-0.33, 0.33), (-0.94, 0.33)]
_CROSS = _CROSS + [(-x, -y) for x, y in _CROSS]
_ARROW = [(1, 0), (0.05, 0.8), (0.05, 0.27), (-0.95, 0.27), (-0.95, -0.27), (0.05, -0.27), (0.05, -0.8)]
_HOURGLASS = [(0.7, 0.7), (-0.7, 0.7), (-0.1, 0), (-0.7, -0.7), (0.7, -0.7), (0.1, 0)]
_HEART = [(0, 1), (0.78, 0.22), (0, -0.56), (-0.78, 0.22)]  # a square on its corner, under two discs


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    lobes = np.minimum(_disc(x, y, 0.39, -0.17, 0.5515), _disc(x, y, -0.39, -0.17, 0.5515))
    return np.minimum(_polygon(x, y, _HEART), lobes)


OUTLINES = {
    "disc": _disc,
    "square": lambda x, y: _polygon(x, y, _regular(1, turns=4)),
    "triangle": lambda x, y: _polygon(x, y, _regular(1, turns=3)),
    "star": lambda x, y: _polygon(x, y, _regular(1, 0.42, turns=5)),
    "ring": lambda x, y: np.abs(_disc(x, y, radius=0.77)) - 0.23,
    "cross": lambda x, y: _polygon(x, y, _CROSS),
    "crescent": lambda x, y: np.maximum(_disc(x, y), -_disc(x, y, 0.45, 0, 0.8)),
    "heart": _heart,
    "arrow": lambda x, y: _polygon(x, y, _ARROW),
    "hourglass": lambda x, y: _polygon(x, y, _HOURGLASS),
}
CLASSES = tuple(OUTLINES)


# Textures: values in [-1, 1] from rotated coordinates u, v (a period is 1) and noise in [-1, 1].


def _wave(u: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 in [-1, 1]. Unlike a sine it has the same bits on every machine."""
    return np.abs(u - np.floor(u) - np.float32(0.5)) * 4 - 1


TEXTURES = (
    lambda u, v, noise: _wave(u) * 3,  # stripes
    lambda u, v, noise: _wave(u) * _wave(v) * 6,  # checks
    lambda u, v, noise: (_wave(u) + _wave(v) - 0.5) * 3,  # dots
    lambda u, v, noise: noise,
    lambda u, v, noise: _wave(u * 0.15) * 1.2,  # gradient
)


# Random numbers: splitmix64 (Steele, Lea and Flood 2014) of (image, counter): no image depends on another.


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


def _random(keys: np.ndarray, first: int, count: int) -> np.ndarray:
    """uint64 (n, count): numbers `first` to `first + count` of each image's stream."""
    return _mix(keys[:, None] + np.arange(first + 1, first + count + 1, dtype=np.uint64) * GOLDEN)


def _colour(uniform: Iterator[np.ndarray]) -> np.ndarray:
    return np.stack([next(uniform) for _ in range(3)], -1)[:, None, None]  # n 1 1 3


def _chroma(colour: np.ndarray) -> np.ndarray:
    return colour - colour.mean(-1, keepdims=True)


def _turn(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine as (n, 1, 1), computed in float64: those in float32 differ between processors."""
    angle = angle.astype(np.float64)[:, None, None]
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _texture(uniform: Iterator[np.ndarray], x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """A random texture for each image: float32 (n, h, w) in [-1, 1]. x (1, 1, w), y (1, h, 1) in [0, 1]."""
    texture_index = (next(uniform) * len(TEXTURES)).astype(int)
    c, s = _turn(next(uniform) * math.pi)
    period = (0.14 + 0.2 * next(uniform))[:, None, None]  # 14 to 34 % of the image
    c, s = c / period, s / period
    u = c * x + (s * y + next(uniform)[:, None, None])
    v = c * y - (s * x + next(uniform)[:, None, None])
    out = np.empty_like(noise)
    for k, texture in enumerate(TEXTURES):
        rows = np.flatnonzero(texture_index == k)
        out[rows] = texture(u[rows], v[rows], noise[rows])
    return np.clip(out, -1, 1)


def _generate(base: int, first: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (n, h, w, 3), labels int32 (n,), masks uint8 (n, h, w) of n indices from `first`."""
    index = np.arange(first, first + count)
    keys = _mix(index.astype(np.uint64) * GOLDEN + np.uint64(base))
    labels = index % len(CLASSES)
    uniform = iter((_random(keys, 0, 40) >> 40).astype(np.float32).T * np.float32(2**-24))  # each (n,) in [0, 1)
    bits = _random(keys, 1000, size * size).reshape(count, size, size)
    noises = [((bits >> 8 * i) & 255).astype(np.float32) / np.float32(127.5) - 1 for i in range(3)]
    place = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = place[None, None, :], place[None, :, None]

    radius = 0.25 + 0.2 * next(uniform)  # the shape spans 50 to 90 % of the image
    dx = (x - (radius + (1 - 2 * radius) * next(uniform))[:, None, None]) / radius[:, None, None]
    dy = (y - (radius + (1 - 2 * radius) * next(uniform))[:, None, None]) / radius[:, None, None]
    c, s = _turn(next(uniform) * (2 * math.pi))
    sx, sy = c * dx + s * dy, c * dy - s * dx  # n h w, in the shape's own frame
    distance = np.empty_like(sx)
    for k, outline in enumerate(OUTLINES.values()):
        rows = np.flatnonzero(labels == k)
        distance[rows] = outline(sx[rows], sy[rows])
    distance *= radius[:, None, None] * size  # in pixels
    mask = np.where(distance < 0, labels[:, None, None] + 1, 0).astype(np.uint8)
    cover = np.clip(0.5 - distance, 0, 1)[..., None]  # the share of a pixel that the shape covers

    # The shape is lighter than the ground, their hues are random: colours distinguish images, not classes.
    below, above = (mean + 0.4 * _chroma(_colour(uniform)) for mean in (0.3, 0.7))
    ground = below + _texture(uniform, x, y, noises[0])[..., None] * (_colour(uniform) - 0.5) * 0.1
    shape = above + _texture(uniform, x, y, noises[1])[..., None] * (_colour(uniform) - 0.5) * 0.2
    reach = (0.06 + 0.08 * next(uniform))[:, None, None] * (next(uniform) < 0.5)[:, None, None] + 1e-6
    away = (x - next(uniform)[:, None, None]) ** 2 + (y - next(uniform)[:, None, None]) ** 2
    blob = np.clip(1 - away / reach**2, 0, 1) * noises[2]  # half of the images have a soft-edged patch of noise
    ground += blob[..., None] * (_colour(uniform) - 0.5) * 2
    image = np.clip(ground + cover * (shape - ground), 0, 1)
    return (image * 255 + np.float32(0.5)).astype(np.uint8), labels.astype(np.int32), mask


def outline(*, size: Side = 32, target: Target = "label", **options: Any) -> Info:
    """The Info without the fingerprint, for which the images must be generated."""
    info = Info("shapes", CLASSES, (size, size, 3), MEAN, STD)
    return info if target == "label" else info._replace(classes=("ground", *CLASSES), palette=voc_palette(11))


def source(split: str, *, size: Side = 32, count: Count = 0, seed: Count = 0, target: Target = "label") -> Arrays:
    """Examples {"image": uint8 (size, size, 3), "label": int32, "mask": uint8 (size, size)}.

    The mask is 0 on the ground and 1 + label on the shape. `count` images are generated, or 8192 / 1024 / 2048 for
    train / val / test when it is 0. Labels cycle through the classes: 10 successive images have all of them. `info` has
    the classes of the `target`: the shapes for "label", with the ground for "mask".
    """
    check_split(split)
    count = count or COUNTS[split]
    base = int.from_bytes(hashlib.sha256(f"shapes {seed} {split}".encode()).digest()[:8], "little")
    chunk = max(1, 2**17 // size**2)  # images at a time: what fits a processor's cache
    chunks = [_generate(base, first, min(chunk, count - first), size) for first in range(0, count, chunk)]
    image, label, mask = (np.concatenate(parts) for parts in zip(*chunks))
    info = outline(size=size, target=target)._replace(fingerprint=fingerprint([image, label, mask]))
    return Arrays({"image": image, "label": label, "mask": mask}, info)
