"""Metrics: sums that add over batches and devices, and functions that turn the totals into metrics.

A pixel's label that is not in 0 .. n - 1 is void: the pixel belongs to no class. Everywhere, `valid` is (b,) of 1 and
0, and rows with 0 do not count.
"""

import jax
import jax.numpy as jnp
import numpy as np

SCORE_BINS = 32768  # 512 per unit of log-odds: an error below 0.001 for millions of pixels and a trained network
SCORE_RANGE = 32.0  # log-odds from -32 to 32; in float32, log-odds above 16.6 are probability 1


def moments(x: jax.Array, valid: jax.Array | None = None) -> dict[str, jax.Array]:
    """Sums for `feature_spread` of float32 (b, d): the number of rows, their sum and that of their outer products."""
    valid = jnp.ones(x.shape[0]) if valid is None else valid
    kept = x * valid[:, None]
    # Not TensorFloat-32: the covariance below is a difference of nearly equal numbers.
    outer = jnp.matmul(kept.T, x, precision=jax.lax.Precision.HIGHEST)
    return {"count": valid.sum(), "sum": kept.sum(0), "outer": outer}


def feature_spread(sums: dict) -> dict:
    """How evenly vectors spread over the unit sphere, from their `moments`: it shows a collapse. For jax and numpy.

    feature_std: standard deviation of each dimension, averaged, times sqrt(d): 1 if they fill the sphere evenly,
      0 if all are the same vector (SimSiam's measure, arXiv 2011.10566, sec. 4.1).
    effective_rank: (tr C)^2 / tr(C^2) of their covariance C, the exponential of the order-2 Renyi entropy of its
      spectrum, in [1, d]; never above the Shannon version of Roy & Vetterli (2007), and needs no eigenvalues.
    """
    mean = sums["sum"] / sums["count"]
    covariance = sums["outer"] / sums["count"] - mean[:, None] * mean[None, :]
    variance = covariance.diagonal().clip(0)
    return {
        "feature_std": (variance**0.5).mean() * len(variance) ** 0.5,
        "effective_rank": variance.sum() ** 2 / ((covariance**2).sum() + 1e-20),
    }


def most_probable(logits: jax.Array) -> jax.Array:
    """The class of each row of logits, int32; a single logit for two classes is that of the second one."""
    return (logits[..., 0] > 0).astype(jnp.int32) if logits.shape[-1] == 1 else logits.argmax(-1)


def classification(
    logits: jax.Array, label: jax.Array, valid: jax.Array, loss: jax.Array, classes: int
) -> dict[str, jax.Array]:
    """Sums for `summarize_classification`.

    logits: float32 (b, n), n >= classes or 1.  label: int (b,).  loss: float32 (b,).
    """
    predicted = jnp.minimum(most_probable(logits), classes)  # the last column: an output that is not a class
    rows = jax.nn.one_hot(label, classes) * valid[:, None]
    hit = (predicted == label) * valid
    higher = (logits > jnp.take_along_axis(logits, label[:, None] % logits.shape[-1], -1)).sum(-1)
    return {
        "count": valid.sum(),
        "loss": (loss * valid).sum(),
        "correct": hit.sum(),
        "top5": ((higher < 5) * valid).sum(),
        "batch_accuracy": hit.sum() / valid.sum(),
        "batches": jnp.ones(()),
        "confusion": jnp.matmul(rows.T, jax.nn.one_hot(predicted, classes + 1), precision=jax.lax.Precision.HIGHEST),
    }


def summarize_classification(sums: dict) -> dict:
    """From the sums over a set; accuracies are in [0, 1].

    accuracy: correct / all.  top5_accuracy: the label is among the five most probable (if there are more than five).
    class_mean_accuracy: the mean of `class_accuracy`, an array, nan for a class without images.  batch_mean_accuracy:
    the mean over the evaluation's batches, in which images of a smaller last batch weigh more.
    confusion: an array (classes, classes + 1); rows are labels, the last column is outputs that are not classes.
    """
    count = sums["count"]
    confusion = np.asarray(sums["confusion"])
    rows = confusion.sum(1)
    class_accuracy = _ratio(confusion.diagonal(), rows)
    values = {
        "loss": sums["loss"] / count,
        "accuracy": sums["correct"] / count,
        "top5_accuracy": sums["top5"] / count,
        "class_mean_accuracy": _nanmean(class_accuracy),
        "batch_mean_accuracy": sums["batch_accuracy"] / sums["batches"],
        "class_accuracy": class_accuracy,
        "confusion": confusion,
    }
    if len(confusion) <= 5:
        del values["top5_accuracy"]
    return values


