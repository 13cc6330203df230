"""FCN8s on CamVid, with skip connections and without, of 11 classes or 3.

python launch/main.py --config=configs/camvid.py                      skips; mIoU .4295, pixel accuracy .8523
python launch/main.py --config=configs/camvid.py:no_skips             .4055, .8384
python launch/main.py --config=configs/camvid.py:no_skips,three       .8261, .9629
python launch/sweep.py --config=configs/camvid.py:small,skips         with against without, three seeds

In front of `skips`, `small` (many minutes on 2 CPU cores: 96 x 128 px, a narrow VGG11); behind all, `tiny` (seconds,
for tests). The document's mIoU is `miou/per_image_nanmean`; its pixel accuracy `acc/pixel_mean_image`, of which void
pixels are misses. Its settings are not stated, these are pochih/FCN-pytorch's. It begins with torchvision's vgg16: name
its file with --config.init_from. Images are 352 x 480, because FCN8s cannot add its skips at CamVid's 360 rows.
"""

from ml_collections import ConfigDict

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
PALETTE = (  # SegNet's
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = eleven()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/camvid.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def eleven() -> ConfigDict:
    """11 classes, with skips."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("classifier*", "deconv*", "bn*"),  # tensors that may be missing or unused there
            "data": {
                "name": "mask_folder",
                "folder": "CamVid",  # holds train/, trainannot/, val/, valannot/, test/, testannot/
                "dir": "",  # holds the folder; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "height": 352,  # px, to which images are resized
                "width": 480,  # px
                "classes": CLASSES,
                "palette": PALETTE,
                "ignore": 11,  # unlabelled
                "val_folder": "val",
            },
            "augment": {"order": ("flip",), "flip": {"p": 0.5}},
            "model": {"name": "fcn8s", "depth": 16, "width": 64, "skips": True, "dtype": "float32"},
            "task": {"name": "segment", "loss": "binary", "aux_weight": 0.0},
            "optim": {
                "name": "rmsprop",
                "lr": 1e-4,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "step",
                "warmup_epochs": 0.0,
                "weight_decay": 1e-5,
                "decay_all": True,  # biases and norms too, as in torch
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "step": {"every_epochs": 50.0, "gamma": 0.5},
                "rmsprop": {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0},
                "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 6,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 50.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 10,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 4,  # images
                "crop": 0,
                "examples": 4,  # images of val that are drawn
                "best": "val/miou/per_image_nanmean",  # the best checkpoint has the highest
                "report": "best",  # the test split sees the best checkpoint; last: the last
            },
        }
    )


def no_skips(config: ConfigDict) -> None:
    """The additions are removed."""
    config.model.skips = False


def three(config: ConfigDict) -> None:
    """0 sky; 1 what stands still, void too; 2 what moves."""
    config.data.update(
        {
            "classes": ("sky", "static", "moving"),
            "palette": ((128, 128, 128), (128, 0, 0), (64, 0, 128)),
            "remap": (0, *[1] * 7, *[2] * 3, 1),
            "ignore": 255,  # no pixel
        }
    )


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 96 x 128 px and a narrow VGG11."""
    config.data.update({"height": 96, "width": 128, "workers": 0})
    config.model.update({"depth": 11, "width": 16})
    config.task.loss = "cross_entropy"
    config.optim.update({"name": "adamw", "lr": 2e-3, "schedule": "cosine", "weight_decay": 0.01})
    config.train.update({"batch_size": 8, "total_epochs": 30.0, "save_every_epochs": 10.0})
    config.eval.update({"every_epochs": 5.0, "batch_size": 20})


def skips(config: ConfigDict) -> None:
    """With against without, for launch/sweep.py."""
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": name, "set": {"model": {"skips": name == "skips"}}} for name in ("skips", "none")),
            "seeds": (0, 1, 2),
            "metrics": ("test/miou/per_image_nanmean", "test/miou/pooled_nanmean", "test/acc/pixel_mean_image"),
            "reference": (("skips", 0.4295), ("none", 0.4055)),
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update({"height": 32, "width": 64, "limit": 16})
    config.model.width = 4
    config.train.update({"batch_size": 8, "total_epochs": 4.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"every_epochs": 2.0, "batch_size": 8, "examples": 2})


VARIANTS = {"no_skips": no_skips, "three": three, "small": small, "skips": skips, "tiny": tiny}
