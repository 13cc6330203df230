"""Line charts over the step: all metrics of a run, its schedules, one metric of several runs."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcv.errors import DataError
from jaxcv.report import style

_SPLITS = {"train": style.PALETTE[0], "val": style.PALETTE[1], "test": style.PALETTE[2]}
_LINES = ("-", "--", ":", "-.")
_PARTS = 2000  # of a series, at most


def curves(series: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path) -> None:
    """Plots the metrics of a run over the step, a panel for each metric.

    series: "split/name" -> (steps, values), as `jaxcv.store.log.Series` reads them; keys under `time/` are left out.
    A panel has a line for each split. A long series is faint, under its running mean; of a longer one than 2000 values,
    which would take seconds to draw, as many equal parts are plotted, each by its minimum and maximum and by its mean.
    """
    keys = sorted(key for key in series if not key.startswith("time/"))
    metrics: dict[str, dict[str, str]] = {}  # name -> split -> key
    for key in keys:
        split, name = key.split("/", 1) if "/" in key else ("", key)
        metrics.setdefault(name, {})[split] = key
    if not metrics:
        raise DataError(f"{path} cannot be plotted: the run has logged no metrics yet.")
    splits = sorted({split for keys in metrics.values() for split in keys}, key=_split_order)
    others = cycle(style.PALETTE[3:])
    colours = {split: _SPLITS[split] if split in _SPLITS else next(others) for split in splits}
    count = len(metrics)
    columns = 2 if count in (2, 4) else min(3, count)
    lines = -(-count // columns)
    last_step = max(1, *(int(steps.max()) for steps, _ in series.values()))
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.02, hspace=0.02)
    with style.drawing(path, 3.0 * columns + 0.4, 2.1 * lines + 0.3, layout=layout) as figure:
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes in panels[count:]:
            axes.remove()
        for name, axes in zip(sorted(metrics, key=_importance), panels):
            _step_axis(axes)
            axes.set_xlim(-0.02 * last_step, 1.02 * last_step)
            for split in sorted(metrics[name], key=_split_order):
                _line(axes, *series[metrics[name][split]], colours[split])
            if not any(np.isfinite(series[key][1]).any() for key in metrics[name].values()):
                axes.text(0.5, 0.5, "no finite value", ha="center", transform=axes.transAxes)
            style.label_metric(axes.yaxis, name)
        handles = [Line2D([], [], color=colours[split], label=split) for split in splits if split]
        if handles:
            figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.5)


def schedules(named: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path) -> None:
    """Plots schedules over the whole run, a panel each: name, such as learning_rate -> (steps, values)."""
    with style.drawing(path, 5.5, 0.5 + 1.5 * len(named)) as figure:
        panels = figure.subplots(len(named), 1, sharex=True, squeeze=False)[:, 0]
        for (name, (steps, values)), axes in zip(named.items(), panels):
            axes.plot(np.asarray(steps), np.asarray(values), color=style.PALETTE[0])
            axes.margins(x=0.01)
            axes.set_ylabel(style.words(name))
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=style.STEPS))
        _step_axis(panels[-1])
        figure.align_ylabels(panels)


def compare_runs(
    runs: Mapping[str, tuple[np.ndarray, np.ndarray]], path: str | Path, *, metric: str, over: str = "step"
) -> None:
    """Plots one metric of several runs in one panel.

    runs: name -> (steps, values), as in `curves`. metric: such as "val/accuracy". over: what the steps are.
    """
    if not any(len(steps) for steps, _ in runs.values()):
        raise DataError(f"{path} cannot be plotted: no run has logged {metric} yet.")
    with style.drawing(path, 5.5, 3.4) as figure:
        axes = figure.subplots()
        labels = [style.cut(name, 2 * style.NAME, style.LEGEND) for name in runs]
        columns = style.legend_columns(labels, 5.0, style.LEGEND)
        colours = len(style.PALETTE)
        for i, (label, (steps, values)) in enumerate(zip(labels, runs.values())):
            dash = _LINES[i // colours % len(_LINES)]
            _line(axes, np.asarray(steps), np.asarray(values), style.PALETTE[i % colours], dash=dash, label=label)
        axes.margins(x=0.02)
        style.label_metric(axes.yaxis, metric)
        _step_axis(axes)
        axes.set_xlabel(over)
        figure.legend(loc="outside upper left", ncols=columns, handlelength=2.5)


def _line(
    axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, *, dash: str = "-", label: str | None = None
) -> None:
    """Plots one series: with dots where it is short, faint under its running mean where it is long."""
    values = np.where(np.isfinite(values), values, np.nan)
    if len(values) >= 60:
        axes.plot(*_extremes(steps, values), color=colour, linewidth=0.6, alpha=0.3, linestyle=dash)
        steps, values = _means(steps), _means(values)
        values = _running_mean(values, len(values) // 20)
    marker = "o" if len(values) <= 25 else ""
    axes.plot(steps, values, color=colour, linestyle=dash, marker=marker, label=label)


def _extremes(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a series that are the least or the greatest of their part."""
    parts = _parts(values)
    first = np.arange(len(parts)) * parts.shape[1]
    least = np.where(np.isnan(parts), np.inf, parts).argmin(1)
    greatest = np.where(np.isnan(parts), -np.inf, parts).argmax(1)
    points = np.unique([first + least, first + greatest])
    return steps[points], values[points]


def _means(values: np.ndarray) -> np.ndarray:
    """The mean of the finite values in each part of a series; NaN where there is none."""
    parts = _parts(values)
    number = np.isfinite(parts).sum(1)
    return np.where(number, np.nansum(parts, 1) / np.maximum(number, 1), np.nan)


def _parts(values: np.ndarray) -> np.ndarray:
    """A series in at most `_PARTS` rows of equal length, the last one filled up with NaN."""
    length = -(-len(values) // _PARTS)
    return np.pad(values.astype(float), (0, -len(values) % length), constant_values=np.nan).reshape(-1, length)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` finite values around each; NaN where there is none."""
    window = np.ones(2 * (width // 2) + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0.0), window, mode="same")
    number = np.convolve(finite.astype(float), window, mode="same")
    return np.where(number > 0.5, total / np.maximum(number, 1.0), np.nan)


def _step_axis(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=style.STEPS, integer=True))
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
