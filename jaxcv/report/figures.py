"""Figures for a report, one style for all. The same numbers give the same bytes: no times or versions in a
file."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcv.errors import DataError
from jaxcv.report.log import series, write_atomic

# Okabe & Ito, "Color Universal Design": told apart with any common colour blindness; without their yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_SPLITS = {"train": PALETTE[0], "val": PALETTE[1], "test": PALETTE[2]}
_LINES = ("-", "--", ":", "-.")
_DPI = 150
_STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten
_STYLE = {
    "font.size": 8,
    "text.parse_math": False,  # a "$" in a class name is a "$"
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}


def curves(
    rows: Sequence[Mapping[str, float]],
    path: str | Path,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Draw the metrics of a run (the rows of `read_metrics`) over the step, one panel for each metric's name.

    The splits of a metric (the part of its key before the first slash) share its panel; a dense series is
    drawn faintly under its running mean. groups: title -> names of metrics that share one panel, which must
    share a scale, e.g. {"health": ("feature_std", "online_target_cosine", "tau")}. Keys under `time/` are
    left out.
    """
    keys = sorted({key for row in rows for key in row if key != "step" and not key.startswith("time/")})
    named: dict[str, dict[str, str]] = {}  # name -> split -> key
    for key in keys:
        split, name = key.split("/", 1) if "/" in key else ("", key)
        named.setdefault(name, {})[split] = key
    if not named:
        raise DataError(f"{path} cannot be drawn: the run has logged no metrics yet.")
    groups = {title: [name for name in names if name in named] for title, names in (groups or {}).items()}
    groups = {title: names for title, names in groups.items() if names}
    grouped = {name for names in groups.values() for name in names}
    singles = sorted((name for name in named if name not in grouped), key=_importance)

    with _style():
        figure, panels = _grid(len(singles) + len(groups), last_step=max(row["step"] for row in rows))
        colours = dict(_SPLITS)
        others = cycle(PALETTE[3:])
        shown = {}
        for name, axes in zip(singles, panels):
            for split in sorted(named[name], key=_split_order):
                colour = colours[split] if split in colours else colours.setdefault(split, next(others))
                _line(axes, *series(rows, named[name][split]), colour)
                shown[split] = Line2D([], [], color=colour, label=split)
            _label(axes, name)
        for (title, names), axes in zip(groups.items(), panels[len(singles) :]):
            for name, colour in zip(names, cycle(PALETTE)):
                for split, style in zip(sorted(named[name], key=_split_order), cycle(_LINES)):
                    label = _words(name) if len(named[name]) == 1 else f"{_words(name)} ({split})"
                    _line(axes, *series(rows, named[name][split]), colour, style=style, label=label)
            _label(axes, title)
            axes.legend(loc="best")
        handles = [shown[split] for split in sorted(shown, key=_split_order) if split]
        if handles:
            figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.5)
        _save(figure, path)


def schedules(named: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path) -> None:
    """Draw schedules over the whole run, one under the other: name -> (steps, values), e.g. the learning
    rate."""
    with _style():
        figure = Figure(figsize=(5.5, 0.5 + 1.5 * len(named)), dpi=_DPI, layout="constrained")
        panels = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
        for (name, (steps, values)), axes in zip(named.items(), panels):
            axes.plot(np.asarray(steps), np.asarray(values), color=PALETTE[0])
            axes.margins(x=0.01)
            axes.set_ylabel(_words(name))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=_STEPS))
        _step_axis(panels[-1])
        figure.align_ylabels(panels)
        _save(figure, path)


def view_pairs(
    pairs: Sequence[np.ndarray], path: str | Path, *, titles: Sequence[str] | None = None, count: int = 8
) -> None:
    """Show what a model sees: a column for each of the first `count` images, a row for each version of them.

    pairs: (view 1, view 2) or (original, view 1, view 2), each b h w c, uint8 or float in [0, 1], c 1 or 3;
    heights and widths may differ between the rows. titles: one for each column, e.g. the class.
    """
    labels = {2: ("view 1", "view 2"), 3: ("original", "view 1", "view 2")}.get(len(pairs))
    if labels is None:
        raise DataError(f"{path} needs 2 arrays (view 1, view 2) or 3 (original first), got {len(pairs)}.")
    rows = [list(_rgb(images[:count], label)) for images, label in zip(pairs, labels)]
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"{path} needs as many images in each row, got {[len(row) for row in rows]}.")
    _mosaic(rows, path, labels=labels, titles=[list(titles)[:count]] if titles is not None else None)


def image_grid(images: np.ndarray, path: str | Path, *, titles: Sequence[str] | None = None, columns: int = 8) -> None:
    """Show all `images` (b h w c, uint8 or float in [0, 1], c 1 or 3) row by row, each with its title above
    it; a title may have several lines."""
    tiles = list(_rgb(images, "images"))
    starts = range(0, len(tiles), columns)
    above = [list(titles)[i : i + columns] for i in starts] if titles is not None else None
    _mosaic([tiles[i : i + columns] for i in starts], path, titles=above)


