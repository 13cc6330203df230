"""BaseNet on Fashion-MNIST: a course's baseline, its improvement, and the ablation between them.

python launch/main.py --config=configs/fashion_mnist.py:baseline     4,414 parameters; the document has 63.5 %
python launch/main.py --config=configs/fashion_mnist.py              the improved one, 83,974; 89.8 / 90.2 %
python launch/sweep.py --config=configs/fashion_mnist.py:ablation    five rows x three seeds

Variants: baseline, batch_norm, first_linear, second_linear, improved (the default), ablation; behind any of them
`tiny`: seconds, for tests. The document does not say how it trained; SGD with a cosine, weight decay and flips are
ours. Its accuracies are those of a random validation split; here the epoch is chosen on 5000 held-out training images,
and the official 10,000 test images are looked at once.
"""

from ml_collections import ConfigDict

ROWS = {  # row of the ablation -> what the model has, and the document's accuracy in percent
    "baseline": ({"channels": (6, 12), "hidden": (12,), "batch_norm": False, "dropout": 0.0}, 63.5),
    "batch_norm": ({"channels": (6, 12), "hidden": (12,), "batch_norm": True, "dropout": 0.0}, 70.1),
    "first_linear": ({"channels": (6, 12), "hidden": (192,), "batch_norm": True, "dropout": 0.0}, 82.3),
    "second_linear": ({"channels": (6, 12), "hidden": (192, 12), "batch_norm": True, "dropout": 0.5}, 88.0),
    "improved": ({"channels": (12, 24), "hidden": (192, 12), "batch_norm": True, "dropout": 0.5}, 90.2),
}


def get_config(arg: str = "") -> ConfigDict:
    """The config of a comma-separated list of variants, applied from left to right."""
    config = improved()
    for name in filter(None, arg.split(",")):
        if name in ROWS:
            config.model.update(ROWS[name][0])
        elif name == "ablation":
            ablation(config)
        elif name == "tiny":
            tiny(config)
        else:
            known = ", ".join([*ROWS, "ablation", "tiny"])
            raise ValueError(f"configs/fashion_mnist.py has no variant {name!r}; choose from {known}.")
    return config


def improved() -> ConfigDict:
    """The improved BaseNet."""
    return ConfigDict(
        {
            "seed": 0,
            "deterministic": False,  # on a GPU too: the same bits each time, slower
            "init_from": "",  # weights: .safetensors or .pth, or a run's workdir; empty: drawn
            "init_allow": (),  # tensors that may be missing or unused there: ("fc3.*",)
            "data": {
                "name": "fashion_mnist",
                "dir": "",  # holds fashion_mnist/*.gz; empty: $JAXCV_DATA
                "workers": 0,  # processes that read ahead; 0: threads of this one
                "limit": 0,  # use so many images of each split; 0: all
                "holdout": 5000,  # training images kept back as the split val
            },
            "augment": {"order": ("flip",), "flip": {"p": 0.5}},
            "model": {"name": "basenet", **ROWS["improved"][0], "dtype": "float32"},
            "task": {"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
            "optim": {
                "name": "sgd",
                "lr": 0.05,
                "lr_batch_size": 0,  # images; 0: lr is not scaled with the batch
                "schedule": "cosine",
                "warmup_epochs": 0.0,
                "weight_decay": 5e-4,  # not on biases and norms
                "clip_norm": 0.0,  # global norm of the gradient; 0: off
                "ema_decay": 0.0,  # average of the parameters to evaluate with; 0: off
                "freeze": (),  # patterns of parameters that stay as they are
                "sgd": {"momentum": 0.9, "nesterov": True},
                "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
            },
            "train": {
                "batch_size": 128,  # images, over all devices
                "accumulate": 1,  # parts of a batch, one after the other
                "total_epochs": 60.0,
                "save_every_epochs": 5.0,
                "log_every_steps": 50,
                "stop_on_collapse": False,
                "patience": 0,  # evaluations without a better `eval.best` that end the run; 0: never
            },
            "evals": {"names": ("measure",)},
            "eval": {
                "every_epochs": 1.0,
                "batch_size": 1000,  # images
                "crop": 0,  # px, central; 0: the whole image
                "stage": "",  # of which features are drawn; empty: the last before the logits
                "examples": 500,  # images of val whose features and worst predictions are drawn
                "best": "val/accuracy",  # the best checkpoint has the highest, or lowest loss
                "report": "best",  # the test split sees the best checkpoint; last: the last
            },
        }
    )


def ablation(config: ConfigDict) -> None:
    """The rows between baseline and improved, for launch/sweep.py."""
    config.sweep = ConfigDict(
        {
            "rows": tuple({"name": name, "set": {"model": model}} for name, (model, _) in ROWS.items()),
            "seeds": (0, 1, 2),
            "metrics": ("test/accuracy",),
            "reference": tuple((name, value / 100) for name, (_, value) in ROWS.items()),  # the document's
        }
    )


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.limit = 256
    config.train.update({"batch_size": 32, "total_epochs": 2.0, "save_every_epochs": 1.0, "log_every_steps": 4})
    config.eval.update({"batch_size": 64, "examples": 64})
