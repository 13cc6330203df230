"""Fifty classes of 32-pixel images named {class}_{id}.png: VGG16, VGG13 and a ResNet-152 with mixup.

jaxcv train --config=classify50:vgg16    the 1000-way head kept, 138,357,544 parameters; .7236
jaxcv train --config=classify50:vgg13    from scratch; .6515
jaxcv train --config=classify50:resnet152 --config.init_from=resnet152.pth    with mixup; .8981

After any of them `small` (minutes on 2 CPU cores: reduced width, few epochs) or `tiny` (seconds, for tests). The
numbers are accuracies, the first of the course report on VGG16, the others of the course report on BYOL, on data that
cannot be had; any folder of {class}_{id}.png files will do. The optimiser of `vgg16` is not in its report; it starts
from torchvision's vgg16 if --config.init_from names that file.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def vgg16() -> ConfigDict:
    """torchvision's VGG16 with its thousand outputs, of which the first fifty are used."""
    return base.config(
        data={
            "name": "image_folder",
            "folder": "p1_data",  # holds train_50/ and val_50/ with {class}_{id}.png
            "train_folder": "train_50",
            "test_folder": "val_50",
            "dir": "",
            "size": 32,
            "holdout": 0.1,
        },
        augment={"order": ("pad_crop", "flip"), "pad_crop": {"size": 32, "padding": 4}, "flip": {"p": 0.5}},  # px
        model={
            "name": "vgg",
            "depth": 16,
            "num_classes": 1000,  # as many as torchvision's file has
            "width": 64,  # channels of the first stage
            "hidden": 4096,  # units
            "dropout": 0.5,
        },
        task={"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
        optim={
            "name": "adamw",
            "lr": 1e-4,
            "schedule": "cosine",
            "warmup_epochs": 1.0,
            "weight_decay": 0.01,
            **base.SGD,
            **base.ADAMW,
        },
        train={"batch_size": 128, "total_epochs": 50.0, "log_every_steps": 50},
        eval={"batch_size": 250, "stage": "fc7", "examples": 1000, "best": "val/accuracy"},  # the second-last layer
    )


def vgg13(config: ConfigDict) -> None:
    """VGG13 from scratch: crop, rotation, flip; AdamW, 500 epochs. PCA and t-SNE of the last convolution's features."""
    base.replace(
        config,
        augment={
            "order": ("pad_crop", "rotate", "flip"),
            "pad_crop": {"size": 32, "padding": 4},  # px
            "rotate": {"degrees": 15.0},
            "flip": {"p": 0.5},
        },
    )
    config.model.update(depth=13, num_classes=50)
    config.optim.update(lr=1e-3, schedule="constant", warmup_epochs=0.0)
    config.train.update(total_epochs=500.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=5.0, stage="pool5")


def resnet152(config: ConfigDict) -> None:
    """A pretrained ResNet-152 at 224 px with mixup and soft targets: SGD, 20 epochs."""
    vgg13(config)
    config.data.update(size=224, workers=4)
    config.augment.pad_crop.update(size=224, padding=28)
    config.augment.mix = ConfigDict({"mixup_alpha": 0.8, "switch_p": 0.0})  # arXiv 1710.09412
    config.init_allow = ("fc.*",)  # the file's has 1000 classes
    base.replace(config, model={"name": "resnet", "depth": 152, "stem": "imagenet", "width": 64})
    config.optim.update(name="sgd", lr=3e-3, weight_decay=0.0)
    config.train.update(batch_size=32, total_epochs=20.0, save_every_epochs=1.0)
    config.eval.update(every_epochs=1.0, stage="avgpool", batch_size=100)


def small(config: ConfigDict) -> None:
    """Minutes on 2 CPU cores: narrow networks on 32 px, few epochs."""
    config.data.update(size=32, workers=0)
    config.augment.pad_crop.update(size=32, padding=4)
    config.model.width = 16
    if config.model.name == "vgg":
        config.model.hidden = 256
    else:
        config.model.depth = 18
    config.optim.update(name="adamw", lr=5e-4, schedule="cosine", warmup_epochs=0.5)
    config.train.update(batch_size=32, total_epochs=3.0, save_every_epochs=1.0)
    config.eval.update(every_epochs=1.0, batch_size=250)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.limit = 64
    config.model.width = 4
    if config.model.name == "vgg":
        config.model.hidden = 16
    config.train.update(batch_size=16, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=32, examples=32)


VARIANTS = {"vgg16": lambda config: None, "vgg13": vgg13, "resnet152": resnet152, "small": small, "tiny": tiny}
get_config = base.variants(__file__, vgg16, VARIANTS)
