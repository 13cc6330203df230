"""Photos with objects outlined by polygons, in COCO's format (arXiv 1405.0312), as masks of supercategories.

The format: https://cocodataset.org/#format-data.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcv.data.contents import digests, identities
from jaxcv.data.files import Files, find, split_examples, split_folder
from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, image_info, open_image, stretch_pair
from jaxcv.data.masks import fit
from jaxcv.data.source import Info, fingerprint, voc_palette
from jaxcv.errors import ConfigError, DataError
from jaxcv.ranges import Count, NonNegative, PositiveCount


class Photo(NamedTuple):
    """An image and its objects: (label, outline), where an outline is polygons (n, 2) of x and y, or runs of an RLE."""

    file: str
    height: int
    width: int
    objects: list[tuple[int, list[np.ndarray] | np.ndarray]]


def fill(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool (height, width): the pixels whose centre is in the polygon (n, 2) of x and y, by the even-odd rule.

    Pixel (0, 0) is the square from (0, 0) to (1, 1). An edge toggles the pixels to its right in the rows it crosses.
    """
    (x, y), (next_x, next_y) = polygon.T, np.roll(polygon, -1, 0).T
    centre = np.arange(height) + 0.5
    edge, row = np.nonzero((y[:, None] > centre) != (next_y[:, None] > centre))
    along = (centre[row] - y[edge]) / (next_y[edge] - y[edge])
    crossing = x[edge] + along * (next_x[edge] - x[edge])
    toggles = np.zeros((height, width + 1), np.uint8)
    np.add.at(toggles, (row, np.ceil(crossing - 0.5).clip(0, width).astype(int)), 1)
    return (np.cumsum(toggles, 1, dtype=np.uint8)[:, :width] & 1).astype(bool)


def decode_rle(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool (height, width) from the lengths of alternating runs of 0 and 1, down the columns."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def rasterize(photo: Photo) -> np.ndarray:
    """The mask uint8 (h, w) of labels, 0 for background; where objects overlap, the smaller one is on top."""

    def cover(outline: list[np.ndarray] | np.ndarray) -> np.ndarray:
        if isinstance(outline, np.ndarray):
            return decode_rle(outline, photo.height, photo.width)
        return np.logical_or.reduce([fill(polygon, photo.height, photo.width) for polygon in outline])

    mask = np.zeros((photo.height, photo.width), np.uint8)
    covers = [(label, cover(outline)) for label, outline in photo.objects]
    for label, covered in sorted(covers, key=lambda pair: -pair[1].sum()):
        mask[covered] = label
    return mask


def read_annotations(path: Path, groups: Sequence[str]) -> list[Photo]:
    """The photos with an object of the supercategories `groups`, in file order; its label is 1 + index in `groups`."""
    try:
        content = json.loads(path.read_bytes())
        photos = {row["id"]: Photo(row["file_name"], row["height"], row["width"], []) for row in content["images"]}
        supercategory = {row["id"]: row["supercategory"] for row in content["categories"]}
        for group in groups:
            if group not in supercategory.values():
                names = ", ".join(sorted(set(supercategory.values())))
                raise DataError(f"{path} has no supercategory {group!r}, it has {names}")
        for annotation in content["annotations"]:
            group, photo = supercategory[annotation["category_id"]], photos[annotation["image_id"]]
            if group in groups:
                outline = _read_outline(annotation, photo, where=f"{path}: annotation {annotation['id']}")
                photo.objects.append((1 + groups.index(group), outline))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of COCO's form: {type(error).__name__}: {error}") from error
    return [photo for photo in photos.values() if photo.objects]


def _read_outline(annotation: Mapping, photo: Photo, *, where: str) -> list[np.ndarray] | np.ndarray:
    shape = annotation["segmentation"]
    if isinstance(shape, dict):
        if isinstance(shape["counts"], str):
            raise DataError(f"{where} has a compressed RLE; it must have polygons or a list of counts")
        if shape["size"] != [photo.height, photo.width] or sum(shape["counts"]) != photo.height * photo.width:
            raise DataError(f"{where} has an RLE that does not fit its image of {photo.width}x{photo.height} pixels")
        return np.array(shape["counts"])
    if not shape or any(len(polygon) < 6 or len(polygon) % 2 for polygon in shape):
        raise DataError(f"{where} has no polygon, or one that is not x and y of 3 corners or more")
    return [np.array(polygon, float).reshape(-1, 2) for polygon in shape]


def _decode(photo: Photo, *, folder: Path, height: int, width: int) -> dict[str, np.ndarray]:
    path = folder / photo.file
    image = open_image(path)
    mask = fit(rasterize(photo), path, image.size, says="its annotations are for")
    return stretch_pair(image, mask, height, width)


def outline(
    *, folder: str = "coco", height: PositiveCount, width: PositiveCount, groups: Sequence[str], **options: Any
) -> Info:
    """The Info without the fingerprint."""
    classes = ("background", *groups)
    return image_info(folder, classes, height, width, palette=voc_palette(len(classes)), **options)


def source(
    split: str,
    *,
    dir: str = "",
    folder: str = "coco",
    height: PositiveCount,
    width: PositiveCount,
    groups: Sequence[str],
    annotations: str = "annotations/instances_{folder}.json",
    train_folder: str = "train2017",
    val_folder: str = "",
    test_folder: str = "val2017",
    holdout: NonNegative = 0.1,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    cache_bytes: Count = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (height, width, 3), "mask": uint8 (height, width)} of the photos under `dir`/`folder`.

    A mask's labels are 0 for background and 1 + index in `groups`, which are supercategories ("animal", ...), crowds
    included; where objects overlap, the smaller one is on top. Photos without an object of `groups` are left out. Each
    split has its folder of photos, and `annotations` is the path of its JSON, "{folder}" being that folder. Without a
    `val_folder`, "val" is `holdout` of the training photos: a fraction below 1, or a count.

    Photos are resized bilinearly and masks by nearest neighbour, without keeping the aspect ratio. They are cached if
    all fit into `cache_bytes`, in each process.
    """
    photo_folder = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    info = outline(folder=folder, height=height, width=width, groups=groups, mean=mean, std=std)
    if not groups:
        raise ConfigError("config.data.groups must name one or more supercategories, such as ('animal', 'person')")
    name = annotations.replace("{folder}", photo_folder)
    root = find(dir, folder, [photo_folder, name])
    photos = read_annotations(root / name, tuple(groups))
    if not photos:
        raise DataError(f"{root / name} has no object of {', '.join(groups)}")
    found = len(photos)
    photos = split_examples(split, photos, val_folder=val_folder, holdout=holdout)
    files = [root / photo_folder / photo.file for photo in photos]
    for file in files:
        if not file.is_file():
            raise DataError(f"there is no image {file}, which {name} has annotations for")

    digest = digests(root, files)
    info = info._replace(
        fingerprint=fingerprint([*identities(root, files, digest), (root / name).read_bytes(), *groups])
    )
    decode = functools.partial(_decode, folder=root / photo_folder, height=height, width=width)
    names = [Path(photo.file).stem for photo in photos]
    left_out = {"without an object of data.groups": sum(1 for _ in (root / photo_folder).iterdir()) - found}
    about: dict[str, Any] = {"files": files, "digest": digest, "left_out": left_out}
    return Files(names, photos, decode, info, **about, cache_bytes=cache_bytes)
