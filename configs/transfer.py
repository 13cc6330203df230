"""Transfer of a pretrained ResNet to another classification: from scratch, supervised or BYOL, whole or frozen.

python launch/main.py --config=configs/transfer.py:scratch                                   A  .5271
python launch/main.py --config=configs/transfer.py --config.init_from=pretrain_model_SL.pt   B  .5527
python launch/main.py --config=configs/transfer.py --config.init_from=runs/BYOL              C  .5505
python launch/main.py --config=configs/transfer.py:frozen --config.init_from=...             D, E  .2422, .2084
python launch/sweep.py --config=configs/transfer.py:hymenoptera,grid                         A to E, small, three seeds

Variants: scratch, full (the default), frozen; before them `hymenoptera`, another data set and a small ResNet; behind
them `grid`, `tiny`. The numbers are the document's on 65 classes of Office-Home, where the network is a ResNet-50 with
its 1000-way layer, and dropout and a linear layer stacked on it, trained for 150 epochs. A BYOL run gives the trunk
alone, so that the kept layer starts anew. What the small grid begins with is trained by

python launch/main.py --config=configs/byol.py:cifar10,small            BYOL, in runs/byol-cifar10-small
python launch/main.py --config=configs/transfer.py:supervised           the same trunk with labels
"""

from ml_collections import ConfigDict


def get_config(arg: str = "full") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = full()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/transfer.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def full() -> ConfigDict:
    """Office-Home, all layers trained."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("fc.*", "head.*"),  # tensors that may be missing or unused there
            "data": {
                "name": "image_folder",
                "folder": "p2_data/office",  # holds train/, val/, train.csv and val.csv
                "labels": "{folder}.csv",
                "dir": "",  # holds the folder; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "size": 128,  # px, the square to which images are decoded
                "holdout": 0.1,  # share of the training images kept back as the split val
                "mean": (0.4705, 0.4495, 0.4037),
                "std": (0.2170, 0.2149, 0.2145),
            },
            "augment": {  # byol-pytorch's DEFAULT_AUG, in its order
                "order": ("jitter", "gray", "flip", "blur", "crop"),
                "jitter": {"p": 0.3, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2},
                "gray": {"p": 0.2},
                "flip": {"p": 0.5},
                "blur": {"p": 0.2, "kernel": 3, "sigma": (1.0, 2.0)},  # px
                "crop": {"size": 128, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
            },
            "model": {
                "name": "stacked",
                "network": {"name": "resnet", "depth": 50, "stem": "imagenet", "width": 64},  # its 1000 classes stay
                "dropout": 0.5,
                "dtype": "float32",  # of the computation; parameters are float32
            },
            "task": {"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
            "optim": {
                "name": "adam",
                "lr": 5e-4,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "constant",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "freeze_statistics": True,  # their BatchNorm runs as in evaluation; False: drifts, as torch's does
                "sgd": {"momentum": 0.9, "nesterov": False},
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 64,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 150.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 10,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 100,  # images
                "crop": 0,  # px, central; 0: the whole image
                "stage": "avgpool",  # of which features are drawn
                "examples": 500,  # images of val whose features and worst predictions are drawn
                "best": "val/accuracy",  # the best checkpoint has the highest, or lowest loss
                "report": "best",  # the test split sees the best checkpoint; last: the last
            },
        }
    )


def scratch(config: ConfigDict) -> None:
    """A: nothing pretrained."""
    config.init_from = ""


def frozen(config: ConfigDict) -> None:
    """D and E: only the classifier, all that lies behind the trunk, is trained."""
    config.optim.freeze = frozen_trunk(config)


def frozen_trunk(config: ConfigDict) -> tuple:
    """Patterns of the trunk's parameters, but for its last linear layer."""
    prefix = "backbone." if config.model.name == "stacked" else ""
    return (f"{prefix}conv1.*", f"{prefix}bn1.*", f"{prefix}layer*")


def hymenoptera(config: ConfigDict) -> None:
    """Ants and bees at 64 px, the narrow ResNet-18 of configs/byol.py:small; minutes on 2 CPU cores."""
    config.data = ConfigDict(
        {
            "name": "image_folder",
            "folder": "hymenoptera_data",  # holds train/{ants,bees}/ and val/{ants,bees}/
            "dir": "",
            "workers": 0,
            "limit": 0,
            "size": 72,  # px
            "holdout": 0.2,
        }
    )
    config.augment = ConfigDict(
        {
            "order": ("crop", "flip", "jitter"),
            "crop": {"size": 64, "area": (0.3, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
            "flip": {"p": 0.5},
            "jitter": {"p": 0.8, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05},
        }
    )
    config.model = ConfigDict(
        {
            "name": "resnet",
            "depth": 18,
            "stem": "imagenet",
            "width": 16,  # channels of the first stage
            "zero_init_residual": True,
            "dtype": "float32",
        }
    )
    config.optim.update({"name": "adam", "lr": 1e-3, "schedule": "cosine"})
    config.train.update({"batch_size": 32, "total_epochs": 40.0, "save_every_epochs": 10.0, "log_every_steps": 5})
    config.eval.update({"every_epochs": 2.0, "crop": 64})


def supervised(config: ConfigDict) -> None:
    """The trunk of `hymenoptera` trained on CIFAR-10 with labels, for rows B and D of the small grid."""
    hymenoptera(config)
    config.data = ConfigDict({"name": "cifar10", "dir": "", "workers": 0, "limit": 0, "holdout": 5000})
    config.augment = ConfigDict(
        {"order": ("pad_crop", "flip"), "pad_crop": {"size": 32, "padding": 4}, "flip": {"p": 0.5}}  # px
    )
    config.optim.update({"name": "adam", "lr": 2e-3})
    config.train.update({"batch_size": 128, "total_epochs": 12.0, "save_every_epochs": 4.0, "log_every_steps": 50})
    config.eval.update({"every_epochs": 3.0, "batch_size": 250, "crop": 0})


def grid(config: ConfigDict) -> None:
    """The rows A to E for launch/sweep.py."""
    trunk = frozen_trunk(config)
    labels, byol = "runs/transfer-supervised", "runs/byol-cifar10-small"
    rows = (
        ("A scratch, full", "", ()),
        ("B supervised, full", labels, ()),
        ("C BYOL, full", byol, ()),
        ("D supervised, frozen", labels, trunk),
        ("E BYOL, frozen", byol, trunk),
    )
    config.sweep = ConfigDict(
        {
            "rows": tuple(
                {"name": name, "set": {"init_from": source, "optim": {"freeze": freeze}}}
                for name, source, freeze in rows
            ),
            "seeds": (0, 1, 2),
            "metrics": ("test/accuracy",),
            "reference": tuple(zip((row[0] for row in rows), (0.5271, 0.5527, 0.5505, 0.2422, 0.2084))),
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.update({"workers": 0, "limit": 32})
    for group, name in ((config.data, "size"), (config.augment.get("crop", {}), "size")):
        if name in group:
            group[name] = 32
    network = config.model.network if config.model.name == "stacked" else config.model
    network.update({"depth": 18, "width": 4})
    config.train.update({"batch_size": 8, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 16, "every_epochs": 1.0, "examples": 16, "crop": 0})


VARIANTS = {
    "full": lambda config: None,
    "scratch": scratch,
    "frozen": frozen,
    "hymenoptera": hymenoptera,
    "supervised": supervised,
    "grid": grid,
    "tiny": tiny,
}
