"""Six classes of COCO's supercategories: ResNet-18 without its classifier, and one to five convolutions.

python launch/main.py --config=configs/coco.py --config.init_from=resnet18.pth                     AP/IoU .74/.54
python launch/main.py --config=configs/coco.py:one_layer --config.init_from=resnet18.pth           .70/.48
python launch/sweep.py --config=configs/coco.py:one_layer,rates --config.init_from=resnet18.pth    1e-3, 1e-4, 1e-5
python launch/sweep.py --config=configs/coco.py:convs --config.init_from=resnet18.pth              1 to 5
python launch/sweep.py --config=configs/coco.py:one_layer,dilations --config.init_from=resnet18.pth    4, 8, 16

Variants: best (the default), one_layer; `rates`, `convs`, `dilations` are sweeps; behind all, `small` (2 CPU cores: 64
px, a narrow network, from scratch) and `tiny` (seconds, for tests). AP is `ap/pixel_voc`, of all pixels of the
validation images together; IoU `miou/pooled_zero`, the background being a class. resnet18.pth is torchvision's.

The document's images are a course's selection from COCO; here they are all that show an object of a group. Its
validation images are both splits `val` and `test`: nothing is chosen by them, the run reports its last state.
"""

from ml_collections import ConfigDict

CONVS = {  # convolutions behind ResNet-18 -> what the model has, and the document's IoU
    1: ({"hidden": ()}, 0.48),
    2: ({"hidden": (256,)}, 0.49),
    3: ({"hidden": (256, 128)}, 0.54),
    4: ({"hidden": (256, 128, 64)}, 0.52),
    5: ({"hidden": (256, 128, 64, 32)}, 0.53),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = best()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/coco.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def best() -> ConfigDict:
    """Three convolutions."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": ("fc.*", "conv*", "bn*"),  # tensors that may be missing or unused there
            "init_fresh": (),  # those that are drawn though they are there
            "data": {
                "name": "coco",
                "folder": "coco",  # holds train2017/, val2017/ and annotations/instances_{train,val}2017.json
                "dir": "",  # holds the folder; empty: $JAXCV_DATA
                "workers": 4,  # processes that decode; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "height": 224,  # px, to which images are resized
                "width": 224,  # px
                "groups": ("sports", "accessory", "animal", "vehicle", "person"),  # supercategories; 0: background
                "train_folder": "train2017",
                "val_folder": "val2017",
                "test_folder": "val2017",
            },
            "augment": {"order": ()},
            "model": {
                "name": "resnet_fcn",
                "hidden": (256, 128),  # channels of the convolutions but the last
                "last_kernel": 3,
                "batch_norm": True,
                "dropout": 0.0,
                "last_dilation": 1,
                "width": 64,
                "dtype": "float32",
            },
            "task": {"name": "segment", "loss": "cross_entropy", "average_precision": True},
            "optim": {
                "name": "adam",
                "lr": 1e-4,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "step",
                "warmup_epochs": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "step": {"every_epochs": 10.0, "gamma": 0.9},
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 32,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 20.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 20,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 32,  # images
                "crop": 0,
                "examples": 6,  # images of val that are drawn
                "named": (),  # or those of these names
                "best": "val/miou/pooled_zero",  # the best checkpoint has the highest
                "report": "last",  # the document reports on the split by which a best epoch would be chosen
            },
        }
    )


def one_layer(config: ConfigDict) -> None:
    """Dropout, one convolution and the scores."""
    config.model.update({"hidden": (256,), "last_kernel": 1, "batch_norm": False, "dropout": 0.5})


def sweep(config: ConfigDict, rows: dict) -> None:
    """A sweep of rows: name -> what it sets, the document's IoU."""
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": name, "set": values} for name, (values, _) in rows.items()),
            "seeds": (0,),
            "metrics": ("test/miou/pooled_zero", "test/ap/pixel_voc"),
            "reference": tuple((name, iou) for name, (_, iou) in rows.items()),
        }
    )


def rates(config: ConfigDict) -> None:
    """Learning rates."""
    sweep(
        config, {f"lr {lr:g}": ({"optim": {"lr": lr}}, iou) for lr, iou in ((1e-3, 0.44), (1e-4, 0.48), (1e-5, 0.44))}
    )


def convs(config: ConfigDict) -> None:
    """Numbers of convolutions."""
    sweep(config, {f"{n} convolution{'s' * (n > 1)}": ({"model": model}, iou) for n, (model, iou) in CONVS.items()})


def dilations(config: ConfigDict) -> None:
    """Dilations of ResNet's last block, whose weights are drawn anew.

    Its map is 7x7 at 224 px: from 7 on only a kernel's centre lies inside, and 8 and 16 are the same network. At 64 px
    (2x2) all three are.
    """
    config.init_fresh = ("layer4.1.conv*",)
    rows = ((4, 0.47), (8, 0.45), (16, 0.44))
    sweep(config, {f"dilation {n}": ({"model": {"last_dilation": n}}, iou) for n, iou in rows})


def small(config: ConfigDict) -> None:
    """For 2 CPU cores: 64 px, a narrow network, from scratch."""
    config.data.update({"height": 64, "width": 64, "workers": 0})
    config.model.width = 16
    config.optim.lr = 1e-3
    config.train.update({"batch_size": 16, "total_epochs": 10.0})


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    small(config)
    config.data.update({"height": 32, "width": 32, "limit": 8, "groups": ("animal", "vehicle")})
    config.model.update({"width": 4, "hidden": (8, 4)})
    config.train.update({"batch_size": 4, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 4, "examples": 2})


SWEEPS = {"rates": rates, "convs": convs, "dilations": dilations}
VARIANTS = {"best": lambda config: None, "one_layer": one_layer, **SWEEPS, "small": small, "tiny": tiny}
