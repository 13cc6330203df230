"""Colourisation of CIFAR-10's horses: a grey image to one of 24 colours for each pixel.

python launch/main.py --config=configs/colorize.py:pool_upsample       val loss about 1.6
python launch/main.py --config=configs/colorize.py:conv_transpose      val loss about 1.2
python launch/main.py --config=configs/colorize.py:unet                the lowest
python launch/sweep.py --config=configs/colorize.py:batch_sizes        25, 50, 100, 200, 500: 1.1129 ... 1.4184
python launch/sweep.py --config=configs/colorize.py:kernels            3, 4, 5
python launch/summary.py --config=configs/colorize.py:pool_upsample --connections

Behind any of them `tiny`: seconds, for tests. The numbers are the document's, for 25 epochs at batch 100. Its
validation images are the official test split's horses, by which nothing is chosen here: the run reports its last state.
The 24 colours are k-means centres learned from the training images; the document's came in a file.
"""

from ml_collections import ConfigDict

NETWORKS = {
    "pool_upsample": {"name": "pool_upsample", "width": 32, "kernel": 3, "dtype": "float32"},
    "conv_transpose": {"name": "conv_transpose", "width": 32, "kernel": 3, "skips": False, "dtype": "float32"},
    "unet": {"name": "conv_transpose", "width": 32, "kernel": 3, "skips": True, "dtype": "float32"},
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = conv_transpose()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/colorize.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def conv_transpose() -> ConfigDict:
    """Strided and transposed convolutions."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": (),  # tensors that may be missing or unused there
            "data": {
                "name": "color_index",
                "base": "cifar10",
                "keep": ("horse",),  # classes
                "colors": 24,
                "val_split": "test",  # as in the document; val: held out
                "holdout": 0,  # training images kept back as the split val
                "dir": "",  # holds cifar-10-batches-py; empty: $JAXCV_DATA
                "workers": 0,  # processes that read ahead; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
            },
            "augment": {},
            "model": NETWORKS["conv_transpose"],
            "task": {"name": "colorize", "loss": "cross_entropy"},
            "optim": {
                "name": "adam",
                "lr": 1e-3,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "constant",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 100,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 25.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 10,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 100,  # images
                "crop": 0,
                "examples": 10,  # images of val that are drawn
                "best": "val/loss",  # the best checkpoint has the lowest loss
                "report": "last",  # the document reports the last epoch
            },
        }
    )


def network(name: str):
    """The variant that takes another network."""

    def apply(config: ConfigDict) -> None:
        config.model = ConfigDict(NETWORKS[name])

    return apply


def batch_sizes(config: ConfigDict) -> None:
    """The document's row of batch sizes, ConvTransposeNet; its validation losses."""
    losses = {25: 1.1129, 50: 1.1461, 100: 1.1639, 200: 1.2286, 500: 1.4184}
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": f"batch {size}", "set": {"train": {"batch_size": size}}} for size in losses),
            "seeds": (0,),
            "metrics": ("val/loss/batch_mean", "val/acc/pixel"),
            "reference": tuple((f"batch {size}", loss) for size, loss in losses.items()),
        }
    )


def kernels(config: ConfigDict) -> None:
    """Kernels of 3, 4 and 5, ConvTransposeNet."""
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": f"kernel {size}", "set": {"model": {"kernel": size}}} for size in (3, 4, 5)),
            "seeds": (0,),
            "metrics": ("val/loss/batch_mean", "val/acc/pixel"),
            "reference": (),
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    for name in ("dir", "holdout"):
        del config.data[name]
    config.data.update({"base": "shapes", "keep": (), "count": 32, "colors": 4})
    config.model.width = 4
    config.train.update({"batch_size": 16, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 16, "examples": 4})


VARIANTS = {**{name: network(name) for name in NETWORKS}, "batch_sizes": batch_sizes, "kernels": kernels, "tiny": tiny}
