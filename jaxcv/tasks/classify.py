"""Classification by cross-entropy, with targets that may be soft.

params: the network's.  model_state: {"batch_stats": the network's}.
"""

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.measure import losses, metrics
from jaxcv.ops.mix import mixup_or_cutmix
from jaxcv.ops.views import make_view
from jaxcv.predict import write_probabilities
from jaxcv.prng import streams
from jaxcv.ranges import Decay
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.task import Augment, Batch, Metrics, Predict, Setup, Task, Tree
from jaxcv.tasks.network import check_outputs, forward, make_init, make_normalize, make_prepare, upcast


def make(setup: Setup, *, loss: Literal["softmax", "sigmoid"] = "softmax", label_smoothing: Decay = 0.0) -> Task:
    """A classifier into the classes of the data.

    loss: `softmax`, cross-entropy over the classes; `sigmoid`, binary cross-entropy of each class by itself, or of the
    second of two classes.  label_smoothing: the share of a target that is spread over all classes.
    """
    classes = len(setup.info.classes)
    if classes == 1:
        only = f"the images of {setup.info.name} have one class alone, {setup.info.classes[0]!r}"
        raise ConfigError(f"config.task.name='classify' needs two classes or more, and {only}.")
    outputs = 1 if loss == "sigmoid" and classes == 2 else classes
    model = setup.make_model(outputs)
    augment = call(make_augment, setup.augment, group="augment", info=setup.info)
    predict = make_predict(model, setup.info, crop=setup.crop, stage=setup.stage, loss=loss)
    per_example = losses.softmax_cross_entropy if loss == "softmax" else losses.sigmoid_cross_entropy

    def compute_loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        batch = augment(key, batch)
        (logits, _), model_state = forward(model, params, model_state, batch["image"], key)
        check_outputs(logits, outputs, fits=operator.ge)  # others are classes that no image has
        target = losses.smooth(batch["target"], label_smoothing)
        hit = metrics.most_probable(logits) == batch["target"].argmax(-1)
        return per_example(logits, target).mean(), (model_state, {"accuracy": hit.mean()})

    def measure(params: Tree, model_state: Tree, batch: Batch) -> Metrics:
        logits = predict(params, model_state, batch["image"])["logits"]
        loss = per_example(logits, jax.nn.one_hot(batch["label"], classes))
        return metrics.classification(logits, batch["label"], batch["valid"], loss, classes)

    functions = (make_init(model, augment), compute_loss, measure, metrics.summarize_classification)
    chance = {"accuracy": 1, "class_mean_accuracy": 1, "batch_mean_accuracy": 1, "top5_accuracy": 5}
    return Task(
        *(model, *functions),
        augment=augment,
        predict=predict,
        draw=draw,
        write=write_probabilities,
        chance={name: min(hits / classes, 1.0) for name, hits in chance.items()},
    )


def make_augment(info: Any, *, mix: Mapping | None = None, **ops: Any) -> Augment:
    """augment(key, batch) -> batch with `image`, normalised float32, and `target`, float32 (b, classes).

    ops: the operations on each image, as of `make_view`.  mix: options of `mixup_or_cutmix`; empty: neither.
    """
    view, normalize = make_view("augment", **ops), make_normalize(info)
    classes = len(info.classes)

    def augment(key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        if "labels" in batch:
            several = f"those of {info.name} may have several: set config.task.name='multilabel'"
            raise ConfigError(f"config.task.name='classify' needs one label for each image, and {several}.")
        if "label" not in batch:
            raise ConfigError(f"config.task.name='classify' needs labels, and the images of {info.name} have none.")
        view_key, mix_key = streams(key, "view", "mix")
        image = jax.vmap(view)(jax.random.split(view_key, len(batch["image"])), batch["image"] / jnp.float32(255))
        target = jax.nn.one_hot(batch["label"], classes)
        if mix:
            arrays = {"key": mix_key, "image": image, "target": target}
            image, target = call(mixup_or_cutmix, mix, group="augment.mix", **arrays)
        return {**batch, "image": normalize(image), "target": target}

    return augment


def make_predict(model: nn.Module, info: Any, *, crop: int = 0, stage: str = "", loss: str = "softmax") -> Predict:
    """predict(params, model_state, image) -> {"logits", "probability": (b, classes), "feature"}, float32.

    image: uint8 (b, h, w, c); its central `crop` x `crop` pixels are seen (0: all).  feature: the output of the stage
    `stage` (empty: the last before the logits), averaged over space.
    """
    prepare = make_prepare(info, crop=crop)

    def predict(params: Tree, model_state: Tree, image: jax.Array) -> dict[str, jax.Array]:
        logits, stages = model.apply({"params": params, **model_state}, prepare(image), train=False)
        feature = stages[_stage(stage, list(stages))].astype(jnp.float32)
        feature = feature.mean((1, 2)) if feature.ndim == 4 else feature
        return {"logits": logits, "probability": _probability(logits, loss, len(info.classes)), "feature": feature}

    return predict


def draw(results: Results, folder: Path) -> None:
    """Confusion matrix and class accuracies of the test split; features and worst errors of the examples."""
    classes, arrays = results.info.classes, results.arrays
    figures.confusion_matrix(arrays["test/confusion"][:, :-1], folder / "confusion.png", classes=classes)
    figures.class_bars(arrays["test/class_accuracy"], folder / "class_accuracy.png", classes=classes)
    figures.draw_features(results, folder)
    probability = results.predictions[max(results.predictions)]["probability"]
    image, label = results.batch["image"], results.batch["label"]
    file = folder / "worst.png"
    figures.worst_classified(image, file, labels=label, probabilities=probability, classes=classes)


def _stage(name: str, stages: list[str]) -> str:
    if name and name not in stages:
        raise ConfigError(f"config.eval.stage={name!r} is no stage of this network; choose one of {', '.join(stages)}.")
    return name or stages[-2]


def _probability(logits: jax.Array, loss: str, classes: int) -> jax.Array:
    if loss == "softmax":
        return jax.nn.softmax(logits)[:, :classes]
    p = jax.nn.sigmoid(upcast(logits))
    return jnp.concatenate([1 - p, p], -1) if logits.shape[-1] < classes else p  # the second of two classes
