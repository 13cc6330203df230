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

import numpy as np
from PIL import Image, ImageOps

from jaxcv.data.source import Info, check_split, find, fingerprint, held_out
from jaxcv.errors import ConfigError, DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
UNLABELLED = "unlabelled"
MAX_PIXELS = 89_478_485  # from where on Pillow warns of a decompression bomb


def decode(path: Path, size: int) -> np.ndarray:
    """The image at `path` as uint8 (size, size, 3): upright, RGB, short side resized to `size`, centre crop.

    The arithmetic is torchvision's Resize (bicubic, antialiased) and CenterCrop. Raises whatever Pillow
    raises.
    """
    with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as image:
        w, h = image.size
        canvas = max(w, h) / min(w, h) * size**2  # pixels of the resized image, before the crop
        if max(w * h, canvas) > MAX_PIXELS:
            raise ValueError(f"{w}x{h} pixels are too many, or too long and thin, to decode safely")
        if image.mode.startswith("I") or image.mode == "F":
            raise ValueError(f"mode {image.mode} has more than 8 bits a channel, save it with 8")
        image = ImageOps.exif_transpose(image).convert("RGB")
    w, h = image.size
    short = min(w, h)
    w, h = int(size * w / short), int(size * h / short)
    left, top = round((w - size) / 2), round((h - size) / 2)
    image = image.resize((w, h), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return np.asarray(image)


class Folder:
    """A source of images on disk. What it has decoded it keeps, when the whole set fits `cache_bytes`."""

    def __init__(self, split: str, files: Sequence[Path], labels: np.ndarray, info: Info, *, cache_bytes: int):
        self.split, self.files, self.labels, self.info = split, list(files), labels, info
        self.keep = len(self.files) * int(np.prod(info.shape)) <= cache_bytes
        self._allocate()

    def _allocate(self) -> None:
        rows = len(self.files) if self.keep else 0
        self.canvases = np.empty((rows, *self.info.shape), np.uint8)
        self.decoded = np.zeros(rows, bool)

    def __getstate__(self) -> dict:  # a worker process gets the names, not the pixels
        return {k: v for k, v in self.__dict__.items() if k not in ("canvases", "decoded")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._allocate()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self._image(index), "label": self.labels[index]}

    def _image(self, index: int) -> np.ndarray:
        if self.keep and self.decoded[index]:
            return self.canvases[index]
        path = self.files[index]
        try:
            image = decode(path, self.info.shape[0])
        except Exception as error:  # a damaged file can fail in any way at all
            raise DataError(f"{self.split}[{index}] {path}: {error}") from error
        if self.keep:  # pixels first, flag last: two threads may both decode, and write the same bytes
            self.canvases[index] = image
            self.decoded[index] = True
        return image


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
    check_split(split)
    if size < 1:
        raise ConfigError(f"size={size} must be the side of the canvas in pixels, 1 or more")
    own = {"train": train_folder, "val": val_folder or train_folder, "test": test_folder}[split]
    if not own:
        raise ConfigError(f"the split {split!r} has no folder: set data.{split}_folder")
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
    info = Info(folder, classes, (size, size, 3), tuple(mean), tuple(std), fingerprint(rows))
    return Folder(split, files, np.array([index[label] for _, label in pairs], np.int32), info, cache_bytes=cache_bytes)
