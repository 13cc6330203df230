"""BYOL, Bootstrap Your Own Latent (arXiv 2006.07733): features without labels, measured by kNN and a linear probe.

jaxcv train --config=byol                  the demo, on the embedded data set `shapes`
jaxcv train --config=byol:cifar10,small    DATA,SIZE; either may be left out

DATA            network, input      recipe                                          published
(none)          ResNet-18, 32 px    the demo's own                                  -
cifar10         ResNet-18, 32 px    solo-learn's (byol.yaml, cifar)                 92.58 % online linear, 1000 epochs
fashion_mnist   ResNet-18, 28 px    cifar10's, on one channel                       -
imagenette      ResNet-18, 128 px   the paper's public code                         about 92.3 % linear, 1000 epochs
mini_imagenet   ResNet-50, 128 px   byol-pytorch's defaults, Adam, cosine           -
imagenet        ResNet-50, 224 px   the paper's, 300 epochs, batch 4096             72.5 % linear
SIZE            small: minutes on 2 CPU cores.  tiny: seconds, for tests.

The published numbers are not ours, nor from the same evaluation: here it is kNN (k 200, T 0.1) and an L-BFGS linear
probe on frozen, unaugmented features of the test split. Measured with this file, seed 0, on 2 CPU cores:

(none)                 kNN 71.4 %, untrained 10.5 %    5 minutes; 65.4 % when measured before, see docs/results.md
cifar10,small          kNN 39.1 %, untrained 21.4 %    12 minutes
fashion_mnist,small    kNN 79.0 %, untrained 27.4 %    19 minutes, beside other work
"""

from ml_collections import ConfigDict

from jaxcv.configs import base


def demo() -> ConfigDict:
    """The embedded data set: minutes on 2 CPU cores."""
    return base.config(
        data={"name": "shapes", "size": 32},
        augment=demo_views(),
        model={
            "name": "resnet",
            "depth": 18,  # 18, 34, 50, 101, 152
            "stem": "imagenet",  # 7x7/2 and a pool; small: 3x3/1, for 32 px, and sixteen times the work
            "width": 16,  # channels of the first stage; 64 in the paper
            "zero_init_residual": True,  # residual blocks start as the identity
        },
        task={
            "name": "byol",
            "hidden": 512,  # units, of projector and predictor
            "features": 128,  # units, projected
            "tau": 0.95,  # the target's decay rate at the start ...
            "tau_schedule": "cosine",  # ... which rises to 1; constant: stays
            "target_init": "separate",  # copy: starts as the online network
            "predictor": True,  # False: collapses
            "head_norm": True,  # BatchNorm in projector and predictor
        },
        optim={
            "name": "adamw",
            "lr": 3e-3,
            "schedule": "cosine",
            "warmup_epochs": 1.0,
            "weight_decay": 0.05,
            "lars": {"momentum": 0.9, "trust_coefficient": 0.02, "clip_lr": True},  # trust ratio x lr <= lr
            **base.SGD,
            **base.ADAM,
            **base.ADAMW,
        },
        train={"batch_size": 128, "total_epochs": 20.0, "save_every_epochs": 2.0},
        evals={
            "names": ("measure", "knn", "probe"),
            "knn": {"k": 200, "temperature": 0.1},
            "probe": {"iterations": 100},  # L-BFGS steps of each fit
        },
        eval={"every_epochs": 10.0, "batch_size": 256, "examples": 500, "best": "val/knn_accuracy", "report": "last"},
    )


def views(size: int, *, blur: int = 0) -> dict:
    """The paper's two views (table 6) of `size` px; `blur` px wide kernels, 0: none, as is usual for 32 px."""
    return {
        "view1": view(size, blur, blur_p=1.0, solarize_p=0.0),
        "view2": view(size, blur, blur_p=0.1, solarize_p=0.2),
    }


def demo_views() -> dict:
    """Milder crops, and any hue: only the outline is left to tell the images of `shapes` apart."""
    options = views(32)
    for each in options.values():
        each["crop"]["area"] = (0.4, 1.0)
        each["jitter"].update(saturation=0.4, hue=0.5)
        each["solarize"]["p"] = 0.0
    return options


