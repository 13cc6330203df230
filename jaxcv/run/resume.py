"""How a run goes on: only as what it began as, and without what it had written after its last checkpoint."""

import json
from collections.abc import Callable, Mapping

from jaxcv.config import HARMLESS, changes
from jaxcv.errors import UserError
from jaxcv.run.begin import describe
from jaxcv.run.run import Run
from jaxcv.store.processes import is_first


def guard(run: Run) -> Callable[[], None]:
    """Compares config, data and versions with those of the run that its folder holds, and tells what differs.

    Raises UserError where config or data would make it another run. With `run.override` it becomes that run: the new
    config and manifest are written, the old ones kept beside them with a number. Returns the function that does so, to
    be called once the state is there: before, nothing is changed.
    """
    folder, override = run.folder, run.override
    config, manifest = json.loads(run.config.to_json()), describe(run.experiment, folder)
    old_config, old_manifest = _read(folder.read_config, override), _read(folder.read_manifest, override)
    if versions := changes(made_with(old_manifest), made_with(manifest)):
        print(f"Since this run began, {'; '.join(versions)}: what it computes may differ in the last bits.")
    different = changes(old_config, config, but=HARMLESS)
    harmless = [line for line in changes(old_config, config) if line not in different]
    if harmless:
        print(f"Differs from when this run began and changes nothing that it computes: {', '.join(harmless)}.")
    data = changes(old_manifest.get("data", {}), manifest["data"])

    def accept() -> None:
        if not is_first():
            return
        if different or data:
            frozen = {name: old_manifest[name] for name in ("frozen_sha256",) if name in old_manifest}
            folder.write_config(config, keep=True)
            folder.write_manifest({**manifest, **frozen}, keep=True)
        elif harmless:
            folder.write_config(config)

    if override:
        for line in (*different, *(f"data of the split {line}" for line in data)):
            print(f"Overridden: {line}")
        return accept
    way = "name another --workdir, or go on all the same with --override."
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise UserError(
            f"{folder} holds a run of another config ({different[0]}{more}); resume it with the config in "
            f"{folder.config}, {way}"
        )
    if data:
        raise UserError(
            f"{folder} holds a run on other data (fingerprint of the split {data[0]}); restore the data, {way}"
        )
    return accept


def made_with(manifest: Mapping) -> dict:
    """What a manifest says of the code, the libraries and the machine on which the last bits depend."""
    machine = manifest.get("machine", {})
    known = {**manifest.get("versions", {}), "git": manifest.get("git") or {}}
    return known | {name: machine[name] for name in ("cpu", "cores", "devices") if name in machine}


def _read(read: Callable[[], dict], override: bool) -> dict:
    try:
        return read()
    except UserError as error:
        if override:
            return {}
        raise UserError(
            f"{str(error).removesuffix('.')}, so the run there is unknown; restore the file, name another --workdir, "
            "or go on all the same with --override."
        ) from None
