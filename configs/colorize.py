"""Colourisation of CIFAR-10's horses: a grey image to one of 24 colours for each pixel.

jaxcv train --config=colorize:pool_upsample     val loss about 1.6
jaxcv train --config=colorize:conv_transpose    val loss about 1.2
jaxcv train --config=colorize:unet              the lowest
jaxcv sweep --config=colorize:batch_sizes       25, 50, 100, 200, 500: 1.1129 ... 1.4184
jaxcv sweep --config=colorize:kernels           3, 4, 5
jaxcv summary --config=colorize:pool_upsample --connections

Variants: pool_upsample, conv_transpose (the default), unet; batch_sizes and kernels are sweeps; after any of them
`tiny`: seconds, for tests. The numbers are those of the course report on colourisation, for 25 epochs at batch 100. Its
validation images are the horses of the official test split, by which nothing is chosen here: the run reports its last
state. The 24 colours are k-means centres learned from the training images; the report's came in a file.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

NETWORKS = {
    "pool_upsample": {"name": "pool_upsample", "width": 32, "kernel": 3},
    "conv_transpose": {"name": "conv_transpose", "width": 32, "kernel": 3, "skips": False},
    "unet": {"name": "conv_transpose", "width": 32, "kernel": 3, "skips": True},
}
METRICS = ("val/loss/batch_mean", "val/acc/pixel")


def conv_transpose() -> ConfigDict:
    """Strided and transposed convolutions."""
    return base.config(
        data={
            "name": "color_index",
            "base": "cifar10",
            "keep": ("horse",),  # classes
            "colors": 24,
            "val_split": "test",  # as in the report; val: held-out training images
            "holdout": 0,
            "dir": "",  # holds cifar-10-batches-py
        },
        model=NETWORKS["conv_transpose"],
        task={"name": "colorize", "loss": "cross_entropy"},
        optim={"name": "adam", "lr": 1e-3, "schedule": "constant", **base.ADAM},
        train={"batch_size": 100, "total_epochs": 25.0},
        eval={"batch_size": 100, "examples": 10, "best": "val/loss", "report": "last"},
    )


def network(name: str):
    """The variant that takes another network."""
    return lambda config: base.replace(config, model=NETWORKS[name])


def batch_sizes(config: ConfigDict) -> None:
    """The report's batch sizes and validation losses, ConvTransposeNet."""
    losses = {25: 1.1129, 50: 1.1461, 100: 1.1639, 200: 1.2286, 500: 1.4184}
    rows = {f"batch {size}": ({"train": {"batch_size": size}}, loss) for size, loss in losses.items()}
    base.sweep(config, rows, metrics=METRICS)


def kernels(config: ConfigDict) -> None:
    """Kernels of 3, 4 and 5, ConvTransposeNet."""
    base.sweep(config, {f"kernel {n}": ({"model": {"kernel": n}}, None) for n in (3, 4, 5)}, metrics=METRICS)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    data = {"name": "color_index", "base": "shapes", "keep": (), "count": 32, "colors": 4, "val_split": "test"}
    base.replace(config, data=data)
    config.model.width = 4
    config.train.update(batch_size=16, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=16, examples=4)


VARIANTS = {**{name: network(name) for name in NETWORKS}, "batch_sizes": batch_sizes, "kernels": kernels, "tiny": tiny}
get_config = base.variants(__file__, conv_transpose, VARIANTS)
