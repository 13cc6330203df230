"""What configs share: the defaults of every experiment, variants joined by commas, and sweeps.

A config file has `get_config(arg="")` and the values of its experiment. It may lie anywhere:

    from jaxcv.configs import base

    def demo():
        return base.config(data={"name": "shapes", "size": 32}, ...)

    def short(config):
        config.train.total_epochs = 2.0

    VARIANTS = {"short": short}
    get_config = base.variants(__file__, demo, VARIANTS)

Every experiment sets these keys itself:

    data.name, model.name, task.name     files in jaxcv/data, jaxcv/models, jaxcv/tasks; their options are beside them
    optim.name, optim.schedule           files in jaxcv/optim, or names in optax; their options are a group of that name
    optim.lr                             the learning rate, after the warm-up
    train.batch_size, eval.batch_size    images, over all devices
    train.total_epochs                   length of the run
    eval.examples                        images of the split val for the figures
    eval.best                            the metric that selects the best checkpoint: the highest, of a loss the lowest

Some set these:

    init_fresh                           patterns of tensors that keep their random values although `init_from` has them
    data.dir                             folder that holds the data set; empty: $JAXCV_DATA
    data.size; data.height, data.width   px, to which images are resized
    data.holdout                         training images held out as the split val: a count, or a share below 1
    optim.decay_all                      True: weight decay on biases and norms too, as in torch
    optim.freeze_statistics              BatchNorm of frozen layers, True: as in evaluation; False: drifts, as in torch
    evals.NAME                           options of that evaluator; its period, if it has one, is every_epochs
    eval.stage                           the stage whose features the figures show; empty: the last before the logits
    eval.named                           names of the images for the figures, instead of eval.examples

A duration, NAME_epochs, may be a fraction; NAME_steps may take its place.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

DEFAULTS: dict[str, Any] = {
    "seed": 0,  # of parameters, order of the images and augmentation
    "deterministic": False,  # True: the same bits each time on a GPU too, slower
    "compilation_cache": True,  # compiled programs are kept for the next process, in the user's cache directory
    "init_from": "",  # initial weights: a .safetensors or .pth file, or a run's workdir; empty: random
    "init_allow": (),  # patterns of tensors that may be missing or unused there, such as ("fc.*",)
    "data": {
        "workers": 0,  # processes that read and decode; 0: threads of this one
        "limit": 0,  # images of each split that are used; 0: all
    },
    "augment": {},  # the `order` of the operations on training images, and for each a group with its options
    "model": {"dtype": "float32"},  # of the computation; parameters are float32
    "optim": {
        "lr_batch_size": 0,  # the batch size lr is for: lr is scaled with train.batch_size; 0: it is not
        "warmup_epochs": 0.0,  # linear, from 0 to lr
        "weight_decay": 0.0,  # not on biases and norms
        "clip_norm": 0.0,  # the largest global norm of the gradient; 0: any
        "ema_decay": 0.0,  # decay rate of the average of parameters to evaluate; 0: none
        "freeze": (),  # patterns of parameters that are not trained, such as ("backbone.*",)
    },
    "train": {
        "accumulate": 1,  # parts of a batch, one after the other
        "save_every_epochs": 5.0,
        "log_every_steps": 10,
        "stop_on_collapse": False,  # True: a collapse of BYOL ends the run; False: it is a warning
        "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
    },
    "evals": {"names": ("measure",)},  # files in jaxcv/evals: what each evaluation computes
    "eval": {
        "every_epochs": 1.0,
        "crop": 0,  # px, the central square to evaluate; 0: the whole image
        "report": "best",  # the checkpoint to evaluate on the test split: best or last
    },
}

# The usual options of optimisers, which make them available to --config.optim.name.
SGD = {"sgd": {"momentum": 0.9, "nesterov": False}}
ADAM = {"adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8}}
ADAMW = {"adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8}}


def config(**groups: Any) -> ConfigDict:
    """The defaults, overridden by the values of `groups`, key by key."""
    return ConfigDict(_merged(DEFAULTS, groups))


def replace(config: ConfigDict, **groups: Mapping[str, Any]) -> None:
    """Replaces whole groups of a config: only their defaults are filled in."""
    for name, group in groups.items():
        config[name] = ConfigDict(_merged(DEFAULTS.get(name, {}), group))


def variants(file: str, start: Callable[[], ConfigDict], choices: Mapping[str, Callable]) -> Callable[..., ConfigDict]:
    """Returns the `get_config` of a config file.

    file: its __file__.  start: returns the config without variants.  choices: name -> function that changes a config
    in place. `get_config` raises ValueError for other names.
    """

    def get_config(arg: str = "") -> ConfigDict:
        """The config of a comma-separated list of variants, applied from left to right."""
        config = start()
        for name in filter(None, arg.split(",")):
            if name not in choices:
                raise ValueError(f"{file} has no variant {name!r}; choose from {', '.join(choices) or '(none)'}.")
            choices[name](config)
        return config

    return get_config


def sweep(config: ConfigDict, rows: Mapping[str, tuple], *, metrics: tuple[str, ...], seeds: tuple = (0,)) -> None:
    """Adds a table of runs for jaxcv sweep: each row for each seed.

    rows: name -> (the values it sets, the published value of the first metric, or None).
    """
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": name, "set": values} for name, (values, _) in rows.items()),
            "seeds": seeds,
            "metrics": metrics,
            "reference": tuple((name, value) for name, (_, value) in rows.items() if value is not None),
        }
    )


def default_aug(size: int) -> dict:
    """byol-pytorch's DEFAULT_AUG, in its order, for images of `size` px."""
    return {
        "order": ("jitter", "gray", "flip", "blur", "crop"),
        "jitter": {"p": 0.3, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2},
        "gray": {"p": 0.2},
        "flip": {"p": 0.5},
        "blur": {"p": 0.2, "kernel": 3, "sigma": (1.0, 2.0)},  # px
        "crop": {"size": size, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
    }


def _merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict:
    """`values` over `defaults`, group by group. All are copies: ConfigDict makes one group of a repeated dict."""
    # A duration in steps takes the place of the default in epochs.
    kept = {name: value for name, value in defaults.items() if f"{name.removesuffix('_epochs')}_steps" not in values}
    return {
        name: _merged(defaults.get(name, {}), value) if isinstance(value, Mapping) else value
        for name, value in {**kept, **values}.items()
    }
