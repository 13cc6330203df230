"""Land cover from aerial tiles: VGG16-FCN32s against FCN16s, and DeepLabV3 with a polynomial loss.

jaxcv sweep --config=landcover:compare                FCN32s, FCN16s; mIoU .670, .709
jaxcv train --config=landcover:fcn32s_wide            another report's FCN32s; .6027
jaxcv train --config=landcover:deeplabv3 --config.init_from=deeplabv3_resnet50_coco.pth    .7467
jaxcv sweep --config=landcover:dubai,small,compare    other tiles, minutes on 2 CPU cores

Variants: fcn32s (the default), fcn16s, fcn32s_wide, deeplabv3; after them `dubai`, the tiles of Humans in the Loop's
aerial images of Dubai, 5 classes; `small`, 2 CPU cores; `compare`, a sweep; after all, `tiny` (seconds, for tests).
The FCNs begin with torchvision's vgg16: name that file with --config.init_from.

The first numbers are those of the course report on VGG16, the others those of the course report on BYOL. Their mIoU is
`miou/landcover6`: pooled, classes 0-5, and pixels of class 6, unknown, count as errors of the class that is predicted
there. Their validation tiles are both splits `val` and `test` here: nothing is chosen by them, the run reports its last
state, and its figures show the reports' three tiles (other ones for `deeplabv3`). The report on VGG16 does not state
how it trained: Adam at 1e-4 is our choice. The report on BYOL trains FCN32s at 1e-3; its code was not found, and Adam
and weight decay are those of public code for the same course.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

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


def fcn32s() -> ConfigDict:
    """FCN32s on DeepGlobe's tiles in the course's form: the baseline of the report on VGG16."""
    return base.config(
        init_allow=("classifier*", "upsample*"),
        data={
            "name": "mask_folder",
            "folder": "p2_data",  # holds train/ and validation/, with NNNN_sat.jpg and NNNN_mask.png
            "dir": "",
            "workers": 4,
            "height": 256,
            "width": 256,
            "classes": CLASSES,
            "colors": COLORS,
            "threshold": 128,  # channels are 255 from here on, 0 below
            "outside": 6,  # red, which is no class's colour, is unknown
            "ignore": 255,  # no pixel of the data; only what augmentation brings in from outside
            "image": "{folder}/*_sat",
            "mask": "{folder}/*_mask",
            "val_folder": "validation",
            "test_folder": "validation",
        },
        augment={"order": ("flip",), "flip": {"p": 0.5}},
        model={
            "name": "fcn32s",
            "depth": 16,
            "width": 64,  # channels of the first stage
            "hidden": 4096,  # channels of conv6 and conv7
            "dropout": 0.5,
        },
        task={"name": "segment", "loss": "cross_entropy", "aux_weight": 0.0, "ignore_in_loss": False},
        optim={"name": "adam", "lr": 1e-4, "schedule": "constant", **base.ADAM, **base.ADAMW},
        train={"batch_size": 8, "total_epochs": 20.0},
        eval={
            "batch_size": 8,
            "tile": 512,  # px of a larger image that jaxcv predict shows the network at once; 0: all of it
            "examples": 3,
            "named": ("0010", "0097", "0107"),
            "best": "val/miou/landcover6",
            "report": "last",
        },
    )


def fcn32s_wide(config: ConfigDict) -> None:
    """FCN32s of the report on BYOL: VGG's kernel of 7 in conv6, 512 px, and the report's training."""
    config.data.update(height=512, width=512)
    base.replace(config, augment={"order": ()})
    config.model.kernel = 7
    config.optim.update(lr=1e-3, weight_decay=1e-5, decay_all=True)
    config.train.update(batch_size=4, total_epochs=50.0)
    config.eval.update(batch_size=4, named=("0013", "0062", "0104"))


def deeplabv3(config: ConfigDict) -> None:
    """DeepLabV3 on ResNet-50 with its auxiliary classifier, both in Poly-1 of the mean cross-entropy, one cycle of lr.

    poly1 is that of the paper, of each pixel: --config.task.loss=poly1.
    """
    config.init_allow = ("classifier.4.*", "aux_classifier.4.*")
    config.data.update(height=512, width=512, ignore=6)
    model = {"name": "deeplabv3", "depth": 50, "aux": True, "width": 64}
    base.replace(config, augment={"order": ()}, model=model)
    config.task.update(loss="poly1_of_mean", aux_weight=1.0, ignore_in_loss=True)
    config.optim.update(lr=1e-2, schedule="one_cycle")
    config.train.update(batch_size=12, total_epochs=80.0, save_every_epochs=10.0)
    config.eval.update(batch_size=4, named=("0013", "0062", "0104"))


def dubai(config: ConfigDict) -> None:
    """Tiles of Dubai, 512 px, from eight aerial images; unlabelled pixels, and those outside, do not count."""
    del config.data["threshold"]
    colors = tuple(DUBAI.values())
    config.data.update(folder="dubai_512", classes=tuple(DUBAI), colors=colors, ignore=255, outside=255)
    config.task.ignore_in_loss = False
    config.eval.update(best="val/miou/pooled_nanmean", named=("0000", "0020", "0040"))


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 128 px and narrow networks, from scratch."""
    config.data.update(height=128, width=128, workers=0)
    config.model.width = 16
    if config.model.name != "deeplabv3":
        config.model.update(depth=11, hidden=256)
    config.optim.update(name="adamw", lr=1e-3, schedule="cosine", weight_decay=0.01)
    config.train.update(batch_size=8, total_epochs=20.0, save_every_epochs=10.0)
    config.eval.batch_size = 29


def compare(config: ConfigDict) -> None:
    """FCN32s against FCN16s, and their mIoU at five epochs on the way, for jaxcv sweep."""
    published: dict[str, float | None] = {"fcn32s": 0.670, "fcn16s": 0.709}
    if config.data.folder == "dubai_512":
        published = dict.fromkeys(published)  # other tiles
    rows = {name: ({"model": {"name": name}}, value) for name, value in published.items()}
    base.sweep(config, rows, metrics=(config.eval.best, "val/acc/pixel"))
    config.sweep.epochs = (1, 5, 10, 15, 20)


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update(height=64, width=64, limit=8)
    config.model.width = 4
    if "hidden" in config.model:
        config.model.hidden = 16
    config.train.update(batch_size=4, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=1)
    config.eval.update(batch_size=4, named=(), examples=2)


VARIANTS = {
    "fcn32s": lambda config: config.model.update(name="fcn32s"),
    "fcn16s": lambda config: config.model.update(name="fcn16s"),  # the same report's improved model
    "fcn32s_wide": fcn32s_wide,
    "deeplabv3": deeplabv3,
    "dubai": dubai,
    "small": small,
    "compare": compare,
    "tiny": tiny,
}
get_config = base.variants(__file__, fcn32s, VARIANTS)
