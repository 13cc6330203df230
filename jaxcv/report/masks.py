"""Masks in the colours of their classes, beside their images and over them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch
from PIL import Image

from jaxcv.errors import DataError
from jaxcv.report import style

_STRIPES = np.array([[255, 255, 255], [150, 150, 150]], np.uint8)  # where a label is ignored
_EDGE = "#cccccc"  # around what may be white
_PANEL = 1.7  # inches of an image's longer side
_NAME = 1.5  # inches at most for the name of a class
_SIZE = 7  # points


def paint(mask: np.ndarray, palette: np.ndarray, *, ignore: int = 255) -> np.ndarray:
    """A mask as a picture: ints (..., h, w) -> uint8 (..., h, w, 3).

    palette: (classes, 3) ints in [0, 255], each class's red, green and blue. Pixels with the label `ignore` are
    striped. Raises DataError for any other label that is not below the number of classes.
    """
    mask, palette = np.asarray(mask), np.asarray(palette)
    if palette.shape[1:] != (3,) or palette.dtype.kind not in "iu":
        raise DataError(f"a palette must be (classes, 3) ints, got {palette.shape} {palette.dtype}.")
    ignored = mask == ignore
    strange = mask[~ignored & ((mask < 0) | (mask >= len(palette)))]
    if strange.size:
        raise DataError(f"a mask has the label {strange[0]}, expected 0 to {len(palette) - 1}, or {ignore} to ignore.")
    h, w = mask.shape[-2:]
    y, x = np.ogrid[:h, :w]
    stripes = _STRIPES[(x + y) // (2 + max(h, w) // 64) % 2]
    return np.where(ignored[..., None], stripes, palette.astype(np.uint8)[np.where(ignored, 0, mask)])


def overlay(
    image: np.ndarray, mask: np.ndarray, palette: np.ndarray, *, ignore: int = 255, alpha: float = 0.5
) -> np.ndarray:
    """An image under its mask's colours, which are full along the borders between labels: uint8 (..., h, w, 3).

    image: uint8 (..., h, w, 1 or 3). alpha: the part of the mask's colour, in [0, 1]. Else as for `paint`.
    """
    part = np.where(_borders(np.asarray(mask)), 1, alpha)[..., None]
    return np.rint(image + part * (paint(mask, palette, ignore=ignore) - np.asarray(image, float))).astype(np.uint8)


def save_prediction(path: Path, image: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> None:
    """Writes PATH.png, the mask uint8 (h, w) as labels with the palette, and PATH_overlay.png, the image under it.

    Arguments as for `overlay`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = Image.fromarray(mask)
    labels.putpalette(np.asarray(palette, np.uint8).tobytes())
    labels.save(path.with_name(f"{path.name}.png"))
    Image.fromarray(overlay(image, mask, palette)).save(path.with_name(f"{path.name}_overlay.png"))


def mask_panels(
    images: np.ndarray,
    masks: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    names: Sequence[str],
    classes: Sequence[str],
    palette: np.ndarray,
    ignore: int = 255,
) -> None:
    """Draw a row for each image, with the image and its masks in the colours of their classes.

    images: uint8 n h w c, c 1 or 3. masks: title of a column -> ints n h w, e.g. {"truth": ..., "step 500": ...}.
    names: of the images. palette, ignore: as for `paint`.
    """
    _check(images, masks, path, names, classes, palette)
    painted = {title: paint(mask, palette, ignore=ignore) for title, mask in masks.items()}
    _panels({"image": images}, painted, path, names=names, legend=_legend(classes, palette, ignore, masks))


def overlay_panels(
    images: np.ndarray,
    masks: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    names: Sequence[str],
    classes: Sequence[str],
    palette: np.ndarray,
    ignore: int = 255,
    alpha: float = 0.5,
) -> None:
    """Draw a row for each image, with the image and its masks over it; arguments as for `mask_panels` and
    `overlay`."""
    _check(images, masks, path, names, classes, palette)
    over = {title: overlay(images, mask, palette, ignore=ignore, alpha=alpha) for title, mask in masks.items()}
    _panels({"image": images, **over}, {}, path, names=names, legend=_legend(classes, palette, ignore, masks))


