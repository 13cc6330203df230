"""Any folder of JPEG, PNG or WebP images, decoded on the host and resized to one square canvas.

What is on disk decides between four forms (folder is the split's, such as train/):
    folder/class/*.jpg          the class is the folder's name
    folder/*.jpg and a CSV      with the columns filename and label (option `labels`)
    folder/{class}_{id}.png     the class is in the file's name; if in none, there are no classes
    *.jpg                       images without a folder beside them: all are for training, and there are no classes
Every split has the classes of the training folder, sorted by name (numbers by value).
"""

import csv
import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcv.data.contents import digests, identities
from jaxcv.data.files import Files, find, locate, split_examples, split_folder
from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, MAX_PIXELS, image_info, list_images, no_images, open_image
from jaxcv.data.source import Info, check_split, fingerprint
from jaxcv.errors import ConfigError, DataError

UNLABELLED = "unlabelled"  # the class of images without one


def decode(path: Path, size: int) -> np.ndarray:
    """The image at `path` as uint8 (size, size, 3): upright, RGB, short side resized to `size`, centre crop.

    The arithmetic is torchvision's Resize (bicubic, antialiased) and CenterCrop.
    """
    image = open_image(path).convert("RGB")
    w, h = image.size
    short = min(w, h)
    if max(w, h) / short * size**2 > MAX_PIXELS:  # of the resized image, before the crop
        raise DataError(f"{path}: {w}x{h} pixels are too long and thin to decode safely")
    w, h = int(size * w / short), int(size * h / short)
    left, top = round((w - size) / 2), round((h - size) / 2)
    image = image.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return np.asarray(image)


def image_files(
    split: str,
    folder: Path,
    files: Sequence[Path],
    info: Info,
    *,
    labels: Sequence[int] = (),
    contents: Sequence[str] = (),
    cache_bytes: int = 0,
) -> Files:
    """A source of `files`, named by their paths below `folder`, with `labels` and `contents` (see `Files`) if any;
    messages mention `split`."""
    names = [file.relative_to(folder).as_posix() for file in files]
    items = [(f"{split}[{i}]", *pair) for i, pair in enumerate(itertools.zip_longest(files, labels))]
    decode_item = functools.partial(_decode, size=info.shape[0])
    return Files(names, items, decode_item, info, contents=contents, cache_bytes=cache_bytes)


def _decode(item: tuple[str, Path, int | None], *, size: int) -> dict[str, np.ndarray]:
    where, file, label = item
    try:
        return {"image": decode(file, size)} | ({} if label is None else {"label": np.array(label, np.int32)})
    except DataError as error:
        raise DataError(f"{where} {error}") from error


def _read_csv(path: Path, folder: Path) -> list[tuple[Path, str]]:
    if not path.is_file():
        raise DataError(f"there is no CSV of labels {path}: data.labels names it, relative to the data set's folder")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path} has the columns {rows.fieldnames or []}, but needs filename and label")
        pairs = [(folder / (row["filename"] or ""), row["label"] or "") for row in rows]
    for line, (image, name) in enumerate(pairs, 2):
        if not name or not image.is_file():
            what = f"no file {image}" if name else "no label"
            raise DataError(f"{path} line {line}: there is {what}")
    return sorted(pairs)


def _subfolders(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images_alone(folder: Path | None) -> list[Path]:
    """The images in `folder`; none if it has folders too."""
    return list_images(folder) if folder and folder.is_dir() and not _subfolders(folder) else []


def scan(folder: Path, labels: Path | None = None) -> list[tuple[Path, str]]:
    """(file, class name) of every image of a split in one of the first three forms, sorted by path."""
    if labels is not None:
        return _read_csv(labels, folder)
    if images_of := {subfolder: list_images(subfolder) for subfolder in _subfolders(folder)}:
        if empty := [subfolder for subfolder, images in images_of.items() if not images]:
            raise no_images(empty[0])
        return [(image, subfolder.name) for subfolder, images in images_of.items() for image in images]
    images = list_images(folder)
    matches = [re.fullmatch(r"(.+)_\d+", image.stem) for image in images]
    if not any(matches):
        return [(image, UNLABELLED) for image in images]
    pairs = []
    for image, match in zip(images, matches):
        if not match:
            raise DataError(f"{image} has no class in its name, though others beside it do: expected CLASS_NUMBER")
        pairs.append((image, match[1]))
    return pairs


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if numbers else None))


def outline(*, folder: str, size: int, **options: Any) -> Info:
    """The Info without classes and fingerprint."""
    if size < 1:
        raise ConfigError(f"data.size={size} must be the side of the canvas in pixels, 1 or more")
    return image_info(folder, (), size, size, **options)


def source(
    split: str,
    *,
    dir: str = "",
    folder: str,
    size: int,
    train_folder: str = "train",
    val_folder: str = "",
    test_folder: str = "val",
    labels: str = "",
    holdout: float = 0.1,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    cache_bytes: int = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (size, size, 3), "label": int32} of the images under `dir`/`folder`.

    Each split has its folder there. Without a `val_folder`, "val" is `holdout` of the training images: a fraction below
    1, or a count. Images without classes have no label, and if there is no `test_folder` for them, "test" is the same
    images as "val". `labels` is a CSV's path under `dir`/`folder`, in which "{folder}" is the split's folder
    ("{folder}.csv" is train.csv beside train/). Images are cached if all fit into `cache_bytes`, in each process.
    """
    check_split(split)
    info = outline(folder=folder, size=size, mean=mean, std=std)
    notes: tuple[str, ...] = ()
    alone = [] if labels else _images_alone(locate(dir, folder))
    if alone:
        which = f"its {len(alone)} images are 'train' and 'val', without classes"
        notes = (f"{folder} has no folder {train_folder!r}: {which}.",)
        train_folder, val_folder = ".", ""
    root = find(dir, folder, [train_folder])

    def scan_split(name: str) -> list[tuple[Path, str]]:
        return scan(root / name, root / labels.replace("{folder}", name) if labels else None)

    training = [(image, UNLABELLED) for image in alone] or scan_split(train_folder)
    labels_seen = {label for _, label in training}
    if labels_seen == {UNLABELLED} and not (test_folder and (root / test_folder).is_dir()):
        notes += (f"{folder} has no folder for the split 'test': it is the same images as 'val'.",)
        split = "val" if split == "test" else split
    image_folder = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    find(dir, folder, [image_folder])
    pairs = training if image_folder == train_folder else scan_split(image_folder)
    for name, images in ((train_folder, training), (image_folder, pairs)):
        if not images:
            raise no_images(root / name)
    for path, label in pairs:
        if label not in labels_seen:
            raise DataError(f"{path} is of the class {label!r}, which no training image in {root / train_folder} has")
    pairs = split_examples(split, pairs, val_folder=val_folder, holdout=holdout)

    files = [path for path, _ in pairs]
    digest = digests(root, files)
    rows = [f"{identity} {label}" for identity, (_, label) in zip(identities(root, files, digest), pairs)]
    classes = _sorted_classes(labels_seen) if labels_seen != {UNLABELLED} else ()
    info = info._replace(classes=classes, fingerprint=fingerprint(rows), notes=notes)
    index = {label: i for i, label in enumerate(classes)}
    targets = [index[label] for _, label in pairs] if classes else ()
    facts = {"labels": targets, "contents": [digest[file] for file in files]}
    return image_files(split, root / image_folder, files, info, **facts, cache_bytes=cache_bytes)
