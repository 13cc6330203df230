"""A table of runs: every row of a config's sweep for every seed, and what came of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcv.config import require
from jaxcv.errors import ConfigError, UserError
from jaxcv.report import sweeps
from jaxcv.run import train
from jaxcv.store.folder import Folder
from jaxcv.store.stop import never


def run(config: Any, workdir: Path, *, should_stop: Callable[[], bool] = never) -> None:
    """Runs what is not finished yet, row by row and seed by seed, and writes the table after each row.

    A run that fails is told and left out, the others go on; UserError at the end names it. should_stop: whether to
    stop, with the run at hand.
    """
    require(config, "sweep.rows", "sweep.seeds", "sweep.metrics", "sweep.reference")
    rows, seeds = config.sweep.rows, config.sweep.seeds
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names) or not all(names):
        raise ConfigError(f"config.sweep.rows must have a name each, all different, not {names}.")
    configs = {(row["name"], seed): resolve(config, row, seed) for row in rows for seed in seeds}
    failed = []
    for name in names:
        for seed in seeds:
            folder = Folder(workdir / name / str(seed))
            if folder.read_result():
                continue
            print(f"--- {name}, seed {seed}: {folder}", flush=True)
            try:
                finished = train.run(configs[name, seed], folder.path, should_stop=should_stop)
            except UserError as error:
                print(f"error: {name}, seed {seed}: {error}", flush=True)
                failed.append(f"{name}/{seed}")
                continue
            if not finished:  # a signal: the run has said how to go on, which is the sweep's own command
                return
            jax.clear_caches()  # the next run is another program
        write(config, workdir)
    if failed:
        raise UserError(f"{len(failed)} of {len(configs)} runs failed: {', '.join(failed)}; the table lacks them.")


def resolve(config: Any, row: Any, seed: int) -> ConfigDict:
    """The config of one run. ConfigError for a key that the sweep sets and the config does not have."""
    one = ConfigDict({name: value for name, value in config.items() if name != "sweep"}).copy_and_resolve_references()
    one.lock()
    try:
        one.update(row["set"])
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"config.sweep: the row {row['name']!r} cannot be set: {error}") from None
    one.seed = seed
    return one


def write(config: Any, workdir: Path) -> None:
    """Writes tables and figures of the runs that are finished."""
    sweep = config.sweep
    folders = {row["name"]: [Folder(workdir / row["name"] / str(seed)) for seed in sweep.seeds] for row in sweep.rows}
    finished = {name: [folder for folder in row if folder.read_result()] for name, row in folders.items()}
    results = {
        name: [{**folder.read_result(), "arrays": folder.read_result_arrays()} for folder in row]
        for name, row in finished.items()
    }
    classes = next((result["classes"] for runs in results.values() for result in runs), [])
    sweeps.write(workdir, results, metrics=sweep.metrics, reference=dict(sweep.reference), classes=classes)

    metric = f"val/{sweep.metrics[0].partition('/')[2]}"
    evaluated = {name: [_by_epoch(folder, metric) for folder in row] for name, row in finished.items()}
    sweeps.write_epochs(workdir, evaluated, metric=metric, epochs=sweep.get("epochs", ()))


def _by_epoch(folder: Folder, metric: str) -> dict[float, float]:
    """Epoch -> the metric, at each evaluation of a run."""
    per_epoch = folder.read_manifest()["steps_per_epoch"]
    return {row["step"] / per_epoch: row[metric] for row in folder.read_metrics() if metric in row}
