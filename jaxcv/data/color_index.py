"""Images whose mask is the index of each pixel's colour in a palette: colourisation as classification.

The palette has the centres of k-means over pixels of the training images.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np

from jaxcv.config import call, nearest
from jaxcv.data import cifar10, shapes
from jaxcv.data.source import Arrays, Info, check_split, fingerprint
from jaxcv.errors import ConfigError, DataError
from jaxcv.ranges import Range

Base = Literal["cifar10", "shapes"]
Colors = Annotated[int, Range(2, 255)]
BASES = {"cifar10": cifar10, "shapes": shapes}
PIXELS = 50_000  # sampled to learn the colours: more make them no better
_LEARNED: dict[tuple[str, int], np.ndarray] = {}  # fingerprint of the images, number of colours -> the colours


def learn_colors(images: np.ndarray, count: int) -> np.ndarray:
    """uint8 (count, 3): centres of k-means over pixels of images uint8 (n, h, w, 3), rounded, the darkest first.

    Run until nothing moves, and rounded, they are the same on every machine.
    """
    from sklearn.cluster import KMeans  # slow to import
    from threadpoolctl import threadpool_limits

    pixels = images.reshape(-1, 3)
    rows = np.random.default_rng(0).choice(len(pixels), min(PIXELS, len(pixels)), replace=False)
    pixels = pixels[rows].astype(np.float64)
    distinct = len(np.unique(pixels, axis=0))
    if distinct < count:
        raise DataError(f"the training images have {distinct} different colours, fewer than data.colors={count}")
    with threadpool_limits(1):  # threads would add in any order
        means = KMeans(count, n_init=1, tol=0, max_iter=1000, random_state=0).fit(pixels).cluster_centers_
    colors = np.round(means).astype(np.uint8)
    return colors[np.lexsort((*colors.T, colors.sum(1)))]


def _learned(images: np.ndarray, count: int) -> np.ndarray:
    """`learn_colors`, cached in this process: every split of a data set needs the same colours."""
    key = fingerprint([images]), count
    if key not in _LEARNED:
        _LEARNED[key] = learn_colors(images, count)
    return _LEARNED[key]


def nearest_color(images: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w): for each pixel of images uint8 (n, h, w, 3), the index of the nearest of `colors` uint8 (k, 3).

    The distance is Euclidean, in RGB; of equally near colours it is the first.
    """
    colors = colors.astype(np.float32)  # whole numbers below 2^24: products and sums are exact
    half = (colors**2).sum(1) / 2
    masks = [(half - image.astype(np.float32) @ colors.T).argmin(-1) for image in images]
    return np.stack(masks).astype(np.uint8)


def _read(base: str, split: str, keep: Sequence[str], options: dict[str, Any]) -> np.ndarray:
    """The images of a split whose class is in `keep`."""
    data = call(BASES[base].source, options, group="data", split=split)
    for name in keep:
        if name not in data.info.classes:
            raise ConfigError(f"config.data.keep has {name!r}; {nearest(name, list(data.info.classes))}")
    kept = [not keep or name in keep for name in data.info.classes]
    images = data.arrays["image"][np.array(kept)[data.arrays["label"]]]
    if not len(images):
        raise DataError(f"the split {split!r} of {data.info.name} has no image of {', '.join(keep)}")
    return images


def outline(*, base: Base = "cifar10", colors: Colors = 24, **options: Any) -> Info:
    """The Info without palette and fingerprint."""
    return BASES[base].outline(**options)._replace(classes=tuple(f"colour {i}" for i in range(colors)))


def source(
    split: str,
    *,
    base: Base = "cifar10",
    keep: Sequence[str] = (),
    colors: Colors = 24,
    val_split: str = "val",
    **options: Any,
) -> Arrays:
    """Examples {"image": uint8 (h, w, 3), "mask": uint8 (h, w)} of the data set `base`; a mask indexes info.palette.

    keep: the classes whose images are used; empty: all.  colors: number of colours learned from the split "train".
    val_split: the split of `base` that serves as "val"; with "test", as in work that had no other, it may choose
    nothing.  options: those of `base`.
    """
    check_split(split)
    check_split(val_split)
    info = outline(base=base, colors=colors, **options)
    train = _read(base, "train", keep, options)
    base_split = val_split if split == "val" else split
    images = train if base_split == "train" else _read(base, base_split, keep, options)
    palette = _learned(train, colors)
    masks = nearest_color(images, palette)
    info = info._replace(palette=tuple(map(tuple, palette.tolist())), fingerprint=fingerprint([images, masks, palette]))
    return Arrays({"image": images, "mask": masks}, info)