@contextmanager
def _style() -> Iterator[None]:
    """Our style over matplotlib's own defaults, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def _save(figure: Figure, path: str | Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def _grid(count: int, *, last_step: int) -> tuple[Figure, list[Axes]]:
    columns = 2 if count in (2, 4) else min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.0 * columns + 0.4, 2.1 * rows + 0.3), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    for axes in panels[:count]:
        _step_axis(axes)
        margin = 0.02 * max(last_step, 1)
        axes.set_xlim(-margin, max(last_step, 1) + margin)
    return figure, panels[:count]


def _line(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, *, style="-", label=None) -> None:
    """One series: dots where there are few values, a faint line under its running mean where there are
    many."""
    values = np.where(np.isfinite(values), values, np.nan)
    if len(values) >= 60:
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3, linestyle=style)
        values = _running_mean(values, len(values) // 20)
    marker = "o" if len(values) <= 25 else ""
    axes.plot(steps, values, color=colour, linestyle=style, marker=marker, label=label)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` finite values around each; nan where there is none."""
    window = np.ones(2 * (width // 2) + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0.0), window, mode="same")
    number = np.convolve(finite.astype(float), window, mode="same")
    return np.where(number > 0.5, total / np.maximum(number, 1.0), np.nan)


def _label(axes: Axes, name: str) -> None:
    if "accuracy" in name:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
        axes.set_ylabel(f"{_words(name)} (%)")
    else:
        axes.set_ylabel(_words(name))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))


def _words(name: str) -> str:
    return " ".join("IoU" if word == "iou" else word for word in name.split("_"))


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _thousands(step)))


def _thousands(step: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= 10 * size or (abs(step) >= size and step % size == 0):
            return f"{step / size:g}{unit}"
    return f"{step:g}"


def _importance(name: str) -> tuple[int, str]:
    return (0 if name == "loss" else 1 if "accuracy" in name or "iou" in name else 2, name)


def _split_order(split: str) -> tuple[int, str]:
    return (list(_SPLITS).index(split) if split in _SPLITS else len(_SPLITS), split)


def _rgb(images: np.ndarray, label: str) -> np.ndarray:
    """b h w c images, uint8 or float in [0, 1], as uint8 b h w 3."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise DataError(f"{label} has the shape {images.shape}: expected b h w c with 1 or 3 channels.")
    if np.issubdtype(images.dtype, np.floating):
        if images.min() < -0.5 or images.max() > 1.5:  # a resize may overshoot a little; this is another range
            raise DataError(f"{label} runs from {images.min():.3g} to {images.max():.3g}: expected [0, 1].")
        images = (np.nan_to_num(images.astype(np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    elif images.dtype != np.uint8:
        raise DataError(f"{label} is {images.dtype}: expected uint8, or floats in [0, 1].")
    return np.broadcast_to(images, (*images.shape[:-1], 3))


_TILE = 128  # pixels: small images are enlarged to about this, by a whole factor
_LARGEST = 256  # pixels: larger images are shrunk to at most this, by a whole factor
_GAP = 6  # pixels between tiles
_LINE = 16  # pixels for a line of text
_FONT = FontProperties(family="DejaVu Sans", size=6.5)


def _fit(image: np.ndarray) -> np.ndarray:
    """Enlarged by repeating pixels, or shrunk by averaging blocks of them: never blurred. h w 3 -> H W 3"""
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
    labels: Sequence[str] | None = None,
    titles: Sequence[Sequence[str]] | None = None,
) -> None:
    """Tiles on white, pixel for pixel. labels: left of each row. titles: above the tiles of the first
    rows."""
    rows = [[_fit(tile) for tile in row] for row in rows]
    width = max(tile.shape[1] for row in rows for tile in row)
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    titles = [*(titles or []), *([[]] * len(rows))][: len(rows)]
    above = [_LINE * max((text.count("\n") + 1 for text in row), default=0) for row in titles]
    left = _GAP + (math.ceil(max(map(_text_width, labels))) + _GAP if labels else 0)
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
            canvas[y - 1 : y + h + 1, x - 1 : x + w + 1] = 220  # a hairline, for tiles that are white
            canvas[y : y + h, x : x + w] = tile
        for c, title in enumerate(titles[r]):
            short = "\n".join(_cut(line, width) for line in title.split("\n"))
            texts.append((left + c * (width + _GAP) + width / 2, y - 2, short, "center", "bottom"))
        if labels:
            texts.append((left - _GAP, y + heights[r] / 2, labels[r], "right", "center"))
        y += heights[r] + _GAP
    with _style():
        # Half a pixel more, so that rounding to whole pixels cannot lose one.
        figure = Figure(figsize=((canvas_w + 0.5) / _DPI, (canvas_h + 0.5) / _DPI), dpi=_DPI)
        figure.figimage(canvas, 0, 0, origin="upper")
        for x, y, text, ha, va in texts:
            figure.text(x / canvas_w, 1 - y / canvas_h, text, ha=ha, va=va, font=_FONT, linespacing=1.1)
        _save(figure, path)


def _text_width(text: str) -> float:
    """Pixels of a line of text."""
    return RendererAgg(1, 1, _DPI).get_text_width_height_descent(text, _FONT, ismath=False)[0]


def _cut(text: str, width: float) -> str:
    """`text`, or as much of its start as fits into `width` pixels with an ellipsis."""
    if _text_width(text) <= width:
        return text
    length = max((n for n in range(1, len(text)) if _text_width(text[:n] + "…") <= width), default=1)
    return text[:length] + "…"
