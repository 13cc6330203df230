"""U-Net on `shapes`, masks of ten kinds of shape on a ground: segmentation that needs no data and no accelerator.

jaxcv train --config=unet
jaxcv preview --config=unet    images and masks are scaled, turned and flipped together

After it `tiny`: seconds, for tests. Any data set of masks takes the place of `shapes`: see configs/landcover.py.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def demo() -> ConfigDict:
    """A U-Net of a quarter of the paper's width, on 32 px."""
    return base.config(
        data={
            "name": "shapes",
            "target": "mask",
            "size": 32,  # px
            "count": 0,  # images of each split; 0: 8192, 1024, 2048
        },
        augment={
            "order": ("scale", "flip"),
            "scale": {"size": 32, "factor": (0.8, 1.25), "degrees": 15.0},  # size: px that are cut out
            "flip": {"p": 0.5},
        },
        model={"name": "unet", "depth": 3, "width": 16, "batch_norm": True},
        task={"name": "segment", "loss": "cross_entropy", "aux_weight": 0.0},
        optim={
            "name": "adamw",
            "lr": 2e-3,
            "schedule": "cosine",
            "warmup_epochs": 0.5,
            "weight_decay": 0.01,
            **base.ADAMW,
        },
        train={"batch_size": 64, "total_epochs": 8.0, "save_every_epochs": 1.0, "log_every_steps": 16},
        eval={"batch_size": 256, "examples": 8, "best": "val/miou/pooled"},
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.count = 32
    config.model.update(depth=2, width=4)
    config.train.update(batch_size=16, total_epochs=2.0, log_every_steps=1)
    config.eval.update(batch_size=16, examples=4)


VARIANTS = {"tiny": tiny}
get_config = base.variants(__file__, demo, VARIANTS)
