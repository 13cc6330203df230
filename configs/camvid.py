"""FCN8s on CamVid, with skip connections and without, of 11 classes or 3.

jaxcv train --config=camvid                   skips; mIoU .4295, pixel accuracy .8523
jaxcv train --config=camvid:no_skips          .4055, .8384
jaxcv train --config=camvid:no_skips,three    .8261, .9629
jaxcv sweep --config=camvid:small,skips       with against without, three seeds

Before `skips`, `small` (many minutes on 2 CPU cores: 96 x 128 px, a narrow VGG11); after all, `tiny` (seconds, for
tests). The numbers are those of the course report on transfer learning: its mIoU is `miou/per_image_nanmean`, its pixel
accuracy `acc/pixel_mean_image`, for which void pixels are always wrong. It does not state its settings; these are
pochih/FCN-pytorch's. It begins with torchvision's vgg16: name that file with --config.init_from. Images are 352 x 480,
because FCN8s cannot add its skips at CamVid's 360 rows.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
PALETTE = (  # SegNet's
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)


def eleven() -> ConfigDict:
    """11 classes, with skips."""
    return base.config(
        init_allow=("classifier*", "deconv*", "bn*"),
        data={
            "name": "mask_folder",
            "folder": "CamVid",  # holds train/, trainannot/, val/, valannot/, test/, testannot/
            "dir": "",
            "workers": 4,
            "height": 352,
            "width": 480,
            "classes": CLASSES,
            "palette": PALETTE,
            "ignore": 11,  # unlabelled
            "val_folder": "val",
        },
        augment={"order": ("flip",), "flip": {"p": 0.5}},
        model={"name": "fcn8s", "depth": 16, "width": 64, "skips": True},
        task={"name": "segment", "loss": "binary", "aux_weight": 0.0},
        optim={
            "name": "rmsprop",
            "lr": 1e-4,
            "schedule": "step",
            "weight_decay": 1e-5,
            "decay_all": True,
            "step": {"every_epochs": 50.0, "gamma": 0.5},
            "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0},
            **base.ADAMW,
        },
        train={"batch_size": 6, "total_epochs": 50.0},
        eval={"batch_size": 4, "examples": 4, "best": "val/miou/per_image_nanmean"},
    )


def no_skips(config: ConfigDict) -> None:
    """The additions are removed."""
    config.model.skips = False


def three(config: ConfigDict) -> None:
    """0 sky; 1 static, void included; 2 moving."""
    config.data.update(
        classes=("sky", "static", "moving"),
        palette=((128, 128, 128), (128, 0, 0), (64, 0, 128)),
        remap=(0, *[1] * 7, *[2] * 3, 1),
        ignore=255,  # no pixel
    )


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 96 x 128 px and a narrow VGG11."""
    config.data.update(height=96, width=128, workers=0)
    config.model.update(depth=11, width=16)
    config.task.loss = "cross_entropy"
    config.optim.update(name="adamw", lr=2e-3, schedule="cosine", weight_decay=0.01)
    config.train.update(batch_size=8, total_epochs=30.0, save_every_epochs=10.0)
    config.eval.update(every_epochs=5.0, batch_size=20)


def skips(config: ConfigDict) -> None:
    """With against without, for jaxcv sweep."""
    rows = {"skips": ({"model": {"skips": True}}, 0.4295), "none": ({"model": {"skips": False}}, 0.4055)}
    metrics = ("test/miou/per_image_nanmean", "test/miou/pooled_nanmean", "test/acc/pixel_mean_image")
    base.sweep(config, rows, metrics=metrics, seeds=(0, 1, 2))


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update(height=32, width=64, limit=16)
    config.model.width = 4
    config.train.update(batch_size=8, total_epochs=4.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(every_epochs=2.0, batch_size=8, examples=2)


VARIANTS = {"no_skips": no_skips, "three": three, "small": small, "skips": skips, "tiny": tiny}
get_config = base.variants(__file__, eleven, VARIANTS)
