"""Whether this machine computes the same bits as a run has logged and saved: steps are rerun from its checkpoints.

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
from jaxcv.step import TrainState
from jaxcv.store.checkpoint import read_checkpoint, record_of, steps_in
from jaxcv.store.digests import Damaged, by_name, dotted, make_record
from jaxcv.store.folder import Folder

SAME = "identical"


class Report(NamedTuple):
    """The results of `verify`."""

    rows: list[dict[str, Any]]  # of checkpoints: {"checkpoint", "arrays", "steps compared", "outcome"}
    problems: list[str]  # empty if nothing differs
    made_with: dict[str, Any]  # versions, code and machine of the run
    changes: list[str]  # in which they differ now


def verify(workdir: str | Path, *, count: int) -> Report:
    """Checks every file that a run resumes from, and reruns steps from the first, a middle and the last checkpoint.

    count: of steps, at least; more if needed to reach one that was logged. Raises UserError if there is no run.
    """
    folder = Folder(workdir)
    config, manifest = read_config(folder), folder.read_manifest()
    experiment = build(config)
    now = describe(experiment, folder)
    problems = [f"data of the split {line}" for line in changes(manifest.get("data", {}), now["data"])]
    saved = steps_in(folder.checkpoints)
    if not saved:
        raise UserError(f"{folder} has no checkpoint to verify.")
    logged = {int(row["step"]): row for row in folder.read_metrics() if "train/loss" in row}
    problems += _check_log(folder, list(logged), config.train.log_every_steps, saved)
    rows = []
    for step in saved:
        rerun = step in (saved[0], saved[len(saved) // 2], saved[-1])
        row = _check(folder, experiment, step, count if rerun else 0, logged)
        rows.append({"checkpoint": step, **row})
        if row["outcome"] not in (SAME, ""):
            problems.append(f"checkpoint {step}: {row['outcome']}")
    return Report(rows, problems, made_with(manifest), changes(made_with(manifest), made_with(now)))


def _check(folder: Folder, experiment: Experiment, step: int, count: int, logged: Mapping) -> dict:
    """The row of the checkpoint of `step`."""
    try:
        state = read_checkpoint(folder.checkpoints / str(step), experiment.compiled.abstract, folder.identities())
    except Damaged as damage:
        return {"arrays": "damaged", "steps compared": 0, "outcome": str(damage)}
    compared, outcome = _rerun(folder, experiment, state, count, logged) if count else (0, "")
    return {"arrays": "whole", "steps compared": compared, "outcome": outcome}


def _rerun(folder: Folder, experiment: Experiment, state: TrainState, count: int, logged: Mapping) -> tuple[int, str]:
    """(steps compared, "identical" or the first difference; empty if no step follows)."""
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


def _compare(folder: Folder, step: int, state: TrainState, metrics: Mapping, line: Mapping | None) -> str:
    """The first difference at `step` from the line of the log and the checkpoint, if there are; empty if none."""
    if line:
        for name, value in jax.device_get(metrics).items():
            here, there = float(value), line.get(f"train/{name}")
            if repr(here) != repr(there):
                return f"step {step}: train/{name} is {here!r}, and {there!r} in the log"
    path = folder.checkpoints / str(step)
    if path.exists():
        with suppress(Damaged):  # reported in its own row
            saved, here = record_of(path)["arrays"], make_record(step, by_name(jax.device_get(state)))["arrays"]
            different = [name for name in saved if here.get(name) != saved[name]]
            return f"step {step}: {dotted(different[0])} is not what was saved" if different else ""
    return ""


def _check_log(folder: Folder, logged: list[int], every: int, saved: list[int]) -> list[str]:
    """The problems of metrics.jsonl, which has a line every `every` steps."""
    name, content = folder.metrics.name, folder.metrics.read_bytes()
    problems = [] if content.endswith(b"\n") or not content else [f"{name} ends in half a line"]
    expected = list(range(every, max([*logged, *saved], default=0) + 1, every))
    if logged != expected:
        missing = sorted(set(expected) - set(logged))
        problems.append(f"{name} {f'lacks step {missing[0]}' if missing else 'has steps that are out of order'}")
    return problems
