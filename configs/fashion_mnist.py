"""BaseNet on Fashion-MNIST: a course report's baseline, its improvement, and the ablation between them.

jaxcv train --config=fashion_mnist:baseline    4,414 parameters; the report has 63.5 %
jaxcv train --config=fashion_mnist             the improved one, 83,974; 89.8 / 90.2 %
jaxcv sweep --config=fashion_mnist:ablation    five rows x three seeds

Variants: baseline, batch_norm, first_linear, second_linear, improved (the default), ablation; after any of them
`tiny`: seconds, for tests. The course report on Fashion-MNIST does not say how it trained; SGD with a cosine schedule,
weight decay and flips are our choice. Its accuracies are those of a random validation split; here the epoch is chosen
on 5000 held-out training images, and the official 10,000 test images are looked at once.
"""

from ml_collections import ConfigDict

from jaxcv.configs import base

ROWS = {  # row of the ablation -> what the model has, and the report's accuracy
    "baseline": ({"channels": (6, 12), "hidden": (12,), "batch_norm": False, "dropout": 0.0}, 0.635),
    "batch_norm": ({"channels": (6, 12), "hidden": (12,), "batch_norm": True, "dropout": 0.0}, 0.701),
    "first_linear": ({"channels": (6, 12), "hidden": (192,), "batch_norm": True, "dropout": 0.0}, 0.823),
    "second_linear": ({"channels": (6, 12), "hidden": (192, 12), "batch_norm": True, "dropout": 0.5}, 0.88),
    "improved": ({"channels": (12, 24), "hidden": (192, 12), "batch_norm": True, "dropout": 0.5}, 0.902),
}


def improved() -> ConfigDict:
    """The improved BaseNet."""
    return base.config(
        data={"name": "fashion_mnist", "dir": "", "holdout": 5000},  # dir holds fashion_mnist/*.gz
        augment={"order": ("flip",), "flip": {"p": 0.5}},
        model={"name": "basenet", **ROWS["improved"][0]},
        task={"name": "classify", "loss": "softmax", "label_smoothing": 0.0},
        optim={
            "name": "sgd",
            "lr": 0.05,
            "schedule": "cosine",
            "weight_decay": 5e-4,
            "sgd": {"momentum": 0.9, "nesterov": True},
            **base.ADAM,
        },
        train={"batch_size": 128, "total_epochs": 60.0, "log_every_steps": 50},
        eval={"batch_size": 1000, "stage": "", "examples": 500, "best": "val/accuracy"},
    )


def row(name: str):
    """The variant that takes the network of a row."""
    return lambda config: config.model.update(ROWS[name][0])


def ablation(config: ConfigDict) -> None:
    """The rows from baseline to improved, for jaxcv sweep."""
    rows = {name: ({"model": model}, accuracy) for name, (model, accuracy) in ROWS.items()}
    base.sweep(config, rows, metrics=("test/accuracy",), seeds=(0, 1, 2))


def tiny(config: ConfigDict) -> None:
    """Seconds, for tests."""
    config.data.limit = 256
    config.train.update(batch_size=32, total_epochs=2.0, save_every_epochs=1.0, log_every_steps=4)
    config.eval.update(batch_size=64, examples=64)


VARIANTS = {**{name: row(name) for name in ROWS}, "ablation": ablation, "tiny": tiny}
get_config = base.variants(__file__, improved, VARIANTS)
