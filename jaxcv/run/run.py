"""What belongs together while a run lasts."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcv.experiment import Experiment
from jaxcv.store.checkpoint import Checkpoints
from jaxcv.store.folder import Folder
from jaxcv.store.log import Log


class Run(NamedTuple):
    """One run: what it is, where it is kept, and whether it is to stop."""

    config: Any
    folder: Folder
    experiment: Experiment
    checkpoints: Checkpoints
    should_stop: Callable[[], bool]  # whether a signal has come
    override: bool = False  # goes on though config or data are not those that it began with
    log: Log | None = None  # the open record, while it trains
