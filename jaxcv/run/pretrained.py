"""A run's network without its data, and weights from a file or from a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxcv.config import require
from jaxcv.data.source import Info
from jaxcv.errors import ConfigError, UserError
from jaxcv.experiment import Experiment, build_task
from jaxcv.models.weights import Row, match_torch, to_torch
from jaxcv.store.checkpoint import restore_raw
from jaxcv.store.folder import Folder
from jaxcv.store.weights import overlay_average, read_file
from jaxcv.task import Task, Tree


def read_config(folder: Folder) -> ConfigDict:
    """The resolved config of a run. Raises UserError where there is none."""
    config = ConfigDict(folder.read_config())
    try:
        require(config, "task.name", "model.name")
    except ConfigError:
        raise UserError(f"{folder} is not the workdir of a run: its {folder.config.name} is not a run's.") from None
    return config


def read_info(folder: Folder) -> Info:
    """The Info of a run's data, from its manifest. Raises UserError where there is none."""
    try:
        info: dict[str, Any] = folder.read_manifest()["info"]
        info = {name: tuple(value) if isinstance(value, list) else value for name, value in info.items()}
        return Info(**info)
    except (KeyError, TypeError):
        raise UserError(f"{folder} is not the workdir of a run: its {folder.manifest.name} is not a run's.") from None


def read_task(folder: Folder) -> Task:
    """The task of a run, without its data."""
    return build_task(read_config(folder), read_info(folder), total_steps=1)


def read_state(folder: Folder, step: int | None = None) -> tuple[Tree, Tree]:
    """(params, model_state) at `step` (None: the latest) as numpy arrays; of the params their average, where the run
    keeps one."""
    state = restore_raw(folder, step)
    return overlay_average(state["params"], state["opt_state"]), state["model_state"]


def read_weights(source: str | Path) -> dict[str, np.ndarray]:
    """The state_dict in a file (.safetensors, or .pth, .pt, .bin where torch is installed) or of a run's workdir.

    A run's are those of its network (BYOL: of the online backbone) at the latest checkpoint. Raises UserError for what
    cannot be read. Nothing in a file is executed.
    """
    path = Path(source).expanduser()
    if not path.is_dir():
        return read_file(path)
    folder = Folder(path)
    return to_torch(read_task(folder).get_network(*read_state(folder)))


def fit_weights(
    experiment: Experiment, source: str, allow: Sequence[str], fresh: Sequence[str] = ()
) -> tuple[Tree, list[Row]]:
    """The weights in `source` for `experiment.compiled.init`, and what became of each tensor, still unchecked.

    allow: patterns of tensors that may be missing or unused.  fresh: of tensors that keep their initial values although
    `source` has them.
    """
    return match_torch(read_weights(source), experiment.compiled.network, allow=allow, fresh=fresh)


def from_scratch(config: ConfigDict) -> str:
    """Says that a config made for pretrained weights, as its init_allow or init_fresh shows, names none; else empty."""
    meant = config.get("init_allow") or config.get("init_fresh")
    return "from scratch: config.init_from is empty" if meant and not config.get("init_from") else ""
