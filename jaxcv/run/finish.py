"""How a run ends: one state is evaluated on the test split, once; result.json, figures and a table report it."""

from collections.abc import Mapping

import numpy as np

from jaxcv.data.source import names_of
from jaxcv.measure.metrics import majority
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.report.tables import closing_table
from jaxcv.run.begin import frozen_digest
from jaxcv.run.evaluate import Evaluation
from jaxcv.run.run import Run
from jaxcv.step import TrainState
from jaxcv.store.folder import Folder
from jaxcv.store.log import Series
from jaxcv.store.processes import broadcast_from_first, is_first, wait


def finish(run: Run, evaluation: Evaluation, state: TrainState) -> dict[str, float]:
    """Evaluates the best state, or the last, on the test split, once; saves, plots and prints the results."""
    last, folder = int(state.step), run.folder
    if broadcast_from_first(folder.read_result(last) is None):
        reported = last
        if run.experiment.settings.eval.report == "best":
            otherwise = "the last state is reported, since no other has a score"
            best = run.checkpoints.restore(run.checkpoints.best, run.experiment.compiled.abstract, otherwise=otherwise)
            reported, state = best or (last, state)
        values, arrays = evaluation.evaluate(state, ("test",), run.experiment.evaluators)
        predictions = evaluation.predict(state)
        if is_first():
            folder.write_examples(reported, predictions)
            folder.write_result(_result(run, state, last, reported, values), arrays)
    wait("the result is written")
    result = folder.read_result(last)
    assert result is not None, f"{folder.result} was written, and is not there"
    if is_first():
        _plot_end(run, result["reported_step"])
        _print_table(run, result)
    wait("the run is reported")
    return result["values"]


def _result(run: Run, state: TrainState, last: int, reported: int, values: Mapping[str, float]) -> dict:
    """What result.json holds: `values` of the test split, the logged ones of the validation split, and the classes."""
    row = next(row for row in run.folder.read_evaluations() if row["step"] == reported)
    values = {**values, **{name: value for name, value in row.items() if name.startswith("val/")}}
    classes = list(run.experiment.info.classes)
    result = {"step": last, "reported_step": reported, "values": values, "classes": classes}
    if frozen := frozen_digest(run.experiment, state):
        before = run.folder.read_manifest()["frozen_sha256"]
        print(f"Frozen parameters: sha256 {frozen}, {'as' if frozen == before else 'NOT as'} at the start")
        result["frozen_sha256"] = frozen
    return result


def draw_curves(folder: Folder, series: Series) -> None:
    """Plots the log, `series` of `folder`. Raises DataError where it is empty."""
    figures.curves(series.read(), folder.figures / "curves.png")


def _plot_end(run: Run, reported: int) -> None:
    """Plots the curves, and the task's own figures up to the step that is reported."""
    draw_curves(run.folder, run.folder.series())
    draw, source = run.experiment.task.draw, run.experiment.data.examples
    if draw is None:
        return
    batch = [source[i] for i in range(len(source))]
    results = Results(
        info=source.info,
        names=names_of(source),
        batch={name: np.stack([example[name] for example in batch]) for name in batch[0]},
        predictions=run.folder.read_examples(last=reported),
        arrays=run.folder.read_result_arrays(),
    )
    draw(results, run.folder.figures)


def _print_table(run: Run, result: Mapping) -> None:
    """Prints the results beside those of the untrained network, and of chance."""
    untrained = next((row for row in run.folder.read_evaluations() if row["step"] == 0), {})
    title = f"{run.folder}: {result['step']} steps"
    if result["reported_step"] != result["step"]:
        title += f", the best after {result['reported_step']}"
    if scratch := run.folder.read_manifest().get("from_scratch"):
        title += f"; {scratch}"
    values, sources = result["values"], run.experiment.data.sources
    if sources["val"].info.fingerprint == sources["test"].info.fingerprint:
        title += "; val and test are the same images, shown as test"
        values = {name: value for name, value in values.items() if name.startswith("test/")}
    own = {name.removesuffix("_chance"): value for name, value in values.items() if name.endswith("_chance")}
    values = {name: value for name, value in values.items() if not name.endswith("_chance")}
    table = {name: {"trained": value, "at initialisation": untrained.get(name)} for name, value in values.items()}
    for name, value in {**_chance(run, values), **own}.items():
        table[name]["chance"] = value
    closing_table(title, table)


def _chance(run: Run, values: Mapping[str, float]) -> dict[str, float]:
    """What guessing gives, as the parts say; of pixels, always the training split's most frequent class."""
    classes, known = run.experiment.info.classes, run.experiment.chance
    chance = {name: known[metric] for name in values if (metric := name.partition("/")[2]) in known}
    pixels = run.folder.read_manifest().get("data_report", {}).get("train", {}).get("classes", {})
    confusion = run.folder.read_result_arrays().get("test/confusion")
    if run.experiment.info.palette and pixels and confusion is not None:
        most = max(range(len(classes)), key=lambda i: pixels[classes[i]])
        always = {f"test/{name}": value for name, value in majority(confusion, most).items()}
        chance |= {name: value for name, value in always.items() if name in values}
    return chance
