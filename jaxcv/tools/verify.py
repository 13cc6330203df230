"""Whether this machine computes what a run has logged and saved: steps are rerun from its checkpoints, bit for bit.

Nothing is written into the workdir, and nothing in it is executed.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcv.config import changes
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, build
from jaxcv.mesh import put
from jaxcv.run.begin import describe
from jaxcv.run.pretrained import read_config
from jaxcv.run.resume import made_with
from jaxcv.store.checkpoint import read_checkpoint, record_of, steps_in
from jaxcv.store.digests import Damaged, by_name, dotted, make_record
from jaxcv.store.folder import Folder

SAME = "identical"


class Report(NamedTuple):
    """What was found."""

    rows: list[dict[str, Any]]  # a checkpoint each: {"checkpoint", "arrays", "steps compared", "outcome"}
    problems: list[str]  # empty: all is as it was
    then: dict  # versions, code and machine that the run began with
    changed: list[str]  # what differs of them now


def verify(workdir: str | Path, *, count: int) -> Report:
    """Checks every file that a run goes on from, and reruns at least `count` steps from the first, a middle and the
    last checkpoint, and as many more as it takes to meet one that was logged. Raises UserError where there is no run.
    """
    folder = Folder(workdir)
    config, manifest = read_config(folder), folder.read_manifest()
    experiment = build(config)
    now = describe(experiment, folder)
    problems = [f"data of the split {line}" for line in changes(manifest.get("data", {}), now["data"])]
    saved = steps_in(folder.checkpoints)
    if not saved:
        raise UserError(f"{folder} has no checkpoint to verify.")
    logged = {row["step"]: row for row in folder.read_metrics() if "train/loss" in row}
    problems += _check_log(folder, list(logged), config.train.log_every_steps, saved)
    rows = []
    for step in saved:
        again = step in (saved[0], saved[len(saved) // 2], saved[-1])
        row = _check(folder, experiment, step, count if again else 0, logged)
        rows.append({"checkpoint": step, **row})
        if row["outcome"] not in (SAME, ""):
            problems.append(f"checkpoint {step}: {row['outcome']}")
    then = made_with(manifest)
    return Report(rows, problems, then, changes(then, made_with(now)))


def _check(folder: Folder, experiment: Experiment, step: int, count: int, logged: Mapping) -> dict:
    """The row of the checkpoint of `step`."""
    try:
        state = read_checkpoint(_path(folder, step), experiment.compiled.abstract)
    except Damaged as damage:
        return {"arrays": "damaged", "steps compared": 0, "outcome": str(damage)}
    compared, outcome = _rerun(folder, experiment, state, count, logged) if count else (0, "")
    return {"arrays": "whole", "steps compared": compared, "outcome": outcome}


def _rerun(folder: Folder, experiment: Experiment, state: Any, count: int, logged: Mapping) -> tuple[int, str]:
    """(steps compared, "identical" or the first difference, empty where nothing comes after it)."""
    start, compared = int(state.step), 0
    later = [step for step in (*logged, *steps_in(folder.checkpoints)) if step > start]
    end = min(max(start + count, min(later)), max(later)) if later else start
    with experiment.data.open_batches(start=start) as batches:
        for step in range(start + 1, end + 1):
            state, metrics = experiment.compiled.update(state, put(experiment.mesh, next(batches)))
            if step in later:
                compared += 1
                if difference := _compare(folder, step, state, metrics, logged.get(step)):
                    return compared, difference
    return compared, SAME if compared else ""


def _compare(folder: Folder, step: int, state: Any, metrics: Mapping, line: Mapping | None) -> str:
    """What differs at `step` from the line of the log and from the checkpoint, where there are such."""
    if line:
        for name, value in jax.device_get(metrics).items():
            here, there = float(value), line.get(f"train/{name}")
            if repr(here) != repr(there):
                return f"step {step}: train/{name} is {here!r}, and {there!r} in the log"
    path = _path(folder, step)
    if path.exists():
        with suppress(Damaged):  # told in its own row
            saved, here = record_of(path), make_record(step, by_name(jax.device_get(state)))["arrays"]
            different = [name for name in saved if here.get(name) != saved[name]]
            return f"step {step}: {dotted(different[0])} is not what was saved" if different else ""
    return ""


def _check_log(folder: Folder, found: list[int], every: int, saved: list[int]) -> list[str]:
    name, content = folder.metrics.name, folder.metrics.read_bytes()
    problems = [] if content.endswith(b"\n") or not content else [f"{name} ends in half a line"]
    expected = list(range(every, max([*found, *saved], default=0) + 1, every))
    if found != expected:
        missing = sorted(set(expected) - set(found))
        problems.append(f"{name} {f'lacks step {missing[0]}' if missing else 'has steps that are out of order'}")
    return problems


def _path(folder: Folder, step: int) -> Path:
    return (folder.checkpoints / str(step)).absolute()
