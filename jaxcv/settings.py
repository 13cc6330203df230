"""The groups of a config that are not a part's own options: their keys, defaults and ranges."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import not_
from typing import Annotated, Any, Literal, NamedTuple

from ml_collections import ConfigDict

from jaxcv.config import call, flatten, nearest
from jaxcv.errors import ConfigError
from jaxcv.ranges import Count, Decay, NonNegative, PositiveCount, Range


class General(NamedTuple):
    """Keys at the top of a config."""

    seed: Annotated[int, Range(0, 2**63 - 1)]  # of initial values, the order of the images and augmentation
    init_from: str = ""  # weights to begin with: a file or a run's folder; empty: random ones
    init_allow: Sequence[str] = ()  # patterns of tensors that may be missing or unused there
    init_fresh: Sequence[str] = ()  # patterns of tensors that keep their random values
    deterministic: bool = False  # the same bits each time on a GPU too, slower
    compilation_cache: bool = True  # compiled programs are kept for the next process, in the user's cache directory


class Reading(NamedTuple):
    """config.data: what holds for every data set."""

    name: str
    workers: Count = 0  # processes that read and decode; 0: threads of this one
    limit: Count = 0  # use so many images of each split; 0: all


class Train(NamedTuple):
    """config.train"""

    batch_size: PositiveCount  # images, over all devices
    accumulate: PositiveCount = 1  # parts of a batch, one after the other
    total_steps: PositiveCount | None = None  # one of these two
    total_epochs: NonNegative | None = None
    save_every_steps: Count | None = None  # one of these two; 0: only with an evaluation
    save_every_epochs: NonNegative | None = None
    log_every_steps: PositiveCount = 10
    stop_on_collapse: bool = False  # a collapse of BYOL ends the run; False: it is a warning
    patience: Count = 0  # evaluations without a better config.eval.best that end the run; 0: never


class Optim(NamedTuple):
    """config.optim: what holds for every optimiser. Groups beside it have the options of the optimiser of that name."""

    name: str
    schedule: str
    lr: NonNegative
    lr_batch_size: Count = 0  # images for which lr is meant: it is scaled with train.batch_size; 0: it is not
    warmup_steps: Count | None = None  # one of these two
    warmup_epochs: NonNegative | None = None
    weight_decay: NonNegative = 0.0  # not on biases and norms
    decay_all: bool = False  # on biases and norms too, as in torch
    no_decay: Sequence[str] = ()  # patterns of parameters without decay in any case
    clip_norm: NonNegative = 0.0  # the largest global norm of the gradient; 0: any
    ema_decay: Decay = 0.0  # of the average of the parameters to evaluate with; 0: none
    lr_multipliers: Sequence[tuple[str, float]] = ()  # (pattern, factor of the learning rate)
    freeze: Sequence[str] = ()  # patterns of parameters that are not trained
    freeze_statistics: bool = True  # BatchNorm of frozen layers as in evaluation; False: drifts, as in torch


class Eval(NamedTuple):
    """config.eval"""

    batch_size: PositiveCount  # images, over all devices
    every_steps: Count | None = None  # one of these two; 0: only at the start and the end
    every_epochs: NonNegative | None = None
    crop: Count = 0  # px, the central square that is seen; 0: the whole image
    stage: str = ""  # of the network, whose output is the feature; empty: the last before the logits
    examples: PositiveCount = 8  # images of the split val whose predictions are kept for the figures
    named: Sequence[str] = ()  # names of those images, instead of `examples`
    best: str = ""  # the metric that chooses the best checkpoint; empty: none
    report: Literal["best", "last"] = "best"  # the checkpoint that the test split sees: best or last
    tile: Count = 0  # px, side of the windows in which jaxcv predict sees large images; 0: the whole image


GROUPS = ("data", "augment", "model", "task", "optim", "train", "evals", "eval", "sweep")

IDLE: dict[str, tuple[str, Callable[[Any], bool]]] = {  # key -> another key, with whose values it has no effect
    "init_allow": ("init_from", not_),
    "init_fresh": ("init_from", not_),
    "optim.decay_all": ("optim.weight_decay", not_),
    "optim.no_decay": ("optim.weight_decay", not_),
    "optim.freeze_statistics": ("optim.freeze", not_),
    "train.patience": ("eval.best", not_),
    "eval.report": ("eval.best", not_),
    "data.threshold": ("data.colors", not_),
    "eval.examples": ("eval.named", bool),
    "data.holdout": ("data.val_folder", bool),
    "eval.crop": ("task.name", {"segment", "colorize"}.__contains__),
    "eval.stage": ("task.name", {"byol", "segment", "colorize"}.__contains__),
    "eval.tile": ("task.name", {"byol", "classify", "multilabel", "colorize"}.__contains__),
    "train.stop_on_collapse": ("task.name", {"classify", "multilabel", "segment", "colorize"}.__contains__),
}


class Settings(NamedTuple):
    """The checked groups of a config."""

    general: General
    reading: Reading
    train: Train
    optim: Optim
    eval: Eval


def read_settings(config: ConfigDict) -> Settings:
    """The settings of a config. Raises ConfigError for a key that is missing, unknown, or outside of its range."""
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"a config is what jaxcv.load_config returns, not a {type(config).__name__}.")
    for name in (*GROUPS[:-1], *config):
        if name not in config:
            raise ConfigError(
                f"config.{name} is missing; every experiment has it. A network alone is for jaxcv summary."
            )
        if isinstance(config[name], ConfigDict) and name not in GROUPS:
            raise ConfigError(f"config has no group {name!r}; {nearest(name, GROUPS)}")
    data = {name: value for name, value in config.data.items() if name in Reading._fields}
    return Settings(
        general=call(General, _plain(config), group=""),
        reading=call(Reading, data, group="data"),
        train=call(Train, _plain(config.train), group="train"),
        optim=call(Optim, _plain(config.optim), group="optim"),
        eval=call(Eval, _plain(config.eval), group="eval"),
    )


def without_effect(config: ConfigDict, keys: Iterable[str]) -> list[str]:
    """A sentence for each of `keys` ("optim.sgd.momentum") that no part of this config reads: which other key is why.

    A config may hold the options of parts that another value of optim.name, optim.schedule or evals.names chooses.
    """
    values = flatten(config.to_dict())
    reasons = ((key, _idle(values, key)) for key in keys)
    return [f"config.{key} has no effect: config.{why}." for key, why in reasons if why]


def _idle(values: Mapping[str, Any], key: str) -> str:
    """Why `key` has no effect, as "optim.name is 'adam'"; empty if it has one."""
    group, *path = key.split(".")
    chosen = values["evals.names"]

    def said(other: str) -> str:
        return f"{other} is {values.get(other)!r}"

    if group == "sweep":
        return "sweep is for jaxcv sweep alone"
    if group == "optim" and len(path) > 1 and path[0] not in (values["optim.name"], values["optim.schedule"]):
        return f"{said('optim.name')}, config.{said('optim.schedule')}"
    if group == "evals" and len(path) > 1 and path[0] not in chosen:
        return said("evals.names")
    if key in IDLE and IDLE[key][1](values.get(IDLE[key][0])):
        return said(IDLE[key][0])
    periods = ("every_steps", "every_epochs")
    own = [any(f"evals.{name}.{period}" in values for period in periods) for name in chosen]
    if group == "eval" and path[0] in periods and all(own):
        return f"{said('evals.names')}, and each has its own period"
    share = f"{key.rpartition('.')[0]}.p"
    return said(share) if group == "augment" and key != share and values.get(share) == 0 else ""


def _plain(group: ConfigDict) -> Mapping[str, Any]:
    """The values of a group that are not groups themselves."""
    return {name: value for name, value in group.items() if not isinstance(value, ConfigDict)}
