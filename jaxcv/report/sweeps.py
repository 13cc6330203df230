"""Tables and figures of a sweep."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcv.report import figures, style
from jaxcv.report.tables import Cell, Row, lower_is_better, to_csv, to_latex, to_markdown
from jaxcv.store.files import write_atomic


def write(
    results: Mapping[str, Sequence[Mapping]],
    folder: Path,
    *,
    metrics: Sequence[str],
    reference: Mapping[str, float],
    classes: Sequence[str],
) -> None:
    """Writes table.md, table.csv and table.tex, which have a row for each row of the sweep, and the bar charts.

    results: row -> a mapping for each seed, with "values" ("split/name" -> number) and "arrays". metrics: the columns.
    reference: row -> what to compare the first of them with. The IoU of each class, or else its accuracy, in the first
    metric's split are columns too, where they were measured.
    """
    first, split = metrics[0], metrics[0].split("/")[0]
    segmented = any(f"{split}/class_iou" in run["arrays"] for runs in results.values() for run in runs)
    measure = "iou" if segmented else "accuracy"
    per_class = {
        name: [run["arrays"][key] for run in runs if (key := f"{split}/class_{measure}") in run["arrays"]]
        for name, runs in results.items()
    }
    rows = []
    for name, runs in results.items():
        row: dict[str, Cell] = {"row": name}
        row |= {metric: [run["values"][metric] for run in runs] for metric in metrics}
        if reference:
            row[f"reference {first}"] = reference.get(name)
        for i, label in enumerate(classes if any(per_class.values()) else ()):
            row[f"{style.words(measure)} of {label}"] = [values[i] for values in per_class[name]]
        rows.append(row)
    _write_table(rows, folder / "table", best={metric: min if lower_is_better(metric) else max for metric in metrics})
    for metric in metrics:
        values = {name: [run["values"][metric] for run in runs] for name, runs in results.items()}
        file = folder / f"{metric.replace('/', '_')}.png"
        figures.sweep_bars(values, file, metric=metric, references=reference if metric == first else None)
    measured = {name: np.stack(values) for name, values in per_class.items() if values}
    if measured:
        figures.group_bars(measured, folder / f"class_{measure}.png", groups=classes, metric=measure)


def write_epochs(
    evaluated: Mapping[str, Sequence[Mapping[float, float]]], folder: Path, *, metric: str, epochs: Sequence[int]
) -> None:
    """Plots the metric over the epoch, as the mean over seeds, and writes epochs.md, epochs.csv and epochs.tex with a
    column for each of `epochs`.

    evaluated: row -> a mapping for each seed, epoch -> metric.
    """
    curves = {}
    for name, runs in evaluated.items():
        if runs:
            shared = sorted(set.intersection(*map(set, runs)))
            curves[name] = np.array(shared), np.array([np.mean([run[epoch] for run in runs]) for epoch in shared])
    if any(len(shared) for shared, _ in curves.values()):
        figures.compare_runs(curves, folder / "curves.png", metric=metric, over="epoch")
    if epochs:
        rows = [
            {"row": name} | {f"{metric}, epoch {n}": [run[n] for run in runs if n in run] for n in epochs}
            for name, runs in evaluated.items()
        ]
        _write_table(rows, folder / "epochs")


def _write_table(rows: Sequence[Row], file: Path, *, best: Mapping[str, Callable] | None = None) -> None:
    write_atomic(file.with_suffix(".md"), to_markdown(rows, best=best).encode())
    write_atomic(file.with_suffix(".tex"), to_latex(rows, best=best).encode())
    write_atomic(file.with_suffix(".csv"), to_csv(rows).encode())
