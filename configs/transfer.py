"""Transfer of a pretrained ResNet to another classification: from scratch, supervised or BYOL, whole or frozen.

jaxcv train --config=transfer:scratch                                    A  .5271
jaxcv train --config=transfer --config.init_from=pretrain_model_SL.pt    B  .5527
jaxcv train --config=transfer --config.init_from=runs/BYOL               C  .5505
jaxcv train --config=transfer:frozen --config.init_from=...              D, E  .2422, .2084
jaxcv sweep --config=transfer:hymenoptera,grid                           A to E, small, three seeds

Variants: scratch, full (the default), frozen; before them `hymenoptera`, another data set and a small ResNet; after
them `grid`, `tiny`. The numbers are accuracies of the course report on BYOL, for the 65 classes of Office-Home. Its
network is a ResNet-50 with its 1000-way layer, on which dropout and a linear layer are stacked, trained for 150 epochs.
A BYOL run gives the trunk alone, so the 1000-way layer starts from random weights. The small grid begins with the
weights of

jaxcv train --config=byol:cifar10,small     BYOL, in runs/byol-cifar10-small
jaxcv train --config=transfer:supervised    the same trunk with labels
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def full() -> ConfigDict:
    """Office-Home, all layers trained."""
    return base.config(
        init_allow=("fc.*", "head.*"),
        data={
            "name": "image_folder",
            "folder": "p2_data/office",  # holds train/, val/, train.csv and val.csv
            "labels": "{folder}.csv",
            "dir": "",
            "workers": 4,
            "size": 128,
            "holdout": 0.1,
            "mean": (0.4705, 0.4495, 0.4037),
            "std": (0.2170, 0.2149, 0.2145),
        },
        augment=base.default_aug(128),
        model={
            "name": "stacked",
            "network": {"name": "resnet", "depth": 50, "stem": "imagenet", "width": 64},  # its 1000 classes stay
            "dropout": 0.5,
        },
        task={"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
        optim={"name": "adam", "lr": 5e-4, "schedule": "constant", "freeze_statistics": True, **base.SGD, **base.ADAM},
        train={"batch_size": 64, "total_epochs": 150.0},
        eval={"batch_size": 100, "stage": "avgpool", "examples": 500, "best": "val/accuracy"},
    )


def trunk(config: ConfigDict) -> tuple:
    """Patterns of the parameters of the ResNet without its linear layer."""
    prefix = "backbone." if config.model.name == "stacked" else ""
    return (f"{prefix}conv1.*", f"{prefix}bn1.*", f"{prefix}layer*")


def hymenoptera(config: ConfigDict) -> None:
    """Ants and bees at 64 px, the narrow ResNet-18 of configs/byol.py:small; minutes on 2 CPU cores."""
    base.replace(
        config,  # its folder holds train/{ants,bees}/ and val/{ants,bees}/
        data={"name": "image_folder", "folder": "hymenoptera_data", "dir": "", "size": 72, "holdout": 0.2},
        augment={
            "order": ("crop", "flip", "jitter"),
            "crop": {"size": 64, "area": (0.3, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
            "flip": {"p": 0.5},
            "jitter": {"p": 0.8, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05},
        },
        model={"name": "resnet", "depth": 18, "stem": "imagenet", "width": 16, "zero_init_residual": True},
    )
    config.optim.update(name="adam", lr=1e-3, schedule="cosine")
    config.train.update(batch_size=32, total_epochs=40.0, save_every_epochs=10.0, log_every_steps=5)
    config.eval.update(every_epochs=2.0, crop=64)


def supervised(config: ConfigDict) -> None:
    """The trunk of `hymenoptera` trained on CIFAR-10 with labels, for rows B and D of the small grid."""
    hymenoptera(config)
    base.replace(
        config,
        data={"name": "cifar10", "dir": "", "holdout": 5000},
        augment={"order": ("pad_crop", "flip"), "pad_crop": {"size": 32, "padding": 4}, "flip": {"p": 0.5}},  # px
    )
    config.optim.update(name="adam", lr=2e-3)
    config.train.update(batch_size=128, total_epochs=12.0, save_every_epochs=4.0, log_every_steps=50)
    config.eval.update(every_epochs=3.0, batch_size=250, crop=0)


def grid(config: ConfigDict) -> None:
    """The rows A to E, for jaxcv sweep."""
    labels, byol, freeze = "runs/transfer-supervised", "runs/byol-cifar10-small", trunk(config)
    table = (
        ("A scratch, full", "", (), 0.5271),
        ("B supervised, full", labels, (), 0.5527),
        ("C BYOL, full", byol, (), 0.5505),
        ("D supervised, frozen", labels, freeze, 0.2422),
        ("E BYOL, frozen", byol, freeze, 0.2084),
    )
    rows = {name: ({"init_from": file, "optim": {"freeze": names}}, value) for name, file, names, value in table}
    base.sweep(config, rows, metrics=("test/accuracy",), seeds=(0, 1, 2))


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.update(workers=0, limit=32)
    for group in (config.data, config.augment.get("crop", {})):
        if "size" in group:
            group.size = 32
    network = config.model.network if config.model.name == "stacked" else config.model
    network.update(depth=18, width=4)
    config.train.update(batch_size=8, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=16, every_epochs=1.0, examples=16, crop=0)


VARIANTS = {
    "full": lambda config: None,  # B and C
    "scratch": lambda config: None,  # A: as full, with no file named by init_from
    "frozen": lambda config: config.optim.update(freeze=trunk(config)),  # D and E: what follows the trunk is trained
    "hymenoptera": hymenoptera,
    "supervised": supervised,
    "grid": grid,
    "tiny": tiny,
}
get_config = base.variants(__file__, full, VARIANTS)
