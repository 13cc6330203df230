"""A sweep: a run for every row of config.sweep and every seed, and the table of their results."""

import json
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import jax
from ml_collections import ConfigDict

from jaxcv.config import HARMLESS, changes, require
from jaxcv.errors import ConfigError, UserError
from jaxcv.report import sweeps
from jaxcv.run import train
from jaxcv.store.folder import Folder
from jaxcv.store.stop import never


def run(config: ConfigDict, workdir: Path, *, should_stop: Callable[[], bool] = never) -> None:
    """Trains the runs that are not finished, row by row and seed by seed, and writes the table after each row.

    should_stop: whether to stop. Raises UserError at the start if a run in `workdir` is of another config, and at the
    end if runs have failed; the others are finished first.
    """
    require(config, "sweep.rows", "sweep.seeds", "sweep.metrics", "sweep.reference")
    rows, seeds = config.sweep.rows, config.sweep.seeds
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names) or not all(names):
        raise ConfigError(f"config.sweep.rows must have names, all different, not {names}.")
    configs = {(row["name"], seed): resolve(config, row, seed) for row in rows for seed in seeds}
    refuse_stale({Folder(workdir / name / str(seed)): one for (name, seed), one in configs.items()})
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
            if not finished:  # stopped by a signal; the run has printed the command that resumes the sweep
                return
            jax.clear_caches()  # the next run is another program
        write(config, workdir)
    if failed:
        raise UserError(f"{len(failed)} of {len(configs)} runs failed: {', '.join(failed)}; the table lacks them.")


def resolve(config: ConfigDict, row: ConfigDict, seed: int) -> ConfigDict:
    """The config of one run. Raises ConfigError for a key that the row sets and the config does not have."""
    resolved = ConfigDict({name: value for name, value in config.items() if name != "sweep"})
    resolved = resolved.copy_and_resolve_references().lock()
    try:
        resolved.update(row["set"])
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"config.sweep: the row {row['name']!r} cannot be set: {error}") from None
    resolved.seed = seed
    return resolved


def refuse_stale(configs: Mapping[Folder, ConfigDict]) -> None:
    """Raises UserError if a folder holds a run of another config than its own, but for keys that change no result."""
    stale = {}
    for folder, config in configs.items():
        if folder.config.exists() or folder.read_result():
            stale[folder] = changes(folder.read_config(), json.loads(config.to_json()), but=HARMLESS)
    stale = {folder: lines for folder, lines in stale.items() if lines}
    if stale:
        folder, (line, *more) = next(iter(stale.items()))
        differs = f"{line} and {len(more)} more" if more else line
        raise UserError(
            f"{folder} holds a run of another config ({differs}); name another --workdir, or delete what is stale to "
            f"train it again: {', '.join(map(str, stale))}."
        )


def write(config: ConfigDict, workdir: Path) -> None:
    """Writes tables and figures of the finished runs."""
    sweep = config.sweep
    metric = f"val/{sweep.metrics[0].partition('/')[2]}"
    results: dict[str, list[dict]] = {row["name"]: [] for row in sweep.rows}
    evaluated: dict[str, list[dict[float, float]]] = {name: [] for name in results}
    for name, seed in product(results, sweep.seeds):
        folder = Folder(workdir / name / str(seed))
        if result := folder.read_result():
            results[name].append(result | {"arrays": folder.read_result_arrays()})
            evaluated[name].append(_by_epoch(folder, metric))
    if not any(results.values()):
        return  # all were refused, and a refused run leaves nothing
    classes: list[str] = next((result["classes"] for runs in results.values() for result in runs), [])
    sweeps.write(results, workdir, metrics=sweep.metrics, reference=dict(sweep.reference), classes=classes)
    sweeps.write_epochs(evaluated, workdir, metric=metric, epochs=sweep.get("epochs", ()))


def _by_epoch(folder: Folder, metric: str) -> dict[float, float]:
    """Epoch -> the metric, for each evaluation of a run."""
    per_epoch = folder.read_manifest()["steps_per_epoch"]
    return {row["step"] / per_epoch: row[metric] for row in folder.read_metrics() if metric in row}