def view(size: int, blur: int, *, blur_p: float, solarize_p: float) -> dict:
    """One view; every `p` is the probability that an image gets the operation."""
    return {
        "order": ("crop", "flip", "jitter", "gray", "blur", "solarize"),
        "crop": {"size": size, "area": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bicubic"},  # share of the image
        "flip": {"p": 0.5},
        "jitter": {"p": 0.8, "brightness": 0.4, "shift": 0.0, "contrast": 0.4, "saturation": 0.2, "hue": 0.1},
        "gray": {"p": 0.2},
        "blur": {"p": blur_p, "kernel": blur, "sigma": (0.1, 2.0)} if blur else {},  # px
        "solarize": {"p": solarize_p, "threshold": 0.5},
    }


def shifted_views(size: int, *, blur: int) -> dict:
    """`views` as in the paper's public code, which adds to the brightness instead of scaling it."""
    options = views(size, blur=blur)
    for each in options.values():
        each["jitter"].update(brightness=0.0, shift=0.4)
    return options


def cifar10(config: ConfigDict) -> None:
    """solo-learn's recipe: ResNet-18 at full width, 1000 epochs of batch 256."""
    data = {"name": "cifar10", "dir": "", "holdout": 5000}  # dir holds cifar-10-batches-py
    base.replace(config, data=data, augment=views(32))
    config.model.update(stem="small", width=64, zero_init_residual=False, dtype="bfloat16")
    config.task.update(hidden=4096, features=256, tau=0.99, target_init="copy")
    config.optim.update(name="lars", lr=1.0, lr_batch_size=256, warmup_epochs=10.0, weight_decay=1e-5)
    config.train.update(batch_size=256, total_epochs=1000.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=20.0, batch_size=1000)


def fashion_mnist(config: ConfigDict) -> None:
    """The recipe of `cifar10` on one channel of 28 px."""
    cifar10(config)
    config.data.name = "fashion_mnist"  # dir holds fashion_mnist/*.gz
    base.replace(config, augment=views(28))


def imagenette(config: ConfigDict) -> None:
    """The settings of the paper's public code for imagenette2-160: ResNet-18 at 128 px, 1000 epochs."""
    base.replace(config, data=folder("imagenette2-160", size=160), augment=shifted_views(128, blur=13))
    config.model.update(width=64, dtype="bfloat16")
    config.task.update(hidden=4096, features=256, tau=0.996)
    config.optim.update(name="lars", lr=2.0, lr_batch_size=256, warmup_epochs=10.0, weight_decay=1e-6)
    config.optim.lars.update(trust_coefficient=1e-3, clip_lr=False)
    config.train.update(batch_size=256, total_epochs=1000.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=20.0, crop=128)


def mini_imagenet(config: ConfigDict) -> None:
    """byol-pytorch's defaults: its augmentation in its order, Adam with cosine, a fixed decay rate of 0.99."""
    data = {**folder("mini", size=128), "mean": (0.4705, 0.4495, 0.4037), "std": (0.2170, 0.2149, 0.2145)}
    base.replace(config, data=data, augment={name: base.default_aug(128) for name in ("view1", "view2")})
    config.model.update(depth=50, width=64, zero_init_residual=False, dtype="bfloat16")
    config.task.update(hidden=4096, features=256, tau=0.99, tau_schedule="constant", target_init="copy")
    config.optim.update(name="adam", lr=1e-4, lr_batch_size=0, warmup_epochs=0.0, weight_decay=0.0)
    config.train.update(batch_size=128, total_epochs=1000.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=20.0)


def imagenet(config: ConfigDict) -> None:
    """The paper's settings for 300 epochs of ImageNet: ResNet-50 at 224 px, batch 4096, LARS."""
    imagenette(config)
    base.replace(config, data=folder("imagenet", size=256, holdout=10000), augment=shifted_views(224, blur=23))
    config.model.update(depth=50, zero_init_residual=False)
    config.task.tau = 0.99
    config.optim.lr = 0.3
    config.train.update(batch_size=4096, total_epochs=300.0, save_every_epochs=1.0)
    config.eval.update(every_epochs=50.0, crop=224)


def folder(name: str, *, size: int, holdout: float = 1000.0) -> dict:
    """Images on disk as NAME/train/CLASS/*.jpg and NAME/val/CLASS/*.jpg; the latter are the split `test`."""
    return {"name": "image_folder", "folder": name, "dir": "", "workers": 4, "size": size, "holdout": holdout}


def small(config: ConfigDict) -> None:
    """A real run in minutes on 2 CPU cores: the demo's network and optimiser, milder crops, few epochs."""
    for options in config.augment.values():
        options.crop.area = (0.2, 1.0)
    for group in ("model", "task", "optim", "train"):
        config[group] = demo()[group]
    config.optim.warmup_epochs = 0.2
    config.train.total_epochs = 12.0
    config.eval.update(every_epochs=6.0, batch_size=256)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests: 8 steps on a few images."""
    small(config)
    config.data.update(workers=0, limit=64)
    if config.data.name == "shapes":
        config.data.count = 64  # makes no more than these, instead of thousands of which 64 are taken
    config.model.width = 4
    config.task.update(hidden=16, features=8)
    base.replace(config, train={"batch_size": 16, "total_steps": 8, "save_every_steps": 3, "log_every_steps": 1})
    config.optim.lr = 0.1
    config.eval.batch_size = 32
    config.evals.probe.iterations = 10
    for group, name, steps in ((config.optim, "warmup", 2), (config.eval, "every", 4)):
        del group[f"{name}_epochs"]
        group[f"{name}_steps"] = steps


VARIANTS = {
    "cifar10": cifar10,
    "fashion_mnist": fashion_mnist,
    "imagenette": imagenette,
    "mini_imagenet": mini_imagenet,
    "imagenet": imagenet,
    "small": small,
    "tiny": tiny,
}
get_config = base.variants(__file__, demo, VARIANTS)
