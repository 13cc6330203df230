"""Land cover from aerial tiles: VGG16-FCN32s against FCN16s, and DeepLabV3 with a polynomial loss.

python launch/sweep.py --config=configs/landcover.py:compare                      FCN32s, FCN16s; mIoU .670, .709
python launch/main.py --config=configs/landcover.py:fcn32s_wide                   another course's FCN32s; .6027
python launch/main.py --config=configs/landcover.py:deeplabv3 --config.init_from=deeplabv3_resnet50_coco.pth    .7467
python launch/sweep.py --config=configs/landcover.py:dubai,small,compare          other tiles, minutes on 2 CPU cores

Variants: fcn32s (the default), fcn16s, fcn32s_wide, deeplabv3; behind them `dubai`, the tiles of Humans in the Loop's
aerial images of Dubai, 5 classes; `small`, 2 CPU cores; `compare`, a sweep; behind all, `tiny` (seconds, for tests).
The FCNs begin with torchvision's vgg16: name its file with --config.init_from.

The documents' mIoU is `miou/landcover6`: pooled, classes 0-5, and pixels of class 6, unknown, count as errors of the
class that is predicted there. Their validation tiles are both splits `val` and `test` here: nothing is chosen by them,
the run reports its last state, and draws the documents' three tiles (other ones for `deeplabv3`). The first document
does not state how it trained: Adam at 1e-4 is ours. The second trains FCN32s at 1e-3; its code was not found, and Adam
and weight decay are those of public code of the same course.
"""

from ml_collections import ConfigDict

