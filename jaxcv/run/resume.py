"""How a run resumes: only with its own config and data, or with `override`."""

import json
from collections.abc import Callable, Mapping

from jaxcv.config import HARMLESS, changes
from jaxcv.errors import DataError, UserError
from jaxcv.run.begin import data_report, describe, notes
from jaxcv.run.run import Run
from jaxcv.store.checkpoint import identities_in
from jaxcv.store.log import Log
from jaxcv.store.processes import is_first

_REMEDY = "name another --workdir, or resume anyway with --override."


def guard(run: Run) -> Callable[[], None]:
    """Compares config, data and versions with those of the run in its folder, and prints what differs.

    Raises UserError where config or data would make it another run, unless `run.override` is true. Returns a function
    to call once the state is restored, as nothing is written before: it writes the new config, with `override` also the
    new manifest, and keeps the old ones beside them with a number.
    """
    folder, override = run.folder, run.override
    config, manifest = json.loads(run.config.to_json()), describe(run.experiment, folder)
    old_config, old_manifest = _read(folder.read_config, override), _read(folder.read_manifest, override)
    if versions := changes(made_with(old_manifest), made_with(manifest)):
        print(f"Since this run began, {'; '.join(versions)}: its results may differ in the last bits.")
    different = changes(old_config, config, but=HARMLESS)
    harmless = [line for line in changes(old_config, config) if line not in different]
    if harmless:
        print(f"Changed since this run began, without an effect on its results: {', '.join(harmless)}.")
    data = changes(old_manifest.get("data", {}), manifest["data"])

    def accept() -> None:
        if not is_first():
            return
        if different or data:
            began = {name: old_manifest[name] for name in ("frozen_sha256", "from_scratch") if name in old_manifest}
            folder.write_config(config, keep=True)
            report = data_report(run.experiment)
            overridden = sorted(identities_in(folder.checkpoints))  # the checkpoints of before stay the run's
            facts = {**began, "notes": notes(run), "data_report": report, "overridden": overridden}
            folder.write_manifest({**manifest, **facts}, keep=True)
        elif harmless:
            folder.write_config(config)

    if override:
        for line in (*different, *(f"data of the split {line}" for line in data)):
            print(f"Overridden: {line}")
        return accept
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise UserError(
            f"{folder} holds a run of another config ({different[0]}{more}); resume it with the config in "
            f"{folder.config}, {_REMEDY}"
        )
    if data:
        what = f"fingerprint of the split {data[0]}"
        raise UserError(f"{folder} holds a run on other data ({what}); restore the data, {_REMEDY}")
    return accept


def resumed_log(run: Run, step: int | None) -> Log:
    """The log of a run that resumes from `step` (None: begins). Raises UserError where it is not the one that was saved
    with the checkpoint, unless `run.override` is true."""
    if step is None:
        return run.folder.open_log(step=-1)
    try:
        return run.folder.open_log(step=step, saved=run.checkpoints.saved_log(step))
    except DataError as error:
        if run.override:
            print(f"Overridden: {error}")
            return run.folder.open_log(step=step)
        raise UserError(
            f"{str(error).removesuffix('.')}, so curves, tables and the choice of the best would be wrong; restore the "
            "file, or resume anyway with --override."
        ) from None


def made_with(manifest: Mapping) -> dict:
    """The code, libraries and machine of a manifest, on which the last bits of the results depend."""
    machine = manifest.get("machine", {})
    git = manifest.get("git") or {"commit": "unknown", "dirty": False}
    commit = f"{git['commit']}{' with uncommitted changes' if git['dirty'] else ''}"
    software = {**manifest.get("versions", {}), "commit": commit}
    return software | {name: machine[name] for name in ("cpu", "cores", "devices") if name in machine}


def _read(read: Callable[[], dict], override: bool) -> dict:
    try:
        return read()
    except UserError as error:
        if override:
            return {}
        what = str(error).removesuffix(".")
        raise UserError(f"{what}, so the run there is unknown; restore the file, {_REMEDY}") from None
