"""U-Net on `shapes`, masks of ten kinds of shape on a ground: segmentation that needs no data and no accelerator.

python launch/main.py --config=configs/unet.py
python launch/preview.py --config=configs/unet.py              images and masks are scaled, turned and flipped together

Behind it `tiny`: seconds, for tests. Any data set of masks takes the place of `shapes`: see configs/landcover.py.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = demo()
    for name in filter(None, arg.split(",")):
        if name not in VARIANTS:
            raise ValueError(f"configs/unet.py has no variant {name!r}; choose from {', '.join(VARIANTS)}.")
        VARIANTS[name](config)
    return config


def demo() -> ConfigDict:
    """A U-Net of a quarter of the paper's width, on 32 px."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": (),  # tensors that may be missing or unused there
            "data": {
                "name": "shapes",
                "target": "mask",
                "size": 32,  # px
                "count": 0,  # images of each split; 0: 8192, 1024, 2048
                "workers": 0,  # processes that read ahead; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
            },
            "augment": {
                "order": ("scale", "flip"),
                "scale": {"size": 32, "factor": (0.8, 1.25), "degrees": 15.0},  # size: px that are cut out
                "flip": {"p": 0.5},
            },
            "model": {"name": "unet", "depth": 3, "width": 16, "batch_norm": True, "dtype": "float32"},
            "task": {"name": "segment", "loss": "cross_entropy", "aux_weight": 0.0},
            "optim": {
                "name": "adamw",
                "lr": 2e-3,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "cosine",
                "warmup_epochs": 0.5,
                "weight_decay": 0.01,
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 64,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 8.0,
                "save_every_epochs": 1.0,
                "log_every_steps": 16,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 256,  # images
                "crop": 0,
                "examples": 8,  # images of val that are drawn
                "best": "val/miou/pooled",  # the best checkpoint has the highest
                "report": "best",  # the test split sees the best checkpoint; last: the last
            },
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.count = 32
    config.model.update({"depth": 2, "width": 4})
    config.train.update({"batch_size": 16, "total_epochs": 2.0, "log_every_steps": 1})
    config.eval.update({"batch_size": 16, "examples": 4})


VARIANTS = {"tiny": tiny}