def segmentation(
    prediction: jax.Array, label: jax.Array, valid: jax.Array, loss: jax.Array, weight: jax.Array, classes: int
) -> dict[str, jax.Array]:
    """Sums for `summarize_segmentation`.

    prediction, label: int (b, h, w).  loss, weight: float32, both (b, ...), of pixels or of images.  classes: >= 2.
    """

    def index(x: jax.Array) -> jax.Array:  # what is not a class comes last
        x = x.astype(jnp.int32)
        return jnp.where((x >= 0) & (x < classes), x, classes)

    # Counting integers is exact in any order, and needs no memory for one-hot pixels.
    image = jnp.arange(len(label))[:, None, None]
    counts = jnp.zeros((len(label), classes + 1, classes + 1), jnp.int32)  # image, label, prediction
    counts = counts.at[image, index(label), index(prediction)].add(1) * valid.astype(jnp.int32)[:, None, None]
    hits = jnp.diagonal(counts, axis1=1, axis2=2)[:, :classes]  # (b, n)
    union = (counts.sum(2) + counts.sum(1))[:, :classes] - hits
    weight = weight * valid.reshape(-1, *[1] * (weight.ndim - 1))
    sums = {
        "confusion": counts.sum(0),
        "images": valid.sum(),
        "batches": jnp.ones(()),
        "loss": (weight * loss).sum(),
        "weight": weight.sum(),
        "batch_loss": (weight * loss).sum() / weight.sum(),
        "batch_accuracy": hits.sum() / counts[:, :classes].sum(),
        "image_accuracy": (hits.sum(1) / label[0].size).sum(),
        "image_iou": (hits / jnp.maximum(union, 1)).sum(0),
        "images_of_class": (union > 0).sum(0),
    }
    if classes == 2:
        iou = (hits[:, 1] + 1e-6) / (union[:, 1] + 1e-6)
        score = (jnp.ceil(jnp.clip(20 * (iou - 0.5), 0, 10)) / 10 * valid).sum()
        sums |= {"kaggle10": score, "batch_kaggle10": score / valid.sum()}
    return sums


def summarize_segmentation(sums: dict) -> dict:
    """From the sums over a set; all except losses are in [0, 1]; nan where nothing is counted. IoU: hits / (label or
    prediction is the class).

    loss: the weighted mean over the set.  acc/pixel: hits / pixels, without void ones.
    loss/batch_mean, acc/batch_mean: their means over batches, nan if a batch has only void pixels.
    acc/pixel_mean_image: the mean over images of hits / all pixels, so a void pixel is a miss (pochih/FCN-pytorch).
    miou/pooled: IoU from one confusion matrix without void pixels, averaged over the classes; nan if one is neither in
      labels nor in predictions (torchvision).  miou/pooled_zero: that class counts as 0 (its union is at least 1).
      miou/pooled_nanmean: that class is left out (MMSegmentation's mIoU).
    iou/micro: from the same matrix, the counts of all classes added before dividing (segmentation_models_pytorch).
    miou/landcover6 (of 6 or 7 classes): the mean over the first six classes, nan as above. Every pixel counts: one of
      the six predicted where the label is the seventh or void is a false positive.
    miou/per_image_nanmean: IoU of each class in each image that has it in label or prediction, every pixel counting,
      averaged over images, then over classes (pochih/FCN-pytorch).
    iou_fg/kaggle10 (of 2 classes): the share of the thresholds 0.5, 0.55, ... 0.95 that the IoU of class 1 in an image
      exceeds, every pixel counting, both counts plus 1e-6, so an image without class 1 in both has 1; averaged over
      each batch, then over batches; nan if no image has class 1 in label or prediction.
      iou_fg/kaggle10_mean_image: averaged over images.
    Arrays: class_iou and class_accuracy, pooled without void pixels; class_image_iou, per image; each (classes,), nan
      for a class without pixels. confusion: (classes + 1, classes + 1); rows are labels, the last row is void, the last
      column is outputs that are not classes.
    """
    confusion = np.asarray(sums["confusion"])
    classes = len(confusion) - 1
    labelled = confusion[:classes]
    image_iou = _ratio(sums["image_iou"], sums["images_of_class"])
    values = {
        "loss": _ratio(sums["loss"], sums["weight"]),
        "loss/batch_mean": sums["batch_loss"] / sums["batches"],
        "acc/batch_mean": sums["batch_accuracy"] / sums["batches"],
        "acc/pixel_mean_image": sums["image_accuracy"] / sums["images"],
        **pooled(confusion),
        "miou/per_image_nanmean": _nanmean(image_iou),
        "class_iou": _iou(labelled),
        "class_image_iou": image_iou,
        "class_accuracy": _ratio(labelled.diagonal(), labelled.sum(1)),
        "confusion": confusion,
    }
    if classes in (6, 7):
        values["miou/landcover6"] = _iou(confusion)[:6].mean()
    if classes == 2:
        found = confusion[1].sum() + confusion[:, 1].sum() > 0
        values["iou_fg/kaggle10"] = sums["batch_kaggle10"] / sums["batches"] if found else np.nan
        values["iou_fg/kaggle10_mean_image"] = sums["kaggle10"] / sums["images"] if found else np.nan
    return values


