"""Six classes of COCO's supercategories: ResNet-18 without its classifier, and one to five convolutions.

jaxcv train --config=coco --config.init_from=resnet18.pth                        AP/IoU .74/.54
jaxcv train --config=coco:one_layer --config.init_from=resnet18.pth              .70/.48
jaxcv sweep --config=coco:one_layer,rates --config.init_from=resnet18.pth        1e-3, 1e-4, 1e-5
jaxcv sweep --config=coco:convs --config.init_from=resnet18.pth                  1 to 5
jaxcv sweep --config=coco:one_layer,dilations --config.init_from=resnet18.pth    4, 8, 16

Variants: best (the default), one_layer; `rates`, `convs`, `dilations` are sweeps; after all, `small` (2 CPU cores: 64
px, a narrow network, from scratch) and `tiny` (seconds, for tests). AP is `ap/pixel_voc`, of all pixels of the
validation images together; IoU is `miou/pooled_zero`, with the background as a class. resnet18.pth is torchvision's.

The numbers are those of the course report on Fashion-MNIST, whose second part this is. Its images are the course's
selection from COCO; here they are all that show an object of a group. Its validation images are both splits `val` and
`test`: nothing is chosen by them, the run reports its last state.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

HIDDEN = (256, 128, 64, 32)  # channels of the convolutions but the last


def best() -> ConfigDict:
    """Three convolutions."""
    return base.config(
        init_allow=("fc.*", "conv*", "bn*"),
        init_fresh=(),
        data={
            "name": "coco",
            "folder": "coco",  # holds train2017/, val2017/ and annotations/instances_{train,val}2017.json
            "dir": "",
            "workers": 4,
            "height": 224,
            "width": 224,
            "groups": ("sports", "accessory", "animal", "vehicle", "person"),  # supercategories; 0: background
            "train_folder": "train2017",
            "val_folder": "val2017",
            "test_folder": "val2017",
        },
        augment={"order": ()},
        model={
            "name": "resnet_fcn",
            "hidden": HIDDEN[:2],
            "last_kernel": 3,
            "batch_norm": True,
            "dropout": 0.0,
            "last_dilation": 1,
            "width": 64,
        },
        task={"name": "segment", "loss": "cross_entropy", "average_precision": True},
        optim={
            "name": "adam",
            "lr": 1e-4,
            "schedule": "step",
            "step": {"every_epochs": 10.0, "gamma": 0.9},
            **base.ADAM,
        },
        train={"batch_size": 32, "total_epochs": 20.0, "log_every_steps": 20},
        eval={"batch_size": 32, "examples": 6, "named": (), "best": "val/miou/pooled_zero", "report": "last"},
    )


def one_layer(config: ConfigDict) -> None:
    """Dropout, one convolution and the scores."""
    config.model.update(hidden=HIDDEN[:1], last_kernel=1, batch_norm=False, dropout=0.5)


def sweep(config: ConfigDict, rows: dict) -> None:
    """A sweep of rows: name -> what it sets, the report's IoU."""
    base.sweep(config, rows, metrics=("test/miou/pooled_zero", "test/ap/pixel_voc"))


def rates(config: ConfigDict) -> None:
    """Learning rates."""
    ious = {1e-3: 0.44, 1e-4: 0.48, 1e-5: 0.44}
    sweep(config, {f"lr {lr:g}": ({"optim": {"lr": lr}}, iou) for lr, iou in ious.items()})


def convs(config: ConfigDict) -> None:
    """Numbers of convolutions."""
    ious = (0.48, 0.49, 0.54, 0.52, 0.53)
    names = ("1 convolution", *(f"{n} convolutions" for n in range(2, 6)))
    sweep(config, {name: ({"model": {"hidden": HIDDEN[:i]}}, ious[i]) for i, name in enumerate(names)})


def dilations(config: ConfigDict) -> None:
    """Dilations of ResNet's last block, whose weights start from random values.

    Its map is 7x7 at 224 px: from 7 on only a kernel's centre lies inside, and 8 and 16 are the same network. At 64 px
    (2x2) all three are.
    """
    config.init_fresh = ("layer4.1.conv*",)
    ious = {4: 0.47, 8: 0.45, 16: 0.44}
    sweep(config, {f"dilation {n}": ({"model": {"last_dilation": n}}, iou) for n, iou in ious.items()})


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 64 px, a narrow network, from scratch."""
    config.data.update(height=64, width=64, workers=0)
    config.model.width = 16
    config.optim.lr = 1e-3
    config.train.update(batch_size=16, total_epochs=10.0)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update(height=32, width=32, limit=8, groups=("animal", "vehicle"))
    config.model.update(width=4, hidden=(8, 4))
    config.train.update(batch_size=4, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=4, examples=2)


SWEEPS = {"rates": rates, "convs": convs, "dilations": dilations}
VARIANTS = {"best": lambda config: None, "one_layer": one_layer, **SWEEPS, "small": small, "tiny": tiny}
get_config = base.variants(__file__, best, VARIANTS)
