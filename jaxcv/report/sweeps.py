"""Tables and figures of a sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcv.report import figures, style
from jaxcv.report.tables import lower_is_better, to_csv, to_latex, to_markdown
from jaxcv.store.files import write_atomic


def write(
    folder: Path,
    results: Mapping[str, Sequence[Mapping]],
    *,
    metrics: Sequence[str],
    reference: Mapping[str, float],
    classes: Sequence[str],
) -> None:
    """Writes table.md, table.csv and table.tex, a row for each row of the sweep, and the bar charts.

    results: row -> a mapping for each seed, with "values" ("split/name" -> number) and "arrays".  metrics: the columns;
    reference: row -> what to compare the first of them with.  The IoU of each class, or else its accuracy, in the first
    metric's split are columns too, where there are any.
    """
    first, split = metrics[0], metrics[0].split("/")[0]
    segmented = any(f"{split}/class_iou" in run["arrays"] for runs in results.values() for run in runs)
    measure = "iou" if segmented else "accuracy"
    per_class = {
        row: [run["arrays"][key] for run in runs if (key := f"{split}/class_{measure}") in run["arrays"]]
        for row, runs in results.items()
    }
    rows = []
    for name, runs in results.items():
        row = {"row": name} | {metric: [run["values"][metric] for run in runs] for metric in metrics}
        if reference:
            row[f"reference {first}"] = reference.get(name)
        for i, label in enumerate(classes if any(per_class.values()) else ()):
            row[f"{style.words(measure)} of {label}"] = [values[i] for values in per_class[name]]
        rows.append(row)
    best = {metric: min if lower_is_better(metric) else max for metric in metrics}
    write_atomic(folder / "table.md", to_markdown(rows, best=best).encode())
    write_atomic(folder / "table.tex", to_latex(rows, best=best).encode())
    write_atomic(folder / "table.csv", to_csv(rows).encode())
    for metric in metrics:
        values = {name: [run["values"][metric] for run in runs] for name, runs in results.items()}
        file = folder / f"{metric.replace('/', '_')}.png"
        figures.sweep_bars(values, file, metric=metric, references=reference if metric == first else None)
    finished = {name: np.stack(values) for name, values in per_class.items() if values}
    if finished:
        figures.group_bars(finished, folder / f"class_{measure}.png", groups=classes, metric=measure)


def write_epochs(
    folder: Path,
    evaluated: Mapping[str, Sequence[Mapping[float, float]]],
    *,
    metric: str,
    epochs: Sequence[int],
) -> None:
    """Draws the metric over the epoch, the mean over seeds; writes epochs.md, .csv and .tex with a column for each of
    `epochs`.

    evaluated: row -> a mapping for each seed, epoch -> metric, of all its evaluations.
    """
    shared = {name: sorted(set.intersection(*map(set, runs))) for name, runs in evaluated.items() if runs}
    curves = {
        name: (np.array(at), np.array([np.mean([run[n] for run in evaluated[name]]) for n in at]))
        for name, at in shared.items()
    }
    if any(len(at) for at, _ in curves.values()):
        figures.compare_runs(curves, folder / "curves.png", metric=metric, over="epoch")
    if epochs:
        rows = [
            {"row": name} | {f"{metric}, epoch {n}": [run[n] for run in runs if n in run] for n in epochs}
            for name, runs in evaluated.items()
        ]
        write_atomic(folder / "epochs.md", to_markdown(rows).encode())
        write_atomic(folder / "epochs.tex", to_latex(rows).encode())
        write_atomic(folder / "epochs.csv", to_csv(rows).encode())
