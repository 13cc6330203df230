"""Images in rows: pixel for pixel, or scaled by whole factors, so that they show what a network sees."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcv.errors import DataError
from jaxcv.report import style

_TILE = 128  # pixels: small images are enlarged to about this, by a whole factor
_LARGEST = 256  # pixels: larger images are shrunk to at most this, by a whole factor
_GAP = 6  # pixels between tiles
_LINE = 16  # pixels for a line of text
_SIZE = 6.5  # points


def image_rows(
    rows: Mapping[str, np.ndarray], path: str | Path, *, titles: Sequence[str] | None = None, count: int = 8
) -> None:
    """Saves versions of the same images: a column for each of the first `count` images, a row for each version.

    rows: title of a row -> images (b, h, w, c), uint8 or float in [0, 1], c 1 or 3, e.g. {"image": ..., "view 1": ...};
    rows may differ in height and width. titles: of the columns, e.g. the classes.
    """
    tiles = [list(_rgb(images[:count], title)) for title, images in rows.items()]
    if len(set(map(len, tiles))) != 1:
        raise DataError(
            f"{path} needs as many images in each row as in the others, got {dict(zip(rows, map(len, tiles)))}."
        )
    _mosaic(tiles, path, labels=list(rows), titles=[(titles or ())[:count]])


def image_grid(images: np.ndarray, path: str | Path, *, titles: Sequence[str] | None = None, columns: int = 8) -> None:
    """Saves `images`, (b, h, w, c), uint8 or float in [0, 1], c 1 or 3, row by row, with their titles above them; a
    title may have several lines."""
    tiles = list(_rgb(images, "images"))
    starts = range(0, len(tiles), columns)
    _mosaic([tiles[i : i + columns] for i in starts], path, titles=[(titles or ())[i : i + columns] for i in starts])


def worst_classified(
    images: np.ndarray,
    path: str | Path,
    *,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    count: int = 24,
) -> None:
    """Saves the `count` images whose true class has the lowest probability, the lowest first; above each the true class
    -> the predicted one, with their probabilities.

    images: (n, h, w, c), uint8 or float in [0, 1]. labels: (n,) ints. probabilities: (n, classes), rows that sum to 1.
    Raises DataError where the shapes do not fit together.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.shape != (len(images), len(classes)) or labels.shape != (len(images),):
        raise DataError(
            f"{path} needs labels ({len(images)},) and probabilities ({len(images)}, {len(classes)}), "
            f"got {labels.shape} and {probabilities.shape}."
        )
    worst = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:count]
    titles = []
    for i in worst:
        # The numbers come first: it is the end of a long line that is cut.
        lines = [f"{100 * probabilities[i, k]:.0f} % {classes[k]}" for k in (labels[i], probabilities[i].argmax())]
        titles.append("\n→ ".join(lines))
    image_grid(images[worst], path, titles=titles)


def _rgb(images: np.ndarray, label: str) -> np.ndarray:
    """Images (b, h, w, c), uint8 or float in [0, 1], as uint8 (b, h, w, 3): the first three channels, or the first."""
    images = np.asarray(images)
    if images.ndim != 4 or not images.size:
        raise DataError(f"{label} has the shape {images.shape}: expected b h w c.")
    images = images[..., : 1 if images.shape[-1] < 3 else 3]  # other channels have no colour
    if np.issubdtype(images.dtype, np.floating):
        if images.min() < -0.5 or images.max() > 1.5:  # a resize may overshoot a little; this is another range
            raise DataError(f"{label} runs from {images.min():.3g} to {images.max():.3g}: expected [0, 1].")
        images = (np.nan_to_num(images.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    elif images.dtype != np.uint8:
        raise DataError(f"{label} is {images.dtype}: expected uint8, or floats in [0, 1].")
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def _fit(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) -> (H, W, 3), enlarged by repeating pixels or shrunk by averaging blocks of them: never blurred."""
    h, w, _ = image.shape
    if (k := -(-max(h, w) // _LARGEST)) > 1:
        kh, kw = min(k, h), min(k, w)
        blocks = image[: h // kh * kh, : w // kw * kw].reshape(h // kh, kh, w // kw, kw, 3)
        return blocks.mean((1, 3)).round().astype(np.uint8)
    k = max(1, round(_TILE / max(h, w)))
    return image.repeat(k, 0).repeat(k, 1)


def _mosaic(
    rows: Sequence[Sequence[np.ndarray]],
    path: str | Path,
    *,
    titles: Sequence[Sequence[str]],
    labels: Sequence[str] = (),
) -> None:
    """Saves tiles on white, pixel for pixel. labels: left of each row. titles: above the tiles of the first rows."""
    rows = [[_fit(tile) for tile in row] for row in rows]
    width = max(tile.shape[1] for row in rows for tile in row)
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    titles = [*titles, *[()] * (len(rows) - len(titles))]
    above = [_LINE * max((text.count("\n") + 1 for text in row), default=0) for row in titles]
    left = _GAP + (math.ceil(style.DPI * max(style.text_width(text, _SIZE) for text in labels)) + _GAP if labels else 0)
    canvas_w = left + max(map(len, rows)) * (width + _GAP)
    canvas_h = _GAP + sum(heights) + sum(above) + _GAP * len(rows)
    canvas = np.full((canvas_h, canvas_w, 3), 255, np.uint8)
    texts = []
    y = _GAP
    for r, row in enumerate(rows):
        y += above[r]
        for c, tile in enumerate(row):
            x = left + c * (width + _GAP) + (width - tile.shape[1]) // 2
            h, w = tile.shape[:2]
            canvas[y - 1 : y + h + 1, x - 1 : x + w + 1] = 220  # a thin frame, for tiles that are white
            canvas[y : y + h, x : x + w] = tile
        for c, title in enumerate(titles[r]):
            short = "\n".join(style.cut(line, width / style.DPI, _SIZE) for line in title.split("\n"))
            texts.append((left + c * (width + _GAP) + width / 2, y - 2, short, "center", "bottom"))
        if labels:
            texts.append((left - _GAP, y + heights[r] / 2, labels[r], "right", "center"))
        y += heights[r] + _GAP
    # Half a pixel more, so that none is lost by rounding.
    inches = ((canvas_w + 0.5) / style.DPI, (canvas_h + 0.5) / style.DPI)
    with style.drawing(path, *inches, layout=None) as figure:
        figure.figimage(canvas, 0, 0, origin="upper")
        for x, y, text, ha, va in texts:
            figure.text(x / canvas_w, 1 - y / canvas_h, text, ha=ha, va=va, font=style.font(_SIZE), linespacing=1.1)
