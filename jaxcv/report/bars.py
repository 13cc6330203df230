"""Bar charts: a value for each class, for each row of a sweep, and for each class in each row."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from jaxcv.errors import DataError
from jaxcv.report import style
from jaxcv.report.tables import format_value, statistics

_BARS = 60  # side by side at most
_HATCHES = ("", "////", "....")  # for rows of the same colour


def class_bars(values: ArrayLike, path: str | Path, *, classes: Sequence[str], metric: str = "accuracy") -> None:
    """Plots a bar for each class, in the order given, and a line at their mean.

    values: (classes,) values of `metric` in [0, 1]; NaN for a class without examples.
    """
    values = np.asarray(values, float)
    if values.shape != (len(classes),) or not len(classes):
        raise DataError(f"{path} needs a value for each of the {len(classes)} classes, got {values.shape}.")
    mean, _, _ = statistics(values[np.isfinite(values)])
    columns = min(3, -(-len(classes) // 25))
    lines = -(-len(classes) // columns)
    with style.drawing(path, 1.5 + 2.2 * columns, 0.8 + 0.16 * lines) as figure:
        for c, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
            part = slice(c * lines, (c + 1) * lines)
            _bars(axes, classes[part], values[part], [_short(metric, value) for value in values[part]])
            axes.axvline(mean, color=style.PALETTE[1], linestyle="--", label=f"mean {_short(metric, mean)}")
            axes.set_ylim(lines - 0.5, -0.5)
            axes.set_xlim(0, 1)
            style.label_metric(axes.xaxis, metric)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left")


def sweep_bars(
    values: Mapping[str, Sequence[float | None]],
    path: str | Path,
    *,
    metric: str,
    references: Mapping[str, float] | None = None,
) -> None:
    """Plots for each row of a sweep the mean over its seeds, their sample standard deviation, and a dot for each seed.

    values: row -> the metric of each seed, >= 0; empty for a row that has not run. references: row -> the value to
    compare it with, such as a paper's; those of unknown rows are ignored.
    """
    if not values:
        raise DataError(f"{path} cannot be plotted: the sweep has no rows.")
    names, texts = list(values), [format_value(metric, seeds) for seeds in values.values()]
    means, deviations = _means_and_deviations(values.values())
    with style.drawing(path, 5.5, 0.8 + 0.27 * len(values)) as figure:
        axes = figure.subplots()
        _bars(axes, names, means, texts)
        axes.errorbar(means, range(len(names)), xerr=deviations, fmt="none", ecolor="black", elinewidth=1, capsize=2.5)
        # Below the middle of the bar, where the error bar is.
        seeds = [(value, row + 0.2) for row, name in enumerate(names) for value in values[name] if value is not None]
        axes.plot(*np.reshape(seeds, (-1, 2)).T, "o", color=style.PALETTE[0], markersize=2.5, label="one seed")
        references = references or {}
        if lines := [(references[name], row) for row, name in enumerate(names) if name in references]:
            colour = style.PALETTE[1]
            axes.plot(*np.transpose(lines), "|", color=colour, markersize=12, markeredgewidth=2, label="reference")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(left=0)
        style.label_metric(axes.xaxis, metric)
        figure.legend(loc="outside upper left", ncols=2)


def group_bars(
    values: Mapping[str, ArrayLike], path: str | Path, *, groups: Sequence[str], metric: str = "accuracy"
) -> None:
    """Plots a group of bars for each class (or other group), one bar for each row of a sweep; many in several lines.

    values: row -> (groups,) values, or (seeds, groups), shown as mean and sample standard deviation.
    """
    rows = {name: np.atleast_2d(np.asarray(row, float)) for name, row in values.items()}
    if not rows or not len(groups) or any(row.shape[1:] != (len(groups),) for row in rows.values()):
        shapes = {name: row.shape for name, row in rows.items()}
        raise DataError(f"{path} needs (seeds, {len(groups)}) values for each row, got {shapes}.")
    lines = -(-len(groups) * len(rows) // _BARS)
    per_line = -(-len(groups) // lines)
    width = 0.8 / len(rows)
    colours = len(style.PALETTE)
    names = [style.cut(name, style.NAME, style.SMALL) for name in groups]
    labels = [style.cut(name, 2 * style.NAME, style.LEGEND) for name in rows]
    tallest = max(style.text_width(name, style.SMALL) for name in names)
    with style.drawing(path, 7.0, 0.3 + lines * (1.6 + tallest)) as figure:
        for line, axes in enumerate(figure.subplots(lines, 1, sharey=True, squeeze=False)[:, 0]):
            part = range(line * per_line, min((line + 1) * per_line, len(groups)))
            for i, (label, row) in enumerate(zip(labels, rows.values())):
                means, deviations = _means_and_deviations(row[:, part].T)
                axes.bar(
                    np.arange(len(part)) + (i - (len(rows) - 1) / 2) * width,
                    means,
                    width,
                    yerr=deviations,
                    error_kw={"elinewidth": 0.8},
                    color=style.PALETTE[i % colours],
                    hatch=_HATCHES[i // colours % len(_HATCHES)],
                    edgecolor="white",
                    linewidth=0,
                    label=label,
                )
            vertical = tallest > 6.0 / per_line
            axes.set_xticks(range(len(part)), [names[group] for group in part], fontproperties=style.font(style.SMALL))
            axes.tick_params(axis="x", length=0, rotation=90 if vertical else 0)
            axes.grid(axis="x", visible=False)
            axes.set_xlim(-0.6, per_line - 0.4)
            style.label_metric(axes.yaxis, metric)
        columns = style.legend_columns(labels, 6.5, style.LEGEND)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=columns)


def _means_and_deviations(rows: Iterable[Sequence[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Over the seeds of each row; NaN, which is not plotted, where there is none."""
    means, deviations, _ = np.transpose([statistics(seeds) for seeds in rows])
    return np.where(np.isfinite(means), means, np.nan), deviations


def _bars(axes: Axes, names: Sequence[str], values: np.ndarray, texts: Sequence[str]) -> None:
    """Horizontal bars, each with its name to the left and its value as text to the right."""
    axes.barh(range(len(names)), values, color=style.PALETTE[4], height=0.7)
    axes.set_yticks(range(len(names)), [style.cut(name, style.NAME, style.SMALL) for name in names])
    axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
    axes.grid(axis="y", visible=False)
    for row, text in enumerate(texts):
        edge = ("axes fraction", "data")
        axes.annotate(text, (1, row), (4, 0), xycoords=edge, textcoords="offset points", va="center", size=style.SMALL)


def _short(metric: str, value: float) -> str:
    """The text beside a bar; the axis says whether it is in percent."""
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if "accuracy" in metric else f"{value:.3f}"
