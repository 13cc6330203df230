"""Flowers from their background: DeepLabV3's last layer trained, by cross-entropy and by a soft IoU.

python launch/main.py --config=configs/flowers17.py --config.init_from=deeplabv3_resnet101_coco.pth       .3349
python launch/main.py --config=configs/flowers17.py:iou --config.init_from=deeplabv3_resnet101_coco.pth   .3113

Behind either, `small` (2 CPU cores: 64 px, a narrow ResNet-50, all of it trained) and `tiny` (seconds, for tests). The
numbers are the document's "mIOU", which is `iou_fg/kaggle10`: of the flower alone, in each image, by how many of ten
thresholds its IoU passes; the true ones have other names. It takes the best epoch by the images it reports on: here
they are the splits `val` and `test` both. Its "iou" loss was not found; this is the soft IoU of both classes in each
image. It trains on lists trn1, trn2 and trn3, of which the last two hold most of val1 too; --config.data.train_lists
=('trn1',) keeps them apart.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = cross_entropy()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/flowers17.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def cross_entropy() -> ConfigDict:
    """Pixel-wise cross-entropy; all but the last layer frozen."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("classifier.4.*", "aux_classifier.*"),  # tensors that may be missing or unused there
            "data": {
                "name": "flowers17",
                "dir": "",  # holds flowers17/ with jpg/, trimaps/ and datasplits.mat; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "height": 224,  # px, to which images are resized
                "width": 224,  # px
                "train_lists": ("trn1", "trn2", "trn3"),
                "val_lists": ("val1",),
                "test_lists": ("val1",),
            },
            "augment": {"order": ()},
            "model": {"name": "deeplabv3", "depth": 101, "aux": False, "width": 64, "dtype": "float32"},
            "task": {"name": "segment", "loss": "cross_entropy"},
            "optim": {
                "name": "adam",
                "lr": 0.05,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "constant",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": ("backbone.*", "classifier.[012].*"),  # patterns of parameters that stay as they are
                "freeze_statistics": False,  # their BatchNorm drifts, as in the document; True: as in evaluation
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
                "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 128,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 10.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 1,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 256,  # images
                "crop": 0,
                "examples": 4,  # images of val that are drawn
                "named": (),  # or those of these names
                "best": "val/iou_fg/kaggle10",  # the best checkpoint has the highest
                "report": "best",
            },
        }
    )


def iou(config: ConfigDict) -> None:
    """1 - soft IoU."""
    config.task.loss = "jaccard"


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 64 px, a narrow ResNet-50 from scratch, so all of it is trained."""
    config.data.update({"height": 64, "width": 64, "workers": 0})
    config.model.update({"depth": 50, "width": 16})
    config.optim.update({"name": "adamw", "lr": 1e-3, "schedule": "cosine", "weight_decay": 0.01, "freeze": ()})
    config.train.update({"batch_size": 16, "total_epochs": 3.0})
    config.eval.batch_size = 32


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update({"limit": 8})
    config.model.width = 4
    config.train.update({"batch_size": 4, "total_epochs": 2.0})
    config.eval.update({"batch_size": 4, "examples": 2})


VARIANTS = {"iou": iou, "small": small, "tiny": tiny}
