"""How a run ends: the state that is reported meets the test split, once; figures, table, result.json."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.config import load_part
from jaxcv.experiment import Experiment
from jaxcv.report import figures
from jaxcv.report.tables import closing_table
from jaxcv.run.begin import frozen_digest
from jaxcv.run.resume import read_result
from jaxcv.step import TrainState
from jaxcv.store.checkpoint import Checkpoints
from jaxcv.store.log import read_arrays, read_metrics, write_arrays, write_json
from jaxcv.store.processes import broadcast_from_first, is_first, wait


def finish(
    config: Any,
    workdir: Path,
    experiment: Experiment,
    checkpoints: Checkpoints,
    evaluate: Callable,
    examples: Callable,
    state: TrainState,
) -> dict[str, float]:
    """Evaluates the best state, or the last, on the test split, once; keeps, draws and prints the results."""
    last = int(state.step)
    if broadcast_from_first(read_result(workdir, last) is None):
        reported = last
        if config.eval.report == "best":
            otherwise = "the last state is reported, because no other has a score"
            best = checkpoints.restore(checkpoints.best, experiment.abstract, otherwise=otherwise)
            reported, state = best or (last, state)
        values, arrays = evaluate(state, ("test",))
        predictions = examples(state)
        if is_first():
            write_arrays(workdir / "examples" / f"{reported}.npz", predictions)
            write_arrays(workdir / "result.npz", arrays)
            result = {"step": last, "reported_step": reported, "values": values}
            _write_result(config, workdir, experiment, state, result)
    wait("the result is written")
    result = read_result(workdir, last)
    if is_first():
        _draw_end(config, workdir, experiment, result["reported_step"])
        _report(workdir, experiment, result)
    wait("the run is reported")
    return result["values"]


def _write_result(config: Any, workdir: Path, experiment: Experiment, state: TrainState, result: dict) -> None:
    """Writes result.json: `result`, what the validation split said of the state, and what else is known of it."""
    rows = read_metrics(workdir)
    known = next(row for row in rows if row["step"] == result["reported_step"] and evaluated(row))
    result["values"] |= {name: value for name, value in known.items() if name.startswith("val/")}
    result["classes"] = list(experiment.sources["train"].info.classes)
    if frozen := frozen_digest(config, state):
        before = json.loads((workdir / "manifest.json").read_text())["frozen_sha256"]
        print(f"Frozen parameters: sha256 {frozen}, {'as' if frozen == before else 'NOT as'} at the start")
        result["frozen_sha256"] = frozen
    write_json(workdir / "result.json", result)


def evaluated(row: Mapping[str, float]) -> bool:
    """Whether a line of the log is that of an evaluation."""
    return any(name.startswith("val/") for name in row)


def draw_curves(workdir: Path) -> None:
    """Draws what is logged so far. Raises DataError where nothing is."""
    figures.curves(read_metrics(workdir), workdir / "figures" / "curves.png")


def _draw_end(config: Any, workdir: Path, experiment: Experiment, reported: int) -> None:
    """Draws the curves, and what the task's report has to show of its results up to the step that is reported."""
    draw_curves(workdir)
    source = experiment.examples
    batch = [source[i] for i in range(len(source))]
    files = [file for file in (workdir / "examples").glob("*.npz") if int(file.stem) <= reported]
    load_part("report", config.task.name, "draw", group="task").draw(
        workdir / "figures",
        info=source.info,
        names=source.names,
        arrays=read_arrays(workdir / "result.npz"),
        examples={int(file.stem): read_arrays(file) for file in files},
        batch={name: np.stack([example[name] for example in batch]) for name in batch[0]},
    )


def _report(workdir: Path, experiment: Experiment, result: dict) -> None:
    """Prints what came out beside what the untrained network gives, and chance."""
    untrained = next((row for row in read_metrics(workdir) if row["step"] == 0), {})
    chance = 1 / len(experiment.sources["train"].info.classes)
    table = {}
    for name, value in result["values"].items():
        table[name] = {"trained": value, "at initialisation": untrained.get(name)}
        if name.endswith("accuracy"):
            table[name]["chance"] = min(5 * chance, 1.0) if "top5" in name else chance
    title = f"{workdir}: {result['step']} steps"
    if result["reported_step"] != result["step"]:
        title += f", the best after {result['reported_step']}"
    closing_table(title, table)
