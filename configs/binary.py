"""Two classes of photos: feature extraction, fine-tuning, AlexNet from scratch, and EfficientNet-B2 with AutoAugment.

jaxcv train --config=binary:extractor --config.init_from=resnet18.pth              .8300
jaxcv train --config=binary:finetune --config.init_from=resnet18.pth               .8750
jaxcv train --config=binary:alexnet                                                .7175
jaxcv train --config=binary:efficientnet --config.init_from=efficientnet_b2.pth    .9075

After any of them `small` (minutes on 2 CPU cores) or `tiny` (seconds, for tests). The .pth files are torchvision's. The
numbers are accuracies of the course report on transfer learning, for two classes that it does not name; here they
are ants and bees, hymenoptera_data. For the first two rows the report names neither network nor optimiser: ResNet-18
and SGD are those of the PyTorch transfer-learning tutorial, whose code it follows.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

CROP = {"size": 224, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"}  # px, share of the image


def finetune() -> ConfigDict:
    """A pretrained ResNet-18 with a new linear layer, all layers trained."""
    return base.config(
        init_allow=("fc.*",),
        data={
            "name": "image_folder",
            "folder": "hymenoptera_data",  # holds train/CLASS/ and val/CLASS/
            "dir": "",
            "workers": 4,
            "size": 256,
            "holdout": 0.2,
        },
        augment={"order": ("crop", "flip"), "crop": CROP, "flip": {"p": 0.5}},
        model={"name": "resnet", "depth": 18, "stem": "imagenet", "width": 64},
        task={"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
        optim={
            "name": "sgd",
            "lr": 1e-3,
            "schedule": "step",
            "freeze_statistics": True,
            "step": {"every_epochs": 7.0, "gamma": 0.1},
            **base.SGD,
            **base.ADAM,
        },
        train={"batch_size": 8, "total_epochs": 25.0, "log_every_steps": 5},
        eval={"batch_size": 50, "crop": 224, "stage": "", "examples": 100, "best": "val/accuracy"},
    )


def alexnet(config: ConfigDict) -> None:
    """AlexNet, 57,012,034 parameters, nothing pretrained."""
    base.replace(config, model={"name": "alexnet", "width": 64, "hidden": 4096, "dropout": 0.5})


def efficientnet(config: ConfigDict) -> None:
    """EfficientNet-B2 with a linear layer stacked on its 1000 outputs; jitter, AutoAugment's CIFAR-10 policy, Adam."""
    config.init_allow = ("head.*",)
    base.replace(
        config,
        model={"name": "stacked", "network": {"name": "efficientnet", "variant": "b2"}, "dropout": 0.0},
        augment={
            "order": ("crop", "flip", "jitter", "autoaugment"),
            "crop": CROP,
            "flip": {"p": 0.5},
            "jitter": {"p": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
            "autoaugment": {"policy": "cifar10"},
        },
    )
    config.optim.update(name="adam", schedule="constant")


def small(config: ConfigDict) -> None:
    """Minutes on 2 CPU cores: 64 px, narrow networks (EfficientNet-B0), larger batches."""
    config.data.update(size=72, workers=0)
    config.augment.crop.update(size=64, area=(0.3, 1.0))
    if config.model.name == "resnet":
        config.model.update(width=16, zero_init_residual=True)  # as in configs/byol.py:small
    elif config.model.name == "alexnet":
        config.model.update(width=32, hidden=256)
    else:
        config.model.network.variant = "b0"
    config.optim.update(name="adam", lr=1e-3, schedule="cosine")
    config.train.update(batch_size=32, total_epochs=40.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=2.0, crop=64)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.limit = 32
    if "width" in config.model:
        config.model.width = 4
    if "hidden" in config.model:
        config.model.hidden = 16
    config.train.update(batch_size=8, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=16, every_epochs=1.0, examples=16)


VARIANTS = {
    "finetune": lambda config: None,
    "extractor": lambda config: config.optim.update(freeze=("conv1.*", "bn1.*", "layer*")),  # all but the new layer
    "alexnet": alexnet,
    "efficientnet": efficientnet,
    "small": small,
    "tiny": tiny,
}
get_config = base.variants(__file__, finetune, VARIANTS)
