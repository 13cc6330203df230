"""How a run goes on: only as what it began as, and without what it had written after its last checkpoint."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxcv.config import HARMLESS, changes
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.run.begin import facts
from jaxcv.store.log import write_atomic, write_json
from jaxcv.store.processes import is_first


def guard(config: Any, workdir: Path, experiment: Experiment, *, override: bool) -> Callable[[], None]:
    """Compares config, data and versions with those of the run that `workdir` holds, and tells what differs.

    Raises UserError where config or data would make it another run. With `override` it becomes that run: the new
    config.json and manifest.json are written, the old ones kept beside them with a number. Returns the function that
    does so, to be called once the state is there: before, nothing is changed.
    """
    now = {"config.json": json.loads(config.to_json()), "manifest.json": facts(config, experiment, workdir)}
    then = {name: _read(workdir / name, override) for name in now}
    if versions := changes(made_with(then["manifest.json"]), made_with(now["manifest.json"])):
        print(f"Since this run began, {'; '.join(versions)}: what it computes may differ in the last bits.")
    old, new = then["config.json"], now["config.json"]
    different = changes(old, new, but=HARMLESS)
    harmless = [line for line in changes(old, new) if line not in different]
    if harmless:
        print(f"Differs from when this run began and changes nothing that it computes: {', '.join(harmless)}.")
    data = changes(then["manifest.json"].get("data", {}), now["manifest.json"]["data"])
    if override and (different or data):
        for line in (*different, *(f"data of the split {line}" for line in data)):
            print(f"Overridden: {line}")
        files = {name: {**content, **_frozen(then[name])} for name, content in now.items()}
        return functools.partial(_write, workdir, files, keep=True)
    way = "name another --workdir, or go on all the same with --override."
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise UserError(
            f"{workdir} holds a run of another config ({different[0]}{more}); resume it with the config in "
            f"{workdir / 'config.json'}, {way}"
        )
    if data:
        raise UserError(
            f"{workdir} holds a run on other data (fingerprint of the split {data[0]}); restore the data, {way}"
        )
    return functools.partial(_write, workdir, {"config.json": new} if harmless else {}, keep=False)


def made_with(manifest: Mapping) -> dict:
    """What a manifest says of the code, the libraries and the machine on which the last bits depend."""
    machine = manifest.get("machine", {})
    known = {**manifest.get("versions", {}), "git": manifest.get("git") or {}}
    return known | {name: machine[name] for name in ("cpu", "cores", "devices") if name in machine}


def truncate(workdir: Path, step: int | None) -> None:
    """Removes examples and results that a run which goes on from `step` (None: anew) will make again."""
    for file in (workdir / "examples").glob("*.npz"):
        if step is None or int(file.stem) > step:
            file.unlink()
    if read_result(workdir, step) is None:
        for name in ("result.json", "result.npz"):
            (workdir / name).unlink(missing_ok=True)


def read_result(workdir: Path, step: int | None) -> dict | None:
    """What result.json holds, if it can be read and is that of a run which ended at `step`."""
    try:
        result = json.loads((workdir / "result.json").read_text())
        return result if result["step"] == step and (workdir / "result.npz").exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path, override: bool) -> dict:
    try:
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            return content
    except (OSError, ValueError):
        pass
    if override:
        return {}
    raise UserError(
        f"{path} cannot be read, so nobody knows what the run there is; restore the file, name another --workdir, or "
        "go on all the same with --override."
    )


def _frozen(manifest: Mapping) -> dict:
    return {name: manifest[name] for name in ("frozen_sha256",) if name in manifest}


def _write(workdir: Path, files: Mapping[str, dict], *, keep: bool) -> None:
    """Writes JSON files, and with `keep` copies the old ones beside themselves under the first number that is free."""
    for name, content in files.items() if is_first() else ():
        path, number = workdir / name, 1
        while (kept := path.with_name(f"{name}.{number}")).exists():
            number += 1
        if keep and path.exists():
            write_atomic(kept, path.read_bytes())
        write_json(path, content)
