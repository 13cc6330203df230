"""Masks in the colours of their classes, beside and over their images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from PIL import Image

from jaxcv.errors import DataError
from jaxcv.report import style

_STRIPES = np.array([[255, 255, 255], [150, 150, 150]], np.uint8)  # where a label is ignored
_EDGE = "#cccccc"  # around what may be white
_PANEL = 1.7  # inches of an image's long side


def paint(mask: np.ndarray, palette: ArrayLike, *, ignore: int = 255) -> np.ndarray:
    """A mask as a picture: ints (..., h, w) -> uint8 (..., h, w, 3).

    palette: (classes, 3) ints in [0, 255], the red, green and blue of each class. Pixels with the label `ignore` are
    striped. Raises DataError for any other label that is not below the number of classes.
    """
    mask, colours = np.asarray(mask), np.asarray(palette)
    if colours.shape[1:] != (3,) or colours.dtype.kind not in "iu":
        raise DataError(f"a palette must be (classes, 3) ints, got {colours.shape} {colours.dtype}.")
    ignored = mask == ignore
    unknown = mask[~ignored & ((mask < 0) | (mask >= len(colours)))]
    if unknown.size:
        raise DataError(f"a mask has the label {unknown[0]}, expected 0 to {len(colours) - 1}, or {ignore} to ignore.")
    h, w = mask.shape[-2:]
    y, x = np.ogrid[:h, :w]
    stripes = _STRIPES[(x + y) // (2 + max(h, w) // 64) % 2]
    return np.where(ignored[..., None], stripes, colours.astype(np.uint8)[np.where(ignored, 0, mask)])


def overlay(
    image: np.ndarray, mask: np.ndarray, palette: ArrayLike, *, ignore: int = 255, alpha: float = 0.5
) -> np.ndarray:
    """An image blended with the colours of its mask, opaque along the borders between labels: uint8 (..., h, w, 3).

    image: uint8 (..., h, w, 1 or 3). alpha: opacity of the mask, in [0, 1]. Other arguments as for `paint`.
    """
    opacity = np.where(_borders(np.asarray(mask)), 1, alpha)[..., None]
    return np.rint(image + opacity * (paint(mask, palette, ignore=ignore) - np.asarray(image, float))).astype(np.uint8)


def save_prediction(mask: np.ndarray, path: Path, *, image: np.ndarray, palette: ArrayLike) -> None:
    """Writes PATH.png, the labels of the mask uint8 (h, w) with the palette, and PATH_overlay.png, see `overlay`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = Image.fromarray(mask)
    labels.putpalette(np.asarray(palette, np.uint8).tobytes())
    labels.save(path.with_name(f"{path.name}.png"))
    Image.fromarray(overlay(image, mask, palette)).save(path.with_name(f"{path.name}_overlay.png"))


def mask_panels(
    images: np.ndarray,
    path: str | Path,
    *,
    masks: Mapping[str, np.ndarray],
    names: Sequence[str],
    classes: Sequence[str],
    palette: ArrayLike,
    ignore: int = 255,
    alpha: float = 1.0,
) -> None:
    """Saves a row for each image: the image, and its masks over it in the colours of their classes.

    images: uint8 (n, h, w, c), c 1 or 3. masks: title of a column -> ints (n, h, w), e.g. {"truth": ..., "step 500":
    ...}. names: of the images. palette, ignore, alpha: as for `overlay`; the masks hide the images unless alpha < 1.
    """
    colours = np.asarray(palette)
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(names) or not images.size:
        raise DataError(f"{path} needs uint8 ({len(names)}, h, w, c) images, got {images.dtype} {images.shape}.")
    for title, mask in masks.items():
        if mask.shape != images.shape[:3]:
            raise DataError(f"{path} needs {images.shape[:3]} masks in {title!r}, got {mask.shape}.")
    if len(colours) != len(classes):
        raise DataError(f"{path} needs a colour for each of the {len(classes)} classes, got {len(colours)}.")
    # Masks alone are shrunk without smoothing, which would mix the colours of classes.
    interpolation = "auto" if alpha < 1 else "nearest"
    columns = [("image", images, "auto")]
    for title, mask in masks.items():
        columns.append((title, overlay(images, mask, palette, ignore=ignore, alpha=alpha), interpolation))
    patches = _legend(classes, colours, ignore, masks)
    h, w = images.shape[1:3]
    height, width = _PANEL * h / max(h, w), _PANEL * w / max(h, w)
    inches = max(3.5, 0.25 + len(columns) * (width + 0.04))
    per_line = style.legend_columns([str(patch.get_label()) for patch in patches], inches, style.SMALL)
    tall = 0.35 + len(names) * (height + 0.04) + 0.15 * -(-len(patches) // per_line)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0, compress=True)
    with style.drawing(path, inches, tall, layout=layout) as figure:
        grid = figure.subplots(len(names), len(columns), squeeze=False)
        for line, (name, panels) in enumerate(zip(names, grid)):
            for axes, (_, pictures, interpolation) in zip(panels, columns):
                axes.imshow(np.broadcast_to(pictures[line], (h, w, 3)), interpolation=interpolation)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set(visible=True, color=_EDGE)
            panels[0].set_ylabel(style.cut(name, height, style.SMALL), fontproperties=style.font(style.SMALL))
        for axes, (title, _, _) in zip(grid[0], columns):
            axes.set_title(style.cut(title, width, 8))
        style.legend_below(figure, patches, per_line)


def _borders(mask: np.ndarray) -> np.ndarray:
    """Where the label changes a little to the left or right, above or below: bool (..., h, w)."""
    border = np.zeros(mask.shape, bool)
    width = 1 + max(mask.shape[-2:]) // 512  # of one side, so that it is seen in large pictures too
    for axis in (-2, -1):
        along, labels = np.moveaxis(border, axis, 0), np.moveaxis(mask, axis, 0)
        differs = labels[width:] != labels[:-width]
        along[width:] |= differs
        along[:-width] |= differs
    return border


def _legend(classes: Sequence[str], colours: np.ndarray, ignore: int, masks: Mapping[str, np.ndarray]) -> list[Patch]:
    """A patch for each class, and at the end one for what is ignored, if that is a class or in the masks."""
    names = [style.cut(name, style.NAME, style.SMALL) for name in classes]
    light, dark = _STRIPES / 255
    ignored = {"facecolor": light, "edgecolor": dark, "hatch": "/////", "linewidth": 0.6}
    patches = [
        Patch(label=name, facecolor=colour / 255, edgecolor=_EDGE, linewidth=0.6)
        for i, (name, colour) in enumerate(zip(names, colours))
        if i != ignore
    ]
    if ignore < len(names):
        return [*patches, Patch(label=f"{names[ignore]} (ignored)", **ignored)]
    if any((mask == ignore).any() for mask in masks.values()):
        return [*patches, Patch(label="ignored", **ignored)]
    return patches
