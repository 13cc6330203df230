"""Images and masks in folders, paired by name: CamVid, PASCAL VOC, satellite tiles and the like.

A mask is a PNG of labels (mode L, or P, whose indices are the labels) or, with the option `colors`, of colours.
"""

import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.files import Files, find, sizes, split_examples, split_folder
from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, SUFFIXES, image_info, no_images, open_image, stretch_pair
from jaxcv.data.source import Info, fingerprint, voc_palette
from jaxcv.errors import ConfigError, DataError

OTHER = 256  # the value of a colour that is not among `colors`


def read_mask(path: Path, table: np.ndarray, *, colors: Sequence[Sequence[int]] = (), threshold: int = 0) -> np.ndarray:
    """The mask at `path` as labels uint8 (h, w). DataError for the first pixel without a label.

    table: int (257,), the label of each value, -1 where there is none. A pixel's value is its own in a mask of labels,
    and its colour's place in `colors` in one of colours, OTHER if it is not there.  threshold: channels become 255 from
    here on and 0 below, before colours are compared; 0: they stay as they are.
    """
    image = open_image(path, ("PNG",))
    if colors:
        pixels = np.asarray(image.convert("RGB"))
        pixels = np.where(pixels >= threshold, 255, 0) if threshold else pixels
        code = pixels @ np.array([1 << 16, 1 << 8, 1])
        values = np.full(code.shape, OTHER)
        for value, (r, g, b) in enumerate(colors):
            values[code == (r << 16 | g << 8 | b)] = value
    elif image.mode in ("L", "P", "1"):
        pixels = values = np.asarray(image, np.uint8)
    else:
        raise DataError(f"{path} has the mode {image.mode}; a mask of labels has L or P, for colours set data.colors")
    labels = table[values]
    if labels.min() < 0:
        y, x = np.argwhere(labels < 0)[0]
        found = f"{path} has the {'colour' if colors else 'label'} {pixels[y, x].tolist()} at x={x}, y={y}"
        allowed = "is none of data.colors" if colors else f"is none of {_spans(np.flatnonzero(table >= 0))}"
        raise DataError(f"{found}, which {allowed}; data.outside can say what such pixels become")
    return labels.astype(np.uint8)


def _spans(labels: np.ndarray) -> str:
    """Ascending numbers as "0..10, 255"."""
    parts = np.split(labels, np.flatnonzero(np.diff(labels) > 1) + 1)
    return ", ".join(f"{part[0]}..{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def _find_pairs(root: Path, image: str, mask: str, names: str) -> dict[str, tuple[Path, Path]]:
    """name -> (image, mask), sorted by name or in the order of the file `names`."""
    images, masks = _scan(root / image, SUFFIXES), _scan(root / mask, {".png"})
    wanted = _read_names(root / names) if names else sorted(images | masks)
    if not wanted:
        raise no_images(root / (names or image))
    for name in wanted:
        if name not in images or name not in masks:
            missing = f"mask {root / mask}.png" if name in images else f"image {root / image}.jpg, .jpeg, .png or .webp"
            partner = (images | masks).get(name)
            why = f"the partner of {partner}" if partner else f"which {names} names"
            raise DataError(f"there is no {missing.replace('*', name)}, {why}")
    return {name: (images[name], masks[name]) for name in wanted}


def _scan(template: Path, suffixes: set[str]) -> dict[str, Path]:
    """name -> file, of those that are called as `template` with the name for its *, but for the suffix."""
    pattern = re.escape(template.name).replace(r"\*", "([^.].*)", 1)
    found: dict[str, Path] = {}
    for path in sorted(template.parent.iterdir()):
        match = re.fullmatch(pattern, path.stem)
        if match and path.suffix.lower() in suffixes:
            if match[1] in found:
                raise DataError(f"{found[match[1]]} and {path.name} have the same name; only one can be meant")
            found[match[1]] = path
    return found


def _read_names(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"there is no list of names {path}: data.names says where it is in the data set's folder")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _decode(pair: tuple[Path, Path], *, height: int, width: int, **options: Any) -> dict[str, np.ndarray]:
    image_path, mask_path = pair
    image, mask = open_image(image_path), read_mask(mask_path, **options)
    if image.size != mask.shape[::-1]:
        h, w = mask.shape
        raise DataError(f"{image_path} has {image.width}x{image.height} pixels, but its mask {mask_path} {w}x{h}")
    return stretch_pair(image, mask, height, width)


def _make_table(classes: int, *, remap: Sequence[int], colors: Sequence, outside: int, ignore: int) -> np.ndarray:
    """The label of each value, as `read_mask` needs it."""
    if not 0 <= ignore <= 255:
        raise ConfigError(f"data.ignore={ignore} must be a label of 8 bits, 0 to 255")
    if len(remap) > 256 or (remap and colors and len(remap) != len(colors)):
        raise ConfigError(f"data.remap has {len(remap)} labels; it needs one for each of {len(colors) or '1 to 256'}")
    remap = remap or range(classes)
    for key, labels in (("remap", remap), ("outside", [] if outside == -1 else [outside])):
        for label in labels:
            if not 0 <= label < classes and label != ignore:
                raise ConfigError(f"data.{key} has {label}, neither a class, 0..{classes - 1}, nor data.ignore")
    table = np.full(OTHER + 1, outside)
    if not colors:
        table[ignore] = ignore
    table[: len(remap)] = remap
    return table


def outline(
    *,
    folder: str,
    height: int,
    width: int,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] = (),
    colors: Sequence[Sequence[int]] = (),
    remap: Sequence[int] = (),
    ignore: int = 255,
    **options: Any,
) -> Info:
    """What is known without the data: all but the fingerprint."""
    if not 1 <= len(classes) <= 255:
        raise ConfigError(f"data.classes has {len(classes)} names; it must have 1 to 255")
    palette = palette or (() if remap else colors) or voc_palette(len(classes))
    for color in (*colors, *palette):
        if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
            raise ConfigError(f"data.colors and data.palette have colours (r, g, b) in 0..255, not {color!r}")
    if len(palette) != len(classes):
        of = "data.colors" if colors and not remap else "data.palette"
        raise ConfigError(f"data.classes has {len(classes)} names, but {of} {len(palette)} colours")
    return image_info(folder, classes, height, width, palette=palette, ignore=ignore, **options)


