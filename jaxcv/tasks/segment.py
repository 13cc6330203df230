"""Semantic segmentation: a class for each pixel.

params: the network's.  model_state = {"batch_stats": the network's}.  A mask's labels are 0 to classes - 1; any
other label is void, and in the loss so is `info.ignore` with `ignore_in_loss`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcv.config import call
from jaxcv.errors import ConfigError, UserError
from jaxcv.measure import losses, metrics
from jaxcv.ops.joint import make_joint_view
from jaxcv.predict import write_masks
from jaxcv.prng import stream
from jaxcv.ranges import NonNegative
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.task import Augment, Batch, Metrics, Setup, Task, Tree
from jaxcv.tasks.network import check_outputs, forward, make_init, make_normalize, make_prepare, upcast

LossOfMask = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(logits (b, h, w, n), mask (b, h, w)) -> loss and weight of each pixel, or of each image."""


def of_pixels(loss: Callable[[jax.Array], jax.Array]) -> Callable:
    """A loss of each pixel's cross-entropy."""
    return lambda logits, label, weight: (loss(losses.pixel_cross_entropy(logits, label)), weight)


def of_overlap(loss: Callable, *, smooth: float) -> Callable:
    """A loss of each image's overlap with its mask, the mean over the classes."""

    def compute(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss_of_class = loss(*losses.overlap(jax.nn.softmax(logits), label, weight), smooth=smooth)
        return loss_of_class.mean(-1), jnp.ones(len(loss_of_class))

    return compute


def poly1_of_mean(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Poly-1 with epsilon 2 of the batch's mean cross-entropy, the same for every pixel: not the paper's."""
    mean = losses.weighted_mean(losses.pixel_cross_entropy(logits, label), weight)
    return jnp.broadcast_to(losses.poly1(mean, epsilon=2.0), weight.shape), weight


def binary(logits: jax.Array, label: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Binary cross-entropy of each class against the rest; void pixels are negatives of all (pochih/FCN-pytorch)."""
    return losses.pixel_binary_cross_entropy(logits, label), jnp.ones_like(weight)


LOSSES = {
    "cross_entropy": of_pixels(lambda cross_entropy: cross_entropy),
    "poly1": of_pixels(lambda cross_entropy: losses.poly1(cross_entropy, epsilon=1.0)),  # arXiv 2204.12511
    "poly1_of_mean": poly1_of_mean,
    "focal": of_pixels(lambda cross_entropy: losses.focal(cross_entropy, gamma=2.0)),  # arXiv 1708.02002
    "binary": binary,
    "jaccard": of_overlap(losses.jaccard, smooth=1e-6),  # 1 - soft IoU
    "dice": of_overlap(losses.dice, smooth=1.0),  # 1 - soft Dice
}
"""(logits b h w n, label b h w, weight b h w) -> loss and weight of each pixel, or of each image."""


def make(
    setup: Setup,
    *,
    loss: str = "cross_entropy",
    class_weight: Sequence[float] = (),
    aux_weight: NonNegative = 0.0,
    ignore_in_loss: bool = False,
    average_precision: bool = False,
) -> Task:
    """Segmentation into the classes of the data by a network that maps images to (logits b h w n, stages).

    loss: one of LOSSES.  class_weight: of each class, for the mean over pixels; empty: all 1.  aux_weight: of the same
    loss of the stage `aux`.  ignore_in_loss: leaves `info.ignore` out of the loss though it is one of the classes (the
    land-cover rule); a label that is no class is left out anyway.  average_precision: measures AP over pixels as well.
    """
    augment = call(make_augment, setup.augment, group="augment", info=setup.info)
    prepare = make_prepare(setup.info)
    loss_of_mask = make_loss(setup.info, loss, class_weight=class_weight, ignore_in_loss=ignore_in_loss)
    return make_task(setup, augment, prepare, loss_of_mask, aux_weight=aux_weight, average_precision=average_precision)


def make_loss(info: Any, name: str, *, class_weight: Sequence[float] = (), ignore_in_loss: bool = False) -> LossOfMask:
    """The loss `name` for masks of the data; options as of `make`."""
    if name not in LOSSES:
        raise ConfigError(f"config.task.loss={name!r} is unknown; choose one of {', '.join(LOSSES)}.")
    classes, loss = len(info.classes), LOSSES[name]
    if class_weight and len(class_weight) != classes:
        raise ConfigError(f"config.task.class_weight has {len(class_weight)} weights for {classes} classes.")
    weights = jnp.asarray(class_weight or [1.0] * classes, jnp.float32)

    def loss_of_mask(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        label = jnp.where(mask == info.ignore, classes, mask) if ignore_in_loss else mask
        return loss(upcast(logits), label, losses.pixel_weight(label, weights))

    return loss_of_mask


def make_task(
    setup: Setup,
    augment: Augment,
    prepare: Callable[[jax.Array], jax.Array],
    loss_of_mask: LossOfMask,
    *,
    aux_weight: NonNegative = 0.0,
    average_precision: bool = False,
) -> Task:
    """The task of `make` on images that `augment` prepares in training and `prepare` in evaluation."""
    classes = len(setup.info.classes)
    if classes < 2:
        raise ConfigError(f"{setup.info.name} has {classes} class; segmentation needs two, such as ground and object.")
    model = setup.make_model(classes)

    def loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        batch = augment(key, batch)
        (logits, stages), model_state = forward(model, params, model_state, batch["image"], key)
        check_outputs(logits, classes)
        mask = _check_size(batch["mask"], logits)
        mean = losses.weighted_mean(*loss_of_mask(logits, mask))
        if aux_weight:
            if "aux" not in stages:
                raise ConfigError(f"config.task.aux_weight={aux_weight} needs a network that has a stage 'aux'.")
            mean += aux_weight * losses.weighted_mean(*loss_of_mask(stages["aux"], mask))
        labelled = (mask >= 0) & (mask < classes)
        hits = (metrics.most_probable(logits) == mask) & labelled
        return mean, (model_state, {"acc/pixel": hits.sum() / jnp.maximum(labelled.sum(), 1)})

    def predict(params: Tree, model_state: Tree, image: jax.Array) -> dict[str, jax.Array]:
        """{"logits": float32 (b, h, w, n), "prediction": uint8 (b, h, w)}"""
        logits, _ = model.apply({"params": params, **model_state}, prepare(image), train=False)
        logits = logits.astype(jnp.float32)
        return {"logits": logits, "prediction": metrics.most_probable(logits).astype(jnp.uint8)}

    def measure(params: Tree, model_state: Tree, batch: Batch) -> Metrics:
        logits = predict(params, model_state, batch["image"])["logits"]
        mask = _check_size(batch["mask"].astype(jnp.int32), logits)
        prediction = metrics.most_probable(logits)
        sums = metrics.segmentation(prediction, mask, batch["valid"], *loss_of_mask(logits, mask), classes)
        return sums | (metrics.pixel_scores(logits, mask, batch["valid"]) if average_precision else {})

    def summarize(sums: dict) -> dict[str, Any]:
        values = metrics.summarize_segmentation(sums)
        return values | (metrics.summarize_pixel_scores(sums) if average_precision else {})

    functions = (make_init(model, augment), loss, measure, summarize)
    return Task(model, *functions, augment=augment, predict=predict, draw=draw, write=write_masks)


def make_augment(info: Any, **ops: Any) -> Augment:
    """augment(key, batch) -> batch with `image`, normalised float32, and `mask`, int32; ops as of `make_joint_view`."""
    view, normalize = make_joint_view(ignore=info.ignore, **ops), make_normalize(info)

    def augment(key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        keys = jax.random.split(stream(key, "view"), len(batch["image"]))
        image, mask = jax.vmap(view)(keys, batch["image"] / jnp.float32(255), batch["mask"].astype(jnp.int32))
        return {**batch, "image": normalize(image), "mask": mask}

    return augment


_MOST = 8  # images in a figure


def draw(results: Results, folder: Path) -> None:
    """Confusion matrix and class scores of the test split; of the first examples the predicted masks at each step and,
    the last ones, over their images. A class without a score, nan, is left out of the mean."""
    info, arrays = results.info, results.arrays
    iou = arrays["test/class_iou"]
    ap = {"AP": arrays["test/class_ap"]} if "test/class_ap" in arrays else {}
    figures.confusion_matrix(
        arrays["test/confusion"][:-1, :-1],  # without void pixels
        folder / "confusion.png",
        classes=info.classes,
        scores={**ap, "IoU": iou},
        unit="pixels",
    )
    figures.class_bars(iou, folder / "class_iou.png", classes=info.classes, metric="iou")

    truth = {"truth": results.batch["mask"][:_MOST]}
    predictions = {f"step {step}": out["prediction"][:_MOST] for step, out in sorted(results.predictions.items())}
    last = {"prediction": predictions[f"step {max(results.predictions)}"]}
    images, names = results.batch["image"][:_MOST], results.names[:_MOST]
    looks = {"classes": info.classes, "palette": info.palette, "ignore": info.ignore}
    figures.mask_panels(images, folder / "masks.png", masks=truth | predictions, names=names, **looks)
    figures.mask_panels(images, folder / "overlays.png", masks=truth | last, names=names, alpha=0.5, **looks)


def _check_size(mask: jax.Array, logits: jax.Array) -> jax.Array:
    if mask.shape != logits.shape[:-1]:
        (h, w), (to_h, to_w) = mask.shape[1:], logits.shape[1:3]
        raise UserError(
            f"this network makes {to_h} x {to_w} pixels of {h} x {w}; crop or resize images to a size that it keeps."
        )
    return mask
