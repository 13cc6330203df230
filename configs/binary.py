"""Two classes of photos: feature extraction, fine-tuning, AlexNet from scratch, and EfficientNet-B2 with AutoAugment.

python launch/main.py --config=configs/binary.py:extractor --config.init_from=resnet18.pth           .8300
python launch/main.py --config=configs/binary.py:finetune --config.init_from=resnet18.pth            .8750
python launch/main.py --config=configs/binary.py:alexnet                                             .7175
python launch/main.py --config=configs/binary.py:efficientnet --config.init_from=efficientnet_b2.pth .9075

Behind any of them `small` (minutes on 2 CPU cores) or `tiny` (seconds, for tests). The files are torchvision's. The
numbers are the document's, on two classes that it does not name; here it is ants and bees, hymenoptera_data. The
document names neither the first two rows' network nor their optimiser: ResNet-18 and SGD are those of the PyTorch
transfer-learning tutorial, whose code it follows.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "finetune") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = finetune()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/binary.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def finetune() -> ConfigDict:
    """A pretrained ResNet-18 with a new linear layer, all layers trained."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("fc.*",),  # tensors that may be missing or unused there
            "data": {
                "name": "image_folder",
                "folder": "hymenoptera_data",  # holds train/CLASS/ and val/CLASS/
                "dir": "",  # holds the folder; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "size": 256,  # px, the square to which images are decoded
                "holdout": 0.2,  # share of the training images kept back as the split val
            },
            "augment": {
                "order": ("crop", "flip"),
                "crop": {"size": 224, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
                "flip": {"p": 0.5},
            },
            "model": {"name": "resnet", "depth": 18, "stem": "imagenet", "width": 64, "dtype": "float32"},
            "task": {"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
            "optim": {
                "name": "sgd",
                "lr": 1e-3,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "step",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "freeze_statistics": True,  # their BatchNorm runs as in evaluation; False: drifts, as torch's does
                "step": {"every_epochs": 7.0, "gamma": 0.1},
                "sgd": {"momentum": 0.9, "nesterov": False},
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 8,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 25.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 5,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 50,  # images
                "crop": 224,  # px, central; 0: the whole image
                "stage": "",  # of which features are drawn; empty: the last before the logits
                "examples": 100,  # images of val whose features and worst predictions are drawn
                "best": "val/accuracy",  # the best checkpoint has the highest, or lowest loss
                "report": "best",  # the test split sees the best checkpoint; last: the last
            },
        }
    )


def extractor(config: ConfigDict) -> None:
    """Only the new linear layer is trained."""
    config.optim.freeze = ("conv1.*", "bn1.*", "layer*")


def alexnet(config: ConfigDict) -> None:
    """AlexNet, 57,012,034 parameters, nothing pretrained."""
    config.model = ConfigDict({"name": "alexnet", "width": 64, "hidden": 4096, "dropout": 0.5, "dtype": "float32"})


def efficientnet(config: ConfigDict) -> None:
    """EfficientNet-B2 with a linear layer stacked on its 1000 outputs; jitter, AutoAugment's CIFAR-10 policy, Adam."""
    config.init_allow = ("head.*",)
    config.model = ConfigDict(
        {
            "name": "stacked",
            "network": {"name": "efficientnet", "variant": "b2"},
            "dropout": 0.0,
            "dtype": "float32",
        }
    )
    config.augment = ConfigDict(
        {
            "order": ("crop", "flip", "jitter", "autoaugment"),
            "crop": {"size": 224, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
            "flip": {"p": 0.5},
            "jitter": {"p": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
            "autoaugment": {"policy": "cifar10"},
        }
    )
    config.optim.update({"name": "adam", "schedule": "constant"})


def small(config: ConfigDict) -> None:
    """Minutes on 2 CPU cores: 64 px, narrow networks (EfficientNet-B0), larger batches."""
    config.data.update({"size": 72, "workers": 0})
    config.augment.crop.update({"size": 64, "area": (0.3, 1.0)})
    if config.model.name == "resnet":
        config.model.update({"width": 16, "zero_init_residual": True})  # as in configs/byol.py:small
    elif config.model.name == "alexnet":
        config.model.update({"width": 32, "hidden": 256})
    else:
        config.model.network.variant = "b0"
    config.optim.update({"name": "adam", "lr": 1e-3, "schedule": "cosine"})
    config.train.update({"batch_size": 32, "total_epochs": 40.0, "save_every_epochs": 10.0})
    config.eval.update({"every_epochs": 2.0, "crop": 64})


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.limit = 32
    if "width" in config.model:
        config.model.width = 4
    if "hidden" in config.model:
        config.model.hidden = 16
    config.train.update({"batch_size": 8, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 16, "every_epochs": 1.0, "examples": 16})


VARIANTS = {
    "finetune": lambda config: None,
    "extractor": extractor,
    "alexnet": alexnet,
    "efficientnet": efficientnet,
    "small": small,
    "tiny": tiny,
}
