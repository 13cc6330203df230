"""Semantic segmentation: a class for each pixel.

params: the network's.  model_state = {"batch_stats": the network's}.  A mask's labels are 0 to classes - 1; any
other label is void, and so is `info.ignore` where `ignore` says so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv.errors import ConfigError, UserError
from jaxcv.measure import losses, metrics
from jaxcv.ops.color import normalize
from jaxcv.ops.joint import make_joint_view
from jaxcv.prng import stream, streams
from jaxcv.task import Task
from jaxcv.tasks.supervised import diagnose, get_network, make_schedules, set_network

__all__ = ["diagnose", "get_network", "make_schedules", "set_network"]  # as they are there

Loss = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def cross_entropy(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of each pixel."""
    return losses.pixel_cross_entropy(logits, label), weight


def poly1(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Poly-1 of each pixel with epsilon 1 (arXiv 2204.12511)."""
    return losses.poly1(losses.pixel_cross_entropy(logits, label), epsilon=1.0), weight


def poly1_of_mean(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Poly-1 with epsilon 2 of the batch's mean cross-entropy, the same for every pixel: not the paper's."""
    mean = losses.weighted_mean(losses.pixel_cross_entropy(logits, label), weight)
    return jnp.broadcast_to(losses.poly1(mean, epsilon=2.0), weight.shape), weight


def focal(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The focal loss of each pixel with gamma 2 (arXiv 1708.02002)."""
    return losses.focal(losses.pixel_cross_entropy(logits, label), gamma=2.0), weight


def binary(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Binary cross-entropy of each class against the rest, void pixels being negatives of all (pochih/FCN-pytorch)."""
    return losses.pixel_binary_cross_entropy(logits, label), jnp.ones_like(weight)


def jaccard(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1 - soft IoU of each image, the mean over the classes."""
    loss = losses.jaccard(*losses.overlap(jax.nn.softmax(logits), label, weight), smooth=1e-6)
    return loss.mean(-1), jnp.ones(len(loss))


def dice(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1 - soft Dice of each image, the mean over the classes."""
    loss = losses.dice(*losses.overlap(jax.nn.softmax(logits), label, weight), smooth=1.0)
    return loss.mean(-1), jnp.ones(len(loss))


LOSSES = {f.__name__: f for f in (cross_entropy, poly1, poly1_of_mean, focal, binary, jaccard, dice)}
"""(logits b h w n, label b h w, weight b h w) -> loss and weight of each pixel, or of each image."""


def num_outputs(info: Any, **_: Any) -> int:
    """A logit for each class."""
    return len(info.classes)


def make(
    model: nn.Module,
    augment: Callable,
    predict: Callable,
    *,
    info: Any,
    total_steps: int,
    loss: str = "cross_entropy",
    class_weight: Sequence[float] = (),
    aux_weight: float = 0.0,
    ignore_in_loss: bool = False,
    average_precision: bool = False,
) -> Task:
    """Segmentation into `info.classes` by `model`, which maps images to (logits b h w n, stages).

    loss: one of LOSSES.  class_weight: of each class, for the mean over pixels; empty: all 1.  aux_weight: of the same
    loss of the stage `aux`.  ignore_in_loss: leaves `info.ignore` out of the loss though it is one of the classes (the
    land-cover rule); a label that is no class is left out anyway.  average_precision: measures S0's AP as well.
    """
    if loss not in LOSSES:
        raise ConfigError(f"config.task.loss={loss!r} is unknown; choose one of {', '.join(LOSSES)}.")
    classes = len(info.classes)
    if class_weight and len(class_weight) != classes:
        raise ConfigError(f"config.task.class_weight has {len(class_weight)} weights for {classes} classes.")
    weights = jnp.asarray(class_weight or [1.0] * classes, jnp.float32)
    per_pixel = LOSSES[loss]

    def losses_of(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        label = jnp.where(mask == info.ignore, classes, mask) if ignore_in_loss else mask
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        return per_pixel(logits, label, losses.pixel_weight(label, weights))

    def init(key: jax.Array, batch: dict) -> tuple:
        weights_key, augment_key = streams(key, "weights", "augment")
        variables = model.init(weights_key, augment(augment_key, batch)["image"], train=False)
        return variables["params"], {"batch_stats": variables.get("batch_stats", {})}

    def compute_loss(params: Any, model_state: Any, batch: dict, key: jax.Array) -> tuple:
        batch = augment(key, batch)
        variables, rngs = {"params": params, **model_state}, {"dropout": stream(key, "dropout")}
        (logits, stages), moved = model.apply(variables, batch["image"], train=True, mutable=["batch_stats"], rngs=rngs)
        mask = _check_size(batch["mask"], logits)
        loss = losses.weighted_mean(*losses_of(logits, mask))
        if aux_weight:
            loss += aux_weight * losses.weighted_mean(*losses_of(stages["aux"], mask))
        known = (mask >= 0) & (mask < classes)
        hits = (metrics.most_probable(logits) == mask) & known
        accuracy = hits.sum() / jnp.maximum(known.sum(), 1)
        return loss, ({"batch_stats": moved.get("batch_stats", {})}, {"acc/pixel": accuracy})

    def measure(params: Any, model_state: Any, batch: dict) -> dict:
        logits = predict(params, model_state, batch["image"])["logits"]
        mask = _check_size(batch["mask"].astype(jnp.int32), logits)
        prediction = metrics.most_probable(logits)
        sums = metrics.segmentation(prediction, mask, batch["valid"], *losses_of(logits, mask), classes)
        return sums | (metrics.pixel_scores(logits, mask, batch["valid"]) if average_precision else {})

    def summarize(sums: dict) -> dict:
        values = metrics.summarize_segmentation(sums)
        return values | (metrics.summarize_pixel_scores(sums) if average_precision else {})

    return Task(init, compute_loss, measure, summarize)


def make_augment(info: Any, **ops: Any) -> Callable:
    """augment(key, batch) -> batch with `image`, normalised float32, and `mask`, int32; ops as of `make_joint_view`."""
    view = make_joint_view(ignore=info.ignore, **ops)

    def augment(key: jax.Array, batch: dict) -> dict:
        keys = jax.random.split(stream(key, "view"), len(batch["image"]))
        image, mask = jax.vmap(view)(keys, batch["image"] / jnp.float32(255), batch["mask"].astype(jnp.int32))
        image = jax.vmap(lambda x: normalize(jnp.clip(x, 0.0, 1.0), mean=info.mean, std=info.std))(image)
        return {**batch, "image": image, "mask": mask}

    return augment


def make_predict(model: nn.Module, info: Any, **_: Any) -> Callable:
    """predict(params, model_state, image) -> {"logits": float32 (b, h, w, n), "prediction": uint8 (b, h, w)}.

    image: uint8 (b, h, w, c).
    """

    def predict(params: Any, model_state: Any, image: jax.Array) -> dict:
        image = jax.vmap(lambda x: normalize(x / jnp.float32(255), mean=info.mean, std=info.std))(image)
        logits, _ = model.apply({"params": params, **model_state}, image, train=False)
        logits = logits.astype(jnp.float32)
        return {"logits": logits, "prediction": metrics.most_probable(logits).astype(jnp.uint8)}

    return predict


def _check_size(mask: jax.Array, logits: jax.Array) -> jax.Array:
    if mask.shape != logits.shape[:-1]:
        (h, w), (to_h, to_w) = mask.shape[1:], logits.shape[1:3]
        raise UserError(
            f"this network makes {to_h} x {to_w} pixels of {h} x {w}; crop or resize images to a size that it keeps."
        )
    return mask
