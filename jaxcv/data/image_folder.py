"""Any folder of JPEG, PNG or WebP images, decoded on the host and brought to one square canvas.

Three forms, told apart by what is on disk (folder is the split's own, such as train/):
    folder/class/*.jpg          the class is the folder's name
    folder/*.jpg and a CSV      with the columns filename and label (option `labels`)
    folder/{class}_{id}.png     the class is in the file's name; if in none, all are "unlabelled"
Classes are those of the training folder, sorted by name (numbers by value), for every split.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, MAX_PIXELS, SUFFIXES, open_image
from jaxcv.data.source import Info, Kept, find, fingerprint, held_out, split_folder
from jaxcv.errors import ConfigError, DataError

UNLABELLED = "unlabelled"


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


class Folder:
    """A source of images on disk. What it has decoded it keeps, when the whole set fits `cache_bytes`."""

    def __init__(self, split: str, files: Sequence[Path], labels: np.ndarray, info: Info, *, cache_bytes: int):
        self.split, self.files, self.labels, self.info = split, list(files), labels, info
        self.names = [f"{path.parent.name}/{path.name}" for path in self.files]
        self._kept = Kept(len(self.files), cache_bytes)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._kept.get(range(len(self))[index], self._decode)

    def _decode(self, index: int) -> dict[str, np.ndarray]:
        try:
            return {"image": decode(self.files[index], self.info.shape[0]), "label": self.labels[index]}
        except DataError as error:
            raise DataError(f"{self.split}[{index}] {error}") from error


def _images(folder: Path) -> list[Path]:
    """The visible image files right in `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


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


def scan(folder: Path, labels: Path | None = None) -> list[tuple[Path, str]]:
    """(file, class name) of every image of a split, sorted by path, whichever of the three forms it has."""
    if labels is not None:
        return _read_csv(labels, folder)
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if classes:
        found = {name: _images(name) for name in classes}
        empty = [name for name, images in found.items() if not images]
        if empty:
            raise DataError(f"there is no image in {empty[0]}: it should hold {', '.join(sorted(SUFFIXES))} files")
        return [(image, name.name) for name, images in found.items() for image in images]
    images = _images(folder)
    matches = [re.fullmatch(r"(.+)_\d+", image.stem) for image in images]
    if not any(matches):
        return [(image, UNLABELLED) for image in images]
    for image, match in zip(images, matches):
        if not match:
            raise DataError(f"{image} has no class in its name, though others beside it do: expected CLASS_NUMBER")
    return [(image, match[1]) for image, match in zip(images, matches)]


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if numbers else None))


def outline(
    *,
    folder: str,
    size: int,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    **options: Any,
) -> Info:
    """What is known without the data: not the classes."""
    return Info(folder, (), (size, size, 3), tuple(mean), tuple(std), "")


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
) -> Folder:
    """Examples {"image": uint8 (size, size, 3), "label": int32} of the images under `dir`/`folder`.

    Each split has its folder there. Without a `val_folder`, "val" is `holdout` of the training images: a
    fraction below 1, or a count. `labels` is a CSV's path under `dir`/`folder`, where "{folder}" stands for the
    split's folder ("{folder}.csv" is train.csv beside train/). With workers, each process keeps its own up to
    `cache_bytes`.
    """
    own = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    if size < 1:
        raise ConfigError(f"size={size} must be the side of the canvas in pixels, 1 or more")
    root = find(dir, folder, [train_folder, own] if own != train_folder else [own])

    def scan_split(name: str) -> list[tuple[Path, str]]:
        pairs = scan(root / name, root / labels.replace("{folder}", name) if labels else None)
        if not pairs:
            raise DataError(f"there is no image in {root / name}: it should hold {', '.join(sorted(SUFFIXES))} files")
        return pairs

    training = scan_split(train_folder)
    pairs = training if own == train_folder else scan_split(own)
    classes = _sorted_classes({label for _, label in training})
    index = {label: i for i, label in enumerate(classes)}
    for path, label in pairs:
        if label not in index:
            raise DataError(f"{path} is of the class {label!r}, which no training image in {root / train_folder} has")
    if own == train_folder and not val_folder and split != "test":
        pairs = [pairs[i] for i in held_out(split, len(pairs), holdout)]

    files = [path for path, _ in pairs]
    rows = (f"{path.relative_to(root).as_posix()} {path.stat().st_size} {label}" for path, label in pairs)
    info = outline(folder=folder, size=size, mean=mean, std=std)
    info = info._replace(classes=classes, fingerprint=fingerprint(rows))
    return Folder(split, files, np.array([index[label] for _, label in pairs], np.int32), info, cache_bytes=cache_bytes)