def source(
    split: str,
    *,
    dir: str = "",
    folder: str,
    height: int,
    width: int,
    classes: Sequence[str],
    image: str = "{folder}/*",
    mask: str = "{folder}annot/*",
    names: str = "",
    train_folder: str = "train",
    val_folder: str = "",
    test_folder: str = "test",
    holdout: float = 0.1,
    colors: Sequence[Sequence[int]] = (),
    threshold: int = 0,
    remap: Sequence[int] = (),
    outside: int = -1,
    ignore: int = 255,
    palette: Sequence[Sequence[int]] = (),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    cache_bytes: int = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (height, width, 3), "mask": uint8 (height, width)} of the pairs under `dir`/`folder`.

    Which: `image` and `mask` say how the files are called, without a suffix: "{folder}" stands for the split's folder,
    * for the pair's name, which is the same in both. `names` is a text file's path under `dir`/`folder`, again with
    "{folder}", with the names to use; without it, all are. Without a `val_folder`, "val" is `holdout` of the training
    pairs: a fraction below 1, or a count.

    Labels: those in the file, or for `colors` ((r, g, b), ...) the place there of the pixel's colour, once `threshold`
    has made each channel 255 from there on and 0 below (0: as it is). Then `remap`[old] is the new label. They are
    0..len(classes)-1, and `ignore` for what does not count. Anything else becomes `outside`, or at -1 an error.

    Images are resized bilinearly and masks by nearest neighbour, without regard to their proportions. `palette` has a
    colour for each class, for figures; by default `colors`, or PASCAL VOC's. With workers, each process keeps its own
    up to `cache_bytes`.
    """
    own = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    looks = {"palette": palette, "colors": colors, "remap": remap, "ignore": ignore, "mean": mean, "std": std}
    info = outline(folder=folder, height=height, width=width, classes=classes, **looks)
    table = _make_table(len(classes), remap=remap, colors=colors, outside=outside, ignore=ignore)
    for key, template in (("image", image), ("mask", mask)):
        if template.count("*") != 1 or "*" not in Path(template).name:
            raise ConfigError(f'data.{key}={template!r} must have one * for the name, in its last part: "{{folder}}/*"')
    image, mask, names = (text.replace("{folder}", own) for text in (image, mask, names))
    root = find(dir, folder, [str(Path(image).parent), str(Path(mask).parent)])
    found = list(_find_pairs(root, image, mask, names).items())
    found = split_examples(split, found, val_folder=val_folder, holdout=holdout)
    names, pairs = [name for name, _ in found], [pair for _, pair in found]

    labels = f"{[list(color) for color in colors]} {threshold} {table.tolist()}"
    info = info._replace(fingerprint=fingerprint([*sizes(root, itertools.chain(*pairs)), labels]))
    reading = {"table": table, "colors": colors, "threshold": threshold}
    decode = functools.partial(_decode, height=height, width=width, **reading)
    return Files(names, pairs, decode, info, cache_bytes=cache_bytes)
