"""Any folder of images, decoded on the host and resized to one square canvas.

What is on disk decides between four forms (folder is the split's, such as train/):
    folder/class/**/*.jpg       the class is the folder's name; all images below it count
    folder/*.jpg and a CSV      with the columns filename and label (option `labels`)
    folder/{class}_{id}.png     the class is in the file's name, also {class}.{id}.png; if in none, there are no classes
    *.jpg                       images without a folder beside them: all are for training, and there are no classes
Files are .jpg, .jpeg, .png, .webp, .bmp, .tif, .tiff and .gif, or .npy arrays. Every split has the classes of the
training folder, sorted by name (numbers by value).
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcv.data.contents import digests, identities
from jaxcv.data.files import Files, find, locate, split_examples, split_folder
from jaxcv.data.images import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_PIXELS,
    image_info,
    no_images,
    read_channels,
    tell_headers,
)
from jaxcv.data.labels import (
    Scan,
    scan_csv,
    scan_folders,
    scan_names,
    subfolders,
    tell_absent,
    tell_classes,
    unlabelled,
)
from jaxcv.data.source import Info, check_split, fingerprint
from jaxcv.errors import ConfigError, DataError
from jaxcv.ranges import Count, NonNegative, PositiveCount


def decode(path: Path, size: PositiveCount, channels: PositiveCount = 3) -> np.ndarray:
    """The image at `path` as uint8 (size, size, channels): upright, short side resized to `size`, centre crop.

    The arithmetic is torchvision's Resize (bicubic, antialiased) and CenterCrop.  channels: see `read_channels`.
    """
    images = read_channels(path, channels)
    w, h = images[0].size
    short = min(w, h)
    if max(w, h) / short * size**2 > MAX_PIXELS:  # of the resized image, before the crop
        raise DataError(f"{path}: {w}x{h} pixels are too long and thin to decode safely")
    w, h = int(size * w / short), int(size * h / short)
    left, top = round((w - size) / 2), round((h - size) / 2)
    box = (left, top, left + size, top + size)
    return np.dstack([np.asarray(image.resize((w, h), Image.Resampling.BICUBIC).crop(box)) for image in images])


def image_files(
    split: str,
    folder: Path,
    files: Sequence[Path],
    info: Info,
    *,
    targets: Sequence[dict[str, np.ndarray]] = (),
    digest: Mapping[Path, str] | None = None,
    left_out: Mapping[str, int] | None = None,
    cache_bytes: Count = 0,
) -> Files:
    """A source of `files`, named by their paths below `folder`; messages mention `split`.

    targets: for each file what its example has besides the image, if anything.  digest, left_out: see `Files`.
    """
    names = [file.relative_to(folder).as_posix() for file in files]
    items = [(f"{split}[{i}]", file, targets[i] if targets else {}) for i, file in enumerate(files)]
    decode = functools.partial(_decode, size=info.shape[0], channels=info.shape[2])
    return Files(names, items, decode, info, files=files, digest=digest, left_out=left_out, cache_bytes=cache_bytes)


def _decode(item: tuple[str, Path, dict], *, size: PositiveCount, channels: int) -> dict[str, np.ndarray]:
    where, file, target = item
    try:
        return {"image": decode(file, size, channels)} | target
    except DataError as error:
        raise DataError(f"{where} {error}") from error


def _count_alone(folder: Path | None) -> int:
    """How many images `folder` holds, if it holds no folder; else 0."""
    return len(unlabelled(folder).items) if folder and folder.is_dir() and not subfolders(folder) else 0


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if numbers else None))


def outline(*, folder: str, size: PositiveCount, channels: PositiveCount = 3, **options: Any) -> Info:
    """The Info without classes and fingerprint."""
    return image_info(folder, (), size, size, channels=channels, **options)


def source(
    split: str,
    *,
    dir: str = "",
    folder: str,
    size: PositiveCount,
    channels: PositiveCount = 3,
    train_folder: str = "train",
    val_folder: str = "",
    test_folder: str = "val",
    labels: str = "",
    separator: str = "",
    group: str = "",
    holdout: NonNegative = 0.1,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    cache_bytes: Count = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (size, size, channels), "label": int32} of the images under `dir`/`folder`.

    Each split has its folder there. Without a `val_folder`, "val" is `holdout` of the training images: a fraction below
    1, or a count, with about the same share of each class. Images without classes have no label, and if there is no
    `test_folder` for them, "test" is the same images as "val". Images are cached if all fit into `cache_bytes`, in each
    process.

    labels: a CSV's path under `dir`/`folder`, in which "{folder}" is the split's folder ("{folder}.csv" is train.csv
    beside train/). With a `separator` an image may have several labels in it: "labels", uint8 (classes,), takes the
    place of "label". `group` is its column of what stays together in "train" or in "val", such as the patient.
    channels: 3, images become RGB, on white where they are transparent; 1, grey; any other number, files have so many.
    """
    check_split(split)
    info = outline(folder=folder, size=size, channels=channels, mean=mean, std=std)
    for key, value in (("separator", separator), ("group", group)):
        if value and not labels:
            raise ConfigError(f"config.data.{key}={value!r} is about a CSV of labels; set data.labels too")
    notes: list[str] = []
    alone = 0 if labels else _count_alone(locate(dir, folder))
    if alone:
        which = f"its {alone} images are 'train' and 'val', without classes"
        notes.append(f"{folder} has no folder {train_folder!r}: {which}.")
        train_folder, val_folder = ".", ""
    root = find(dir, folder, [train_folder])

    def scan(name: str, known: set[str] | None = None) -> Scan:
        if labels:
            path = root / labels.replace("{folder}", name)
            return scan_csv(path, root / name, separator=separator, group=group)
        if subfolders(root / name):
            return scan_folders(root / name)
        return unlabelled(root / name) if alone else scan_names(root / name, known)

    training = scan(train_folder)
    known = {label for item in training.items for label in item.labels}
    classes = _sorted_classes(known)
    if training.items and not classes and not (test_folder and (root / test_folder).is_dir()):
        notes.append(f"{folder} has no folder for the split 'test': it is the same images as 'val'.")
        split = "val" if split == "test" else split
    image_folder = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    find(dir, folder, [image_folder])
    found = training if image_folder == train_folder else scan(image_folder, known)
    for name, scanned in ((train_folder, training), (image_folder, found)):
        if not scanned.items:
            raise no_images(root / name)
    for item in found.items:
        for label in item.labels:
            if label not in known:
                where = f"which no training image in {root / train_folder} has"
                raise DataError(f"{item.file} is of the class {label!r}, {where}")
    items = split_examples(
        split,
        found.items,
        val_folder=val_folder,
        holdout=holdout,
        labels=[item.labels for item in found.items],
        groups=[item.group for item in found.items if group],
    )
    files = [item.file for item in items]
    notes += [*found.notes, *tell_classes(folder, classes), *tell_absent(folder, split, items, classes)]
    if found is not training and (
        shared := {item.group for item in items if group} & {x.group for x in training.items}
    ):
        notes.append(f"{folder}: {len(shared)} groups are in the folders {train_folder!r} and {image_folder!r} both.")
    notes += tell_headers(f"{folder}/{image_folder}", files, channels)

    digest = digests(root, files)
    joined = [";".join(item.labels) or "unlabelled" for item in items]
    rows = [f"{identity} {label}" for identity, label in zip(identities(root, files, digest), joined)]
    info = info._replace(classes=classes, fingerprint=fingerprint(rows), notes=tuple(notes))
    targets = _targets([item.labels for item in items], classes, several=bool(separator)) if classes else ()
    about: dict[str, Any] = {"targets": targets, "digest": digest, "left_out": found.left_out}
    return image_files(split, root / image_folder, files, info, **about, cache_bytes=cache_bytes)


def _targets(labels: Sequence[Sequence[str]], classes: Sequence[str], *, several: bool) -> list[dict[str, np.ndarray]]:
    if several:
        return [{"labels": np.isin(classes, names).astype(np.uint8)} for names in labels]
    index = {name: i for i, name in enumerate(classes)}
    return [{"label": np.array(index[name], np.int32)} for (name,) in labels]
