"""Images and masks in folders, paired by name: CamVid, PASCAL VOC, satellite tiles and the like.

A mask is a PNG, GIF, BMP or TIFF of labels (grey levels, or a palette's indices) or, with the option `colors`, of
colours.
"""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.contents import digests, identities
from jaxcv.data.files import Files, find, split_examples, split_folder
from jaxcv.data.images import IMAGENET_MEAN, IMAGENET_STD, SUFFIXES, image_info, no_images, open_image, stretch_pair
from jaxcv.data.labels import tell_left_out
from jaxcv.data.masks import FORMATS, OTHER, black_and_white, fit, read_mask
from jaxcv.data.source import Info, fingerprint, voc_palette
from jaxcv.errors import ConfigError, DataError
from jaxcv.ranges import Byte, Count, NonNegative, PositiveCount


def _find_pairs(root: Path, image: str, mask: str, names: str) -> dict[str, tuple[Path, Path]]:
    """name -> (image, mask), sorted by name or in the order of the file `names`."""
    images, masks = _scan(root / image, SUFFIXES), _scan(root / mask, FORMATS)
    chosen = _read_names(root / names) if names else sorted(images | masks)
    if not chosen:
        raise no_images(root / (names or image))
    for name in chosen:
        if name not in images or name not in masks:
            missing = f"mask {root / mask}.png" if name in images else f"image {root / image}.jpg, .jpeg, .png or .webp"
            partner = (images | masks).get(name)
            why = f"the partner of {partner}" if partner else f"which {names} names"
            hint = "; data.mask says how masks are named" if name in images else ""
            raise DataError(f"there is no {missing.replace('*', name)}, {why}{hint}")
    return {name: (images[name], masks[name]) for name in chosen}


def _scan(template: Path, suffixes: Container[str]) -> dict[str, Path]:
    """name -> file, for the files called `template`, in which * is the name, with one of `suffixes`."""
    pattern = re.escape(template.name).replace(r"\*", "([^.].*)", 1)
    files: dict[str, Path] = {}
    for path in sorted(template.parent.iterdir()):
        match = re.fullmatch(pattern, path.stem)
        if match and path.suffix.lower() in suffixes:
            if match[1] in files:
                raise DataError(f"{files[match[1]]} and {path.name} have the same name; only one can be meant")
            files[match[1]] = path
    return files


def _unused(folder: Path, used: Container[Path]) -> dict[str, int]:
    """How many files in `folder` are not used, by their suffix."""
    files = [path for path in folder.iterdir() if path.is_file() and path not in used]
    return dict(Counter("hidden" if x.name.startswith(".") else x.suffix or "without a suffix" for x in files))


def _read_names(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"there is no list of names {path}: data.names says where it is in the data set's folder")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _decode(pair: tuple[Path, Path], *, height: int, width: int, **options: Any) -> dict[str, np.ndarray]:
    image_path, mask_path = pair
    image, mask = open_image(image_path), read_mask(mask_path, **options)
    mask = fit(mask, image_path, image.size, says=f"its mask {mask_path}")
    return stretch_pair(image, mask, height, width)


def _make_table(classes: int, *, remap: Sequence[int], colors: Sequence, outside: int, ignore: int) -> np.ndarray:
    """The label of each value, for `read_mask`."""
    if len(remap) > 256 or (remap and colors and len(remap) != len(colors)):
        raise ConfigError(
            f"config.data.remap has {len(remap)} labels; it needs one for each of {len(colors) or '1 to 256'}"
        )
    remap = remap or range(classes)
    for key, labels in (("remap", remap), ("outside", [] if outside == -1 else [outside])):
        for label in labels:
            if not 0 <= label < classes and label != ignore:
                raise ConfigError(f"config.data.{key} has {label}, neither a class, 0..{classes - 1}, nor data.ignore")
    table = np.full(OTHER + 1, outside)
    if not colors:
        table[ignore] = ignore
    table[: len(remap)] = remap
    return table


def outline(
    *,
    folder: str,
    height: PositiveCount,
    width: PositiveCount,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] = (),
    colors: Sequence[Sequence[int]] = (),
    remap: Sequence[int] = (),
    ignore: Byte = 255,
    **options: Any,
) -> Info:
    """The Info without the fingerprint."""
    if not 1 <= len(classes) <= 255:
        raise ConfigError(f"config.data.classes has {len(classes)} names; it must have 1 to 255")
    palette = palette or (() if remap else colors) or voc_palette(len(classes))
    for color in (*colors, *palette):
        if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
            raise ConfigError(f"config.data.colors and data.palette have colours (r, g, b) in 0..255, not {color!r}")
    if len(palette) != len(classes):
        of = "data.colors" if colors and not remap else "data.palette"
        raise ConfigError(f"config.data.classes has {len(classes)} names, but {of} {len(palette)} colours")
    return image_info(folder, classes, height, width, palette=palette, ignore=ignore, **options)


