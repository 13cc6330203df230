"""Semantic segmentation: a class for each pixel.

params: the network's.  model_state = {"batch_stats": the network's}.  A mask's labels are 0 to classes - 1; any
other label is void, and so is `info.ignore` where `ignore` says so.
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
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.task import Augment, Batch, Setup, Task, Tree
from jaxcv.tasks.network import forward, make_init, make_normalize, make_prepare, wide

PixelLoss = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


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


LOSSES: dict[str, PixelLoss] = {
    f.__name__: f for f in (cross_entropy, poly1, poly1_of_mean, focal, binary, jaccard, dice)
}
"""(logits b h w n, label b h w, weight b h w) -> loss and weight of each pixel, or of each image."""


def make(
    setup: Setup,
    *,
    loss: str = "cross_entropy",
    class_weight: Sequence[float] = (),
    aux_weight: float = 0.0,
    ignore_in_loss: bool = False,
    average_precision: bool = False,
) -> Task:
    """Segmentation into the classes of the data by a network that maps images to (logits b h w n, stages).

    loss: one of LOSSES.  class_weight: of each class, for the mean over pixels; empty: all 1.  aux_weight: of the same
    loss of the stage `aux`.  ignore_in_loss: leaves `info.ignore` out of the loss though it is one of the classes (the
    land-cover rule); a label that is no class is left out anyway.  average_precision: measures AP over pixels as well.
    """
    return make_task(
        setup,
        augment=call(make_augment, setup.augment, group="augment", info=setup.info),
        prepare=make_prepare(setup.info),
        loss=loss,
        class_weight=class_weight,
        aux_weight=aux_weight,
        ignore_in_loss=ignore_in_loss,
        average_precision=average_precision,
    )


def make_task(
    setup: Setup,
    *,
    augment: Augment,
    prepare: Callable[[jax.Array], jax.Array],
    loss: str,
    class_weight: Sequence[float] = (),
    aux_weight: float = 0.0,
    ignore_in_loss: bool = False,
    average_precision: bool = False,
) -> Task:
    """The task of `make` for images that `augment` makes ready in training, and `prepare` in evaluation."""
    if loss not in LOSSES:
        raise ConfigError(f"config.task.loss={loss!r} is unknown; choose one of {', '.join(LOSSES)}.")
    classes, ignore = len(setup.info.classes), setup.info.ignore
    if class_weight and len(class_weight) != classes:
        raise ConfigError(f"config.task.class_weight has {len(class_weight)} weights for {classes} classes.")
    weights = jnp.asarray(class_weight or [1.0] * classes, jnp.float32)
    model, per_pixel = setup.make_model(classes), LOSSES[loss]

    def losses_of(logits: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        label = jnp.where(mask == ignore, classes, mask) if ignore_in_loss else mask
        return per_pixel(wide(logits), label, losses.pixel_weight(label, weights))

    def compute_loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        batch = augment(key, batch)
        (logits, stages), model_state = forward(model, params, model_state, batch["image"], key)
        mask = _check_size(batch["mask"], logits)
        loss = losses.weighted_mean(*losses_of(logits, mask))
        if aux_weight:
            loss += aux_weight * losses.weighted_mean(*losses_of(stages["aux"], mask))
        known = (mask >= 0) & (mask < classes)
        hits = (metrics.most_probable(logits) == mask) & known
        return loss, (model_state, {"acc/pixel": hits.sum() / jnp.maximum(known.sum(), 1)})

    def predict(params: Tree, model_state: Tree, image: jax.Array) -> dict:
        """{"logits": float32 (b, h, w, n), "prediction": uint8 (b, h, w)}"""
        logits, _ = model.apply({"params": params, **model_state}, prepare(image), train=False)
        logits = logits.astype(jnp.float32)
        return {"logits": logits, "prediction": metrics.most_probable(logits).astype(jnp.uint8)}

    def measure(params: Tree, model_state: Tree, batch: Batch) -> dict:
        logits = predict(params, model_state, batch["image"])["logits"]
        mask = _check_size(batch["mask"].astype(jnp.int32), logits)
        prediction = metrics.most_probable(logits)
        sums = metrics.segmentation(prediction, mask, batch["valid"], *losses_of(logits, mask), classes)
        return sums | (metrics.pixel_scores(logits, mask, batch["valid"]) if average_precision else {})

    def summarize(sums: dict) -> dict:
        values = metrics.summarize_segmentation(sums)
        return values | (metrics.summarize_pixel_scores(sums) if average_precision else {})

    init = make_init(model, augment)
    return Task(
        *(model, init, compute_loss, measure, summarize), augment=augment, predict=predict, draw=draw, write=write_masks
    )


def make_augment(info: Any, **ops: Any) -> Augment:
    """augment(key, batch) -> batch with `image`, normalised float32, and `mask`, int32; ops as of `make_joint_view`."""
    view, normalize = make_joint_view(ignore=info.ignore, **ops), make_normalize(info)

    def augment(key: jax.Array, batch: Batch) -> dict:
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
    figures.overlay_panels(images, folder / "overlays.png", masks=truth | last, names=names, **looks)


def _check_size(mask: jax.Array, logits: jax.Array) -> jax.Array:
    if mask.shape != logits.shape[:-1]:
        (h, w), (to_h, to_w) = mask.shape[1:], logits.shape[1:3]
        raise UserError(
            f"this network makes {to_h} x {to_w} pixels of {h} x {w}; crop or resize images to a size that it keeps."
        )
    return mask