def pooled(confusion: np.ndarray) -> dict:
    """The metrics of `summarize_segmentation` that the counts (classes + 1, classes + 1) alone give."""
    labelled = confusion[:-1]
    hits, pixels, class_iou = labelled.diagonal(), labelled.sum(1), _iou(labelled)
    return {
        "acc/pixel": _ratio(hits.sum(), pixels.sum()),
        "miou/pooled": class_iou.mean(),
        "miou/pooled_zero": np.nan_to_num(class_iou).mean() if pixels.any() else np.nan,
        "miou/pooled_nanmean": _nanmean(class_iou),
        "iou/micro": _ratio(hits.sum(), pixels.sum() + labelled[:, :-1].sum() - hits.sum()),
    }


def majority(confusion: np.ndarray, label: int) -> dict:
    """`pooled` of a prediction that is `label` everywhere, for the labels of `confusion`: what a network must beat."""
    constant = np.zeros_like(confusion)
    constant[:, label] = confusion.sum(1)
    return pooled(constant)


def pixel_scores(logits: jax.Array, label: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """Sums for `summarize_pixel_scores`: histograms of each class's softmax log-odds, of its pixels and of all others.

    logits: float32 (b, h, w, n).  label: int (b, h, w); void pixels do not count.
    """
    classes = logits.shape[-1]
    label = label.astype(jnp.int32)
    log_p = jax.nn.log_softmax(logits)
    log_odds = log_p - jnp.log(-jnp.expm1(log_p))
    score = jnp.clip((log_odds / SCORE_RANGE + 1) * (SCORE_BINS / 2), 0, SCORE_BINS - 1).astype(jnp.int32)
    each = jnp.arange(classes)[None, None, None]
    positive = (label[..., None] == each).astype(jnp.int32)  # (b, h, w, n)
    counted = (label >= 0) & (label < classes) & (valid[:, None, None] > 0)
    histogram = jnp.zeros((2, classes, SCORE_BINS), jnp.int32)
    histogram = histogram.at[positive, each, score].add(counted[..., None].astype(jnp.int32))
    return {"negatives": histogram[0], "positives": histogram[1]}


def summarize_pixel_scores(sums: dict) -> dict:
    """Average precision of each class over all pixels of a set: the area under its precision-recall curve's envelope.

    As in VOC since 2010, each step of recall counts with the highest precision at this recall or above. Scores within a
    bin are one threshold, which gives the lowest value of any order among them. The exact value is at most
    `ap/pixel_voc_error` higher: the gain if the positives of each bin came first.
    ap/pixel_voc: the mean over the classes, nan if one has no pixels.  class_ap: an array (classes,).
    """
    positives, negatives = (np.asarray(sums[name])[:, ::-1] for name in ("positives", "negatives"))  # best first
    hits, misses = positives.cumsum(1), negatives.cumsum(1)

    def average_precision(misses: np.ndarray) -> np.ndarray:
        precision = hits / np.maximum(hits + misses, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        return _ratio((positives * envelope).sum(1), hits[:, -1])

    lowest, highest = average_precision(misses), average_precision(misses - negatives)
    return {"ap/pixel_voc": lowest.mean(), "ap/pixel_voc_error": (highest - lowest).mean(), "class_ap": lowest}


def _iou(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class, from counts (classes, classes + 1), or with void as one more row."""
    classes = confusion.shape[1] - 1
    hits = confusion.diagonal()[:classes]
    return _ratio(hits, confusion[:classes].sum(1) + confusion[:, :classes].sum(0) - hits)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, nan where `whole` is 0."""
    return part / np.where(np.asarray(whole) > 0, whole, np.nan)


def _nanmean(x: np.ndarray) -> float:
    """The mean of what is not nan; nan if all is."""
    return np.nan if np.isnan(x).all() else np.nanmean(x)