def source(
    split: str,
    *,
    dir: str = "",
    folder: str,
    height: PositiveCount,
    width: PositiveCount,
    classes: Sequence[str],
    image: str = "{folder}/*",
    mask: str = "{folder}annot/*",
    names: str = "",
    train_folder: str = "train",
    val_folder: str = "",
    test_folder: str = "test",
    holdout: NonNegative = 0.1,
    colors: Sequence[Sequence[int]] = (),
    threshold: Byte = 0,
    remap: Sequence[int] = (),
    outside: int = -1,
    ignore: Byte = 255,
    palette: Sequence[Sequence[int]] = (),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    cache_bytes: Count = 2 << 30,
) -> Files:
    """Examples {"image": uint8 (height, width, 3), "mask": uint8 (height, width)} of the pairs under `dir`/`folder`.

    Files: `image` and `mask` are paths without a suffix, in which "{folder}" is the split's folder and * the pair's
    name, the same in both. `names` is the path of a text file, again with "{folder}", of the names to use; empty: all.
    Without a `val_folder`, "val" is `holdout` of the training pairs: a fraction below 1, or a count.

    Labels: those in the file or, with `colors` ((r, g, b), ...), the index of the pixel's colour, after `threshold` has
    set each channel to 255 from this value on and to 0 below it (0: does not). Then `remap`[old] is the new label.
    Labels are 0..len(classes)-1, and `ignore` for what does not count. Others become `outside`, or at -1 an error.
    Where the training masks have only 0 and 255, there are two classes and no `remap`, 255 is the second class.

    Images are resized bilinearly and masks by nearest neighbour, without keeping the aspect ratio. `palette` has the
    colours of the classes in figures; by default `colors`, or PASCAL VOC's. Pairs are cached if all fit into
    `cache_bytes`, in each process.
    """
    pair_folder = split_folder(split, train_folder=train_folder, val_folder=val_folder, test_folder=test_folder)
    looks: dict[str, Any] = {"palette": palette, "colors": colors, "mean": mean, "std": std}
    info = outline(folder=folder, height=height, width=width, classes=classes, remap=remap, ignore=ignore, **looks)
    table = _make_table(len(classes), remap=remap, colors=colors, outside=outside, ignore=ignore)
    for key, template in (("image", image), ("mask", mask)):
        if template.count("*") != 1 or "*" not in Path(template).name:
            raise ConfigError(
                f'config.data.{key}={template!r} must have one * for the name, in its last part: "{{folder}}/*"'
            )
    train_mask = mask.replace("{folder}", train_folder)
    image, mask, names = (text.replace("{folder}", pair_folder) for text in (image, mask, names))
    root = find(dir, folder, [str(Path(image).parent), str(Path(mask).parent)])
    named = list(_find_pairs(root, image, mask, names).items())
    left_out = _unused((root / image).parent, {file for _, pair in named for file in pair})
    info = info._replace(notes=tuple(tell_left_out((root / image).parent, left_out)))
    pairs = dict(split_examples(split, named, val_folder=val_folder, holdout=holdout))
    if len(classes) == 2 and not remap and not colors:
        # The training masks decide for every split: a few others might have no pixel of the second class.
        decisive = root / train_mask if (root / train_mask).parent.is_dir() else root / mask
        if black_and_white(_scan(decisive, FORMATS).values()):
            table = np.full(OTHER + 1, -1)
            table[[0, 255]] = 0, 1
            note = (
                f"The masks of {folder} are black and white: 0 is read as {classes[0]!r}, 255 as {classes[1]!r}; "
                "with config.data.remap=(0, 1) 255 would be void."
            )
            info = info._replace(notes=(*info.notes, note))

    labels = f"{[list(color) for color in colors]} {threshold} {table.tolist()}"
    files = list(itertools.chain(*pairs.values()))
    digest = digests(root, files)
    info = info._replace(fingerprint=fingerprint([*identities(root, files, digest), labels]))
    decode = functools.partial(_decode, height=height, width=width, table=table, colors=colors, threshold=threshold)
    about: dict[str, Any] = {"files": files[::2], "digest": digest, "left_out": left_out}
    return Files(pairs.keys(), pairs.values(), decode, info, **about, cache_bytes=cache_bytes)