def _check(
    images: np.ndarray,
    masks: Mapping[str, np.ndarray],
    path: str | Path,
    names: Sequence[str],
    classes: Sequence[str],
    palette: np.ndarray,
) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names) or not images.size:
        raise DataError(f"{path} needs uint8 ({len(names)}, h, w, c) images, got {images.dtype} {images.shape}.")
    for title, mask in masks.items():
        if mask.shape != images.shape[:3]:
            raise DataError(f"{path} needs {images.shape[:3]} masks in {title!r}, got {mask.shape}.")
    if len(palette) != len(classes):
        raise DataError(f"{path} needs a colour for each of the {len(classes)} classes, got {len(palette)}.")


def _borders(mask: np.ndarray) -> np.ndarray:
    """Where the label is another a little to the left or right, above or below: bool (..., h, w)."""
    border = np.zeros(mask.shape, bool)
    width = 1 + max(mask.shape[-2:]) // 512  # of one side: to be seen in large pictures too
    for axis in (-2, -1):
        along, labels = np.moveaxis(border, axis, 0), np.moveaxis(mask, axis, 0)
        differs = labels[width:] != labels[:-width]
        along[width:] |= differs
        along[:-width] |= differs
    return border


def _legend(
    classes: Sequence[str], palette: np.ndarray, ignore: int, masks: Mapping[str, np.ndarray]
) -> list[tuple[str, dict]]:
    """Name and look of each class, and last of what is ignored if it is a class or in the masks."""
    names = [style.cut(name, _NAME, _SIZE) for name in classes]
    looks = [(name, {"facecolor": np.divide(colour, 255), "edgecolor": _EDGE}) for name, colour in zip(names, palette)]
    light, dark = _STRIPES / 255
    striped = {"facecolor": light, "edgecolor": dark, "hatch": "/////"}
    if ignore < len(names):
        looks.pop(ignore)
        looks.append((f"{names[ignore]} (ignored)", striped))
    elif any((mask == ignore).any() for mask in masks.values()):
        looks.append(("ignored", striped))
    return looks


def _panels(
    pictures: Mapping[str, np.ndarray],
    flat: Mapping[str, np.ndarray],
    path: str | Path,
    *,
    names: Sequence[str],
    legend: Sequence[tuple[str, dict]],
) -> None:
    """A row for each name, a column for each title -> n h w 3. Where large ones are shrunk, `pictures` are smoothed
    and `flat` ones are not: their colours mean something."""
    columns = [(title, images, "auto") for title, images in pictures.items()]
    columns += [(title, images, "nearest") for title, images in flat.items()]
    h, w = columns[0][1].shape[1:3]
    height, width = _PANEL * h / max(h, w), _PANEL * w / max(h, w)
    inches = max(3.5, 0.25 + len(columns) * (width + 0.04))
    per_line = style.legend_columns([name for name, _ in legend], inches, _SIZE)
    tall = 0.35 + len(names) * (height + 0.04) + 0.15 * -(-len(legend) // per_line)
    with style.drawing(path, inches, tall, layout="compressed") as figure:
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        grid = figure.subplots(len(names), len(columns), squeeze=False)
        for line, (name, panels) in enumerate(zip(names, grid)):
            for axes, (_, images, interpolation) in zip(panels, columns):
                axes.imshow(np.broadcast_to(images[line], (h, w, 3)), interpolation=interpolation)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set(visible=True, color=_EDGE)
            panels[0].set_ylabel(style.cut(name, height, _SIZE), fontproperties=style.font(_SIZE))
        for axes, (title, _, _) in zip(grid[0], columns):
            axes.set_title(style.cut(title, width, 8))
        figure.legend(
            handles=[Patch(label=name, linewidth=0.6, **look) for name, look in legend],
            loc="outside lower center",
            ncols=per_line,
            prop=style.font(_SIZE),
            handlelength=1.4,
            handletextpad=0.5,
            columnspacing=1.2,
        )
