"""A classifier of your own images, in class folders or with a CSV of labels: a ResNet-18 (docs/own_data.md).

jaxcv train --config=own_classes --config.data.dir=DIR --config.data.folder=photos
jaxcv train --config=own_classes:multilabel --config.data.dir=DIR --config.data.folder=photos

With `--config.init_from=resnet18.pth` training begins with torchvision's weights. Variants: multilabel, images that may
have several labels; after it `small` (minutes on 2 CPU cores) or `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def classify() -> ConfigDict:
    """One class for each image; the best state is that of the highest mean over the classes."""
    return base.config(
        init_allow=("fc.*",),
        data={
            "name": "image_folder",
            "dir": "",
            "folder": "photos",  # holds train/ and val/
            "labels": "",  # a CSV in it, such as "{folder}.csv" for train.csv and val.csv; empty: class folders
            "separator": "",  # between several labels in the CSV; empty: each image has one
            "group": "",  # the CSV's column of what stays together, such as "patient"; empty: none
            "train_folder": "train",
            "val_folder": "",  # empty: `holdout` of the training images
            "test_folder": "val",
            "workers": 4,
            "size": 256,
            "holdout": 0.2,
        },
        augment={
            "order": ("crop", "flip"),
            "crop": {"size": 224, "area": (0.2, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
            "flip": {"p": 0.5},
        },
        model={"name": "resnet", "depth": 18, "stem": "imagenet", "width": 64},
        task={"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
        optim={
            "name": "adamw",
            "lr": 3e-4,
            "weight_decay": 0.05,
            "schedule": "cosine",
            "warmup_epochs": 1.0,
            **base.SGD,
            **base.ADAMW,
        },
        train={"batch_size": 32, "total_epochs": 40.0, "log_every_steps": 5},
        eval={"batch_size": 64, "crop": 224, "stage": "", "examples": 100, "best": "val/class_mean_accuracy"},
    )


def multilabel(config: ConfigDict) -> None:
    """Several labels for an image, or none, in a CSV."""
    config.data.update(labels="{folder}.csv", separator=" ")
    base.replace(config, task={"name": "multilabel"})
    config.eval.best = "val/map"


def small(config: ConfigDict) -> None:
    """Minutes on 2 CPU cores: 64 px, a narrow network."""
    config.data.update(size=72, workers=0)
    config.augment.crop.size = 64
    config.model.update(width=16, zero_init_residual=True)
    config.optim.lr = 1e-3
    config.train.save_every_epochs = 10.0
    config.eval.update(every_epochs=2.0, crop=64)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.limit = 32
    config.model.width = 4
    config.optim.warmup_epochs = 0.0
    config.train.update(batch_size=8, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=16, every_epochs=1.0, examples=16)


VARIANTS = {"multilabel": multilabel, "small": small, "tiny": tiny}
get_config = base.variants(__file__, classify, VARIANTS)