CLASSES = ("urban", "agriculture", "rangeland", "forest", "water", "barren", "unknown")
COLORS = (  # DeepGlobe's
    *((0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0)),
    *((0, 0, 255), (255, 255, 255), (0, 0, 0)),
)
DUBAI = {
    "building": (60, 16, 152),
    "land": (132, 41, 246),
    "road": (110, 193, 228),
    "vegetation": (254, 221, 58),
    "water": (226, 169, 41),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = base()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/landcover.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def base() -> ConfigDict:
    """FCN32s on DeepGlobe's tiles in the course's form."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("classifier*", "upsample*"),  # tensors that may be missing or unused there
            "data": {
                "name": "mask_folder",
                "folder": "p2_data",  # holds train/ and validation/, with NNNN_sat.jpg and NNNN_mask.png
                "dir": "",  # holds the folder; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "height": 256,  # px, to which images are resized
                "width": 256,  # px
                "classes": CLASSES,
                "colors": COLORS,
                "threshold": 128,  # channels are 255 from here on, 0 below
                "outside": 6,  # red, which is no class's colour, is unknown
                "ignore": 255,  # no pixel; what augmentation brings in from outside
                "image": "{folder}/*_sat",
                "mask": "{folder}/*_mask",
                "val_folder": "validation",
                "test_folder": "validation",
            },
            "augment": {"order": ("flip",), "flip": {"p": 0.5}},
            "model": {
                "name": "fcn32s",
                "depth": 16,
                "width": 64,  # channels of the first stage
                "hidden": 4096,  # channels of conv6 and conv7
                "dropout": 0.5,
                "dtype": "float32",
            },
            "task": {"name": "segment", "loss": "cross_entropy", "aux_weight": 0.0, "ignore_in_loss": False},
            "optim": {
                "name": "adam",
                "lr": 1e-4,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "constant",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
                "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 8,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 20.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 10,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 8,  # images
                "crop": 0,
                "tile": 512,  # px of a larger image that launch/predict.py shows the network at once; 0: all of it
                "examples": 3,  # images of val that are drawn, where none are named
                "named": ("0010", "0097", "0107"),  # those that are drawn, at the first, a middle and the last epoch
                "best": "val/miou/landcover6",  # the best checkpoint has the highest
                "report": "last",  # the documents report on the split by which a best epoch would be chosen
            },
        }
    )


def fcn32s(config: ConfigDict) -> None:
    """The first document's baseline."""
    config.model.name = "fcn32s"


def fcn16s(config: ConfigDict) -> None:
    """The first document's improved model."""
    config.model.name = "fcn16s"


def fcn32s_wide(config: ConfigDict) -> None:
    """The second document's FCN32s: VGG's own kernel of 7 in conv6, 512 px, and its training."""
    config.data.update({"height": 512, "width": 512})
    config.augment = ConfigDict({"order": ()})
    config.model.kernel = 7
    config.optim.update({"lr": 1e-3, "weight_decay": 1e-5, "decay_all": True})
    config.train.update({"batch_size": 4, "total_epochs": 50.0})
    config.eval.update({"batch_size": 4, "named": ("0013", "0062", "0104")})


def deeplabv3(config: ConfigDict) -> None:
    """DeepLabV3 on ResNet-50 with its auxiliary classifier, both in Poly-1 of the mean cross-entropy, one cycle of lr.

    poly1 is that of the paper, of each pixel: --config.task.loss=poly1.
    """
    config.init_allow = ("classifier.4.*", "aux_classifier.4.*")
    config.data.update({"height": 512, "width": 512, "ignore": 6})
    config.augment = ConfigDict({"order": ()})
    config.model = ConfigDict({"name": "deeplabv3", "depth": 50, "aux": True, "width": 64, "dtype": "float32"})
    config.task.update({"loss": "poly1_of_mean", "aux_weight": 1.0, "ignore_in_loss": True})
    config.optim.update({"lr": 1e-2, "schedule": "one_cycle"})
    config.train.update({"batch_size": 12, "total_epochs": 80.0, "save_every_epochs": 10.0})
    config.eval.update({"batch_size": 4, "named": ("0013", "0062", "0104")})


def dubai(config: ConfigDict) -> None:
    """Tiles of Dubai, 512 px, from eight aerial images; what is unlabelled or outside of the images does not count."""
    del config.data["threshold"]
    config.data.update(
        {
            "folder": "dubai_512",
            "classes": tuple(DUBAI),
            "colors": tuple(DUBAI.values()),
            "ignore": 255,
            "outside": 255,
        }
    )
    config.task.ignore_in_loss = False
    config.eval.update({"best": "val/miou/pooled_nanmean", "named": ("0000", "0020", "0040")})


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 128 px and narrow networks, from scratch."""
    config.data.update({"height": 128, "width": 128, "workers": 0})
    config.model.width = 16
    if config.model.name == "deeplabv3":
        config.model.depth = 50
    else:
        config.model.update({"depth": 11, "hidden": 256})
    config.optim.update({"name": "adamw", "lr": 1e-3, "schedule": "cosine", "weight_decay": 0.01})
    config.train.update({"batch_size": 8, "total_epochs": 20.0, "save_every_epochs": 10.0})
    config.eval.batch_size = 29


def compare(config: ConfigDict) -> None:
    """FCN32s against FCN16s, and how they came there, for launch/sweep.py."""
    metric = config.eval.best.partition("/")[2]
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": name, "set": {"model": {"name": name}}} for name in ("fcn32s", "fcn16s")),
            "seeds": (0,),
            "metrics": (f"val/{metric}", "val/acc/pixel"),
            "epochs": (1, 5, 10, 15, 20),
            "reference": () if config.data.folder == "dubai_512" else (("fcn32s", 0.670), ("fcn16s", 0.709)),
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update({"height": 64, "width": 64, "limit": 8})
    config.model.width = 4
    if "hidden" in config.model:
        config.model.hidden = 16
    config.train.update({"batch_size": 4, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 4, "named": (), "examples": 2})


MODELS = {"fcn32s": fcn32s, "fcn16s": fcn16s, "fcn32s_wide": fcn32s_wide, "deeplabv3": deeplabv3}
VARIANTS = {**MODELS, "dubai": dubai, "small": small, "compare": compare, "tiny": tiny}
