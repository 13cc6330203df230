"""Oxford Flowers-17 with its trimaps: flowers and background (Nilsback and Zisserman 2006, 2007).

Files: https://www.robots.ox.ac.uk/~vgg/data/flowers/17, jpg/image_0001.jpg to image_1360.jpg, trimaps/image_0001.png
and so on for some of them, and datasplits.mat.
"""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcv.data.contents import digests, identities
from jaxcv.data.files import Files, find
from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, image_info, open_image, stretch
from jaxcv.data.masks import orientation
from jaxcv.data.source import Info, check_split, fingerprint, voc_palette
from jaxcv.errors import DataError
from jaxcv.ranges import Count, PositiveCount

CLASSES = ("background", "flower")
FLOWER = (128, 0, 0)


def read_trimap(path: Path, height: int, width: int) -> np.ndarray:
    """uint8 (height, width): 1 where the trimap, resized as OpenCV does by default, has exactly the flower's colour.

    OpenCV interpolates between four neighbours, so a pixel with a neighbour of another colour is 0.
    """
    trimap = open_image(path, ("PNG",)).convert("RGB")
    box = (0, 0, *trimap.size)
    resized = trimap.transform((width, height), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return (np.asarray(resized) == FLOWER).all(-1).astype(np.uint8)


def read_splits(path: Path, names: Sequence[str]) -> list[int]:
    """The numbers, from 1, of the images in any of the lists `names` ("trn1", ...) of datasplits.mat, sorted."""
    from scipy.io import loadmat  # slow to import

    try:
        lists = loadmat(path)
    except Exception as error:  # a damaged file can fail in any way at all
        raise DataError(f"{path} is not a whole MATLAB file: {type(error).__name__}: {error}") from error
    for name in names:
        if name not in lists:
            raise DataError(f"{path} has no list {name!r}, it has {', '.join(key for key in lists if key[0] != '_')}")
    return sorted({int(number) for name in names for number in lists[name].ravel()})


def _decode(pair: tuple[Path, Path], *, height: int, width: int) -> dict[str, np.ndarray]:
    image, trimap = pair
    if orientation(image) != 1:
        raise DataError(f"{image} is turned by its EXIF tag, {trimap.name} is not; save it upright, without the tag")
    return {"image": stretch(open_image(image), height, width), "mask": read_trimap(trimap, height, width)}


def outline(*, height: PositiveCount, width: PositiveCount, **options: Any) -> Info:
    """The Info without the fingerprint."""
    return image_info("flowers17", CLASSES, height, width, palette=voc_palette(2), **options)


def source(
    split: str,
    *,
    dir: str = "",
    height: PositiveCount,
    width: PositiveCount,
    train_lists: Sequence[str] = ("trn1",),
    val_lists: Sequence[str] = ("val1",),
    test_lists: Sequence[str] = ("tst1",),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    cache_bytes: Count = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (height, width, 3), "mask": uint8 (height, width)}, read from `dir`/flowers17.

    A split has the images with a trimap in any of its lists in datasplits.mat. The file has three partitions of all
    images: lists of one number ("trn1", "val1", "tst1") do not overlap, lists of different numbers do. Images are
    cached if all fit into `cache_bytes`, in each process.
    """
    check_split(split)
    info = outline(height=height, width=width, mean=mean, std=std)
    root = find(dir, "flowers17", ("jpg", "trimaps", "datasplits.mat"))
    lists = {"train": train_lists, "val": val_lists, "test": test_lists}[split]
    names = [f"{number:04d}" for number in read_splits(root / "datasplits.mat", lists)]
    pairs = {name: (root / f"jpg/image_{name}.jpg", root / f"trimaps/image_{name}.png") for name in names}
    pairs = {name: pair for name, pair in pairs.items() if pair[1].is_file()}
    if not pairs:
        raise DataError(f"there is no image with a trimap in {', '.join(lists)} of {root / 'datasplits.mat'}")
    for image, trimap in pairs.values():
        if not image.is_file():
            raise DataError(f"there is no image {image}, the partner of {trimap}")

    files = list(itertools.chain(*pairs.values()))
    digest = digests(root, files)
    info = info._replace(fingerprint=fingerprint(identities(root, files, digest)))
    decode = functools.partial(_decode, height=height, width=width)
    left_out = {"without a trimap": len(names) - len(pairs)}
    about: dict[str, Any] = {"files": files[::2], "digest": digest, "left_out": left_out}
    return Files(pairs.keys(), pairs.values(), decode, info, **about, cache_bytes=cache_bytes)
