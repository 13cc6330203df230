"""The confusion matrix of a classifier, of images or of pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, PowerNorm
from numpy.typing import ArrayLike

from jaxcv.errors import DataError
from jaxcv.report import style
from jaxcv.report.tables import statistics


def confusion_matrix(
    counts: ArrayLike,
    path: str | Path,
    *,
    classes: Sequence[str],
    scores: Mapping[str, ArrayLike] | None = None,
    unit: str = "examples",
) -> None:
    """Plots how often each true class (row) is predicted as each class (column), as shares of the true class.

    counts: (classes, classes) numbers >= 0. The colour scale is that of the square root, so that rare confusions
    show; cells have percentages where they are large enough. A class without examples is grey. scores: columns to the
    right, e.g. {"AP": ..., "IoU": ...}, of (classes,) values in [0, 1], with their mean, which ignores NaN, below.
    unit: what is counted, e.g. "pixels".
    """
    counts, n = np.asarray(counts, float), len(classes)
    columns = {name: np.asarray(values, float) for name, values in (scores or {}).items()}
    if counts.shape != (n, n) or n < 2:
        raise DataError(f"{path} needs a matrix of {n} x {n} counts for {n} classes, at least 2, got {counts.shape}.")
    for name, column in columns.items():
        if column.shape != (n,):
            raise DataError(f"{path} needs {name} for each of the {n} classes, got {column.shape}.")
    totals = counts.sum(1, keepdims=True)
    parts = np.divide(counts, totals, out=np.full((n, n), np.nan), where=totals > 0)

    cell = np.clip(6 / n, 0.085, 0.5)  # inches
    size = min(7.0, 0.75 * 72 * cell)  # points
    names = [style.cut(name, style.NAME, size) for name in classes]
    means = {name: statistics(column[np.isfinite(column)])[0] for name, column in columns.items()}
    labels = names + [f"{name}, mean {_decimals(mean)}" for name, mean in means.items()]
    beside, longest = (max(style.text_width(text, size) for text in texts) for texts in (names, labels))
    vertical = longest > 0.9 * cell
    below = longest if vertical else size / 72
    wide = max(1, 1.3 * style.text_width("0.00", size) / cell)  # cells that a score takes
    edges = n - 0.2 + wide * np.arange(len(columns) + 1)  # of the scores, to the right of a gap
    right = edges[-1] if columns else n - 0.5
    inches = cell * (right + 0.5) + beside + 1.3, cell * n + below + 0.8
    with style.drawing(path, *inches, layout="compressed") as figure:
        axes = figure.subplots()
        cells = axes.imshow(parts, cmap=_colours("Blues"), norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
        for left, column in zip(edges, columns.values()):
            extent = left, left + wide, n - 0.5, -0.5
            axes.imshow(
                column[:, None], cmap=_colours("Greens"), vmin=0, vmax=1, extent=extent, interpolation="nearest"
            )
            for row, score in enumerate(column):
                _number(axes, left + wide / 2, row, _decimals(score), white=score > 0.6, size=min(6.5, size))
        axes.set_xlim(-0.5, right)
        axes.set_ylim(n - 0.5, -0.5)
        ticks = [*range(n), *(edges[:-1] + wide / 2)]
        axes.set_xticks(ticks, labels, fontproperties=style.font(size), rotation=90 if vertical else 0)
        axes.set_yticks(range(n), names, fontproperties=style.font(size))
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted class", x=0.5 * n / (right + 0.5))
        axes.set_ylabel("true class")
        axes.set_title(f"accuracy {100 * np.trace(counts) / max(counts.sum(), 1):.2f} % of {counts.sum():.0f} {unit}")
        ticks = [0, 0.05, 0.2, 0.5, 1]
        bar = figure.colorbar(cells, ticks=ticks, aspect=25, format=lambda part, _: f"{100 * part:.0f}")
        bar.set_label("of the true class (%)")
        bar.outline.set_visible(False)
        if style.text_width("100", 6.5) < 0.8 * cell:
            for (row, column), part in np.ndenumerate(parts):
                if part > 0:
                    percent = "<1" if part < 0.01 else f"{100 * part:.0f}"
                    _number(axes, column, row, percent, white=part > 0.4)


def _colours(name: str) -> Colormap:
    """A colour map that is grey for NaN."""
    return colormaps[name].with_extremes(bad="#bbbbbb")


def _number(axes: Axes, x: float, y: float, text: str, *, white: bool, size: float = 6.5) -> None:
    axes.text(x, y, text, ha="center", va="center", color="white" if white else "black", size=size)


def _decimals(score: float) -> str:
    return f"{score:.2f}" if np.isfinite(score) else "–"
