"""Classification by cross-entropy, with targets that may be soft.

params: the network's.  model_state = {"batch_stats": the network's}.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.measure import losses, metrics
from jaxcv.ops.color import normalize
from jaxcv.ops.geometry import center_crop
from jaxcv.ops.mix import mixup_or_cutmix
from jaxcv.ops.views import make_view
from jaxcv.prng import stream, streams
from jaxcv.task import Task
from jaxcv.tasks.supervised import diagnose, get_network, make_schedules, set_network

__all__ = ["diagnose", "get_network", "make_schedules", "set_network"]  # as they are there

LOSSES = ("softmax", "sigmoid")


def num_outputs(info: Any, *, loss: str = "softmax", **_: Any) -> int:
    """A logit for each class; one alone for two classes and the sigmoid."""
    return 1 if loss == "sigmoid" and len(info.classes) == 2 else len(info.classes)


def make(
    model: nn.Module,
    augment: Callable,
    predict: Callable,
    *,
    info: Any,
    total_steps: int,
    loss: str = "softmax",
    label_smoothing: float = 0.0,
) -> Task:
    """A classifier of `info.classes` by `model`, which maps images to (logits, stages).

    loss: `softmax`, cross-entropy over the classes; `sigmoid`, binary cross-entropy of each class for itself, or for
    two classes of the second one.  label_smoothing: the share of a target that is spread over all classes.
    """
    if loss not in LOSSES:
        raise ConfigError(f"config.task.loss={loss!r} is unknown; choose {' or '.join(LOSSES)}.")
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"config.task.label_smoothing={label_smoothing} must be in [0, 1).")
    classes = len(info.classes)
    per_example = losses.softmax_cross_entropy if loss == "softmax" else losses.sigmoid_cross_entropy

    def init(key: jax.Array, batch: dict) -> tuple:
        weights_key, augment_key = streams(key, "weights", "augment")
        image = augment(augment_key, batch)["image"]
        variables = model.init(weights_key, image, train=False)
        return variables["params"], {"batch_stats": variables.get("batch_stats", {})}

    def compute_loss(params: Any, model_state: Any, batch: dict, key: jax.Array) -> tuple:
        batch = augment(key, batch)
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        rngs = {"dropout": stream(key, "dropout")}
        (logits, _), moved = model.apply(variables, batch["image"], train=True, mutable=["batch_stats"], rngs=rngs)
        target = losses.smooth(batch["target"], label_smoothing)
        hit = metrics.most_probable(logits) == batch["target"].argmax(-1)
        loss = per_example(logits, target).mean()
        return loss, ({"batch_stats": moved.get("batch_stats", {})}, {"accuracy": hit.mean()})

    def measure(params: Any, model_state: Any, batch: dict) -> dict:
        logits = predict(params, model_state, batch["image"])["logits"]
        target = jax.nn.one_hot(batch["label"], classes)
        return metrics.classification(logits, batch["label"], batch["valid"], per_example(logits, target), classes)

    return Task(init, compute_loss, measure, metrics.summarize_classification)


def make_augment(info: Any, *, mix: Mapping | None = None, **ops: Any) -> Callable:
    """augment(key, batch) -> batch with `image`, normalised float32, and `target`, float32 (b, classes), for `label`.

    ops: the operations on each image, as of `make_view`.  mix: options of `mixup_or_cutmix`; empty: neither.
    """
    view = make_view(**ops)
    classes = len(info.classes)

    def augment(key: jax.Array, batch: dict) -> dict:
        view_key, mix_key = streams(key, "view", "mix")
        image = jax.vmap(view)(jax.random.split(view_key, len(batch["image"])), batch["image"] / jnp.float32(255))
        target = jax.nn.one_hot(batch["label"], classes)
        if mix:
            given = {"key": mix_key, "image": image, "target": target}
            image, target = call(mixup_or_cutmix, mix, group="augment.mix", **given)
        image = jax.vmap(lambda x: normalize(jnp.clip(x, 0.0, 1.0), mean=info.mean, std=info.std))(image)
        return {**batch, "image": image, "target": target}

    return augment


def make_predict(
    model: nn.Module, info: Any, *, crop: int = 0, stage: str = "", loss: str = "softmax", **_: Any
) -> Callable:
    """predict(params, model_state, image) -> {"logits", "probability": (b, classes), "feature"}, float32, in eval mode.

    image: uint8 (b, h, w, c); its central `crop` x `crop` pixels are seen (0: all).  feature: the output of the stage
    `stage` (empty: the last before the logits), averaged over space.
    """

    def prepare(image: jax.Array) -> jax.Array:
        image = center_crop(image, size=crop) if crop else image
        return normalize(image / jnp.float32(255), mean=info.mean, std=info.std)

    def predict(params: Any, model_state: Any, image: jax.Array) -> dict:
        variables = {"params": params, "batch_stats": model_state["batch_stats"]}
        logits, stages = model.apply(variables, jax.vmap(prepare)(image), train=False)
        feature = stages[_stage(stage, list(stages))].astype(jnp.float32)
        feature = feature.mean((1, 2)) if feature.ndim == 4 else feature
        return {"logits": logits, "probability": _probability(logits, loss, len(info.classes)), "feature": feature}

    return predict


def _stage(name: str, stages: list[str]) -> str:
    if name and name not in stages:
        raise ConfigError(f"config.eval.stage={name!r} is no stage of this network; choose one of {', '.join(stages)}.")
    return name or stages[-2]


def _probability(logits: jax.Array, loss: str, classes: int) -> jax.Array:
    if loss == "softmax":
        return jax.nn.softmax(logits)[:, :classes]
    p = jax.nn.sigmoid(logits)
    return jnp.concatenate([1 - p, p], -1) if logits.shape[-1] == 1 else p
