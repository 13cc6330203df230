"""A U-Net on your own images and masks; docs/own_data.md has the forms that masks may have.

jaxcv train --config=own_masks --config.data.dir=DIR --config.data.folder=cells
jaxcv train --config=own_masks:small ...    minutes on 2 CPU cores: 128 px, narrow
  --config.data.classes="('ground','roof')"                                   the names of the labels 0, 1, ...
  --config.data.colors="((0,0,0),(255,0,0))"                                  masks of colours: that of each class
  --config.data.palette="((0,0,0),(255,0,0))"                                 the classes' colours in figures

After it `tiny`: seconds, for tests. Everything here is ours.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def unet() -> ConfigDict:
    """A U-Net of half the paper's width on 256 px."""
    return base.config(
        data={
            "name": "mask_folder",
            "folder": "cells",  # holds train/, trainannot/, val/, valannot/
            "dir": "",
            "workers": 4,
            "height": 256,
            "width": 256,
            "image": "{folder}/*",  # * is the name that image and mask share
            "mask": "{folder}annot/*",
            "holdout": 0.2,
            "test_folder": "val",
            "classes": ("background", "foreground"),
            "colors": (),  # (r, g, b) of each class in masks of colours; empty: masks have labels
            "palette": (),  # (r, g, b) of each class in figures; empty: `colors`, or PASCAL VOC's
            "remap": (),  # the class of each label; empty: the label is the class
            "outside": -1,  # the label of other labels and colours; -1: they are an error
            "ignore": 255,  # the label of pixels that do not count
        },
        augment={
            "order": ("scale", "flip"),
            "scale": {"size": 256, "factor": (0.8, 1.25), "degrees": 15.0},  # size: px that are cut out
            "flip": {"p": 0.5},
        },
        model={"name": "unet", "depth": 4, "width": 32, "batch_norm": True},
        task={"name": "segment", "loss": "cross_entropy", "aux_weight": 0.0},
        optim={
            "name": "adamw",
            "lr": 1e-3,
            "schedule": "cosine",
            "warmup_epochs": 0.5,
            "weight_decay": 0.01,
            **base.ADAMW,
        },
        train={"batch_size": 8, "total_epochs": 50.0, "save_every_epochs": 5.0},
        eval={"batch_size": 8, "examples": 4, "best": "val/miou/pooled_nanmean"},
    )


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 128 px and a narrow network."""
    config.data.update(height=128, width=128, workers=0)
    config.augment.scale.size = 128
    config.model.update(depth=3, width=16)
    config.train.update(total_epochs=20.0)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update(height=32, width=32, limit=16)
    config.augment.scale.size = 32
    config.model.update(depth=2, width=4)
    config.train.update(batch_size=4, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=4, examples=2)


VARIANTS = {"small": small, "tiny": tiny}
get_config = base.variants(__file__, unet, VARIANTS)
