"""What the parts of a run share."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from ml_collections import ConfigDict

from jaxcv.experiment import Experiment
from jaxcv.store.checkpoint import Checkpoints
from jaxcv.store.folder import Folder


class Run(NamedTuple):
    """One run: what it is, where it is saved, and whether it should stop."""

    config: ConfigDict
    folder: Folder
    experiment: Experiment
    checkpoints: Checkpoints
    should_stop: Callable[[], bool]  # whether a signal has come
    override: bool = False  # resume although config or data have changed
    chosen: Collection[str] = ()  # the keys of the config that were set for this run
