"""Classification into classes of which an image may have several, or none: a sigmoid for each class.

params: the network's.  model_state: {"batch_stats": the network's}.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.errors import ConfigError
from jaxcv.measure import losses
from jaxcv.ops.views import make_view, make_views
from jaxcv.predict import write_labels
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.task import Batch, Metrics, Setup, Task, Tree
from jaxcv.tasks.classify import make_predict
from jaxcv.tasks.network import check_outputs, forward, make_init, upcast

BINS = 4096  # of logits from -LIMIT to LIMIT; those within a bin are one threshold
LIMIT = 16.0


def make(setup: Setup) -> Task:
    """A classifier that trains on `labels`, uint8 (b, classes), by binary cross-entropy, averaged over the classes."""
    classes = len(setup.info.classes)
    model = setup.make_model(classes)
    augment = make_views({"image": make_view("augment", **setup.augment)}, mean=setup.info.mean, std=setup.info.std)
    predict = make_predict(model, setup.info, crop=setup.crop, stage=setup.stage, loss="sigmoid")

    def per_example(logits: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.sigmoid_cross_entropy(upcast(logits), labels.astype(jnp.float32)) / classes

    def loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        if "labels" not in batch:
            lacks = f"the images of {setup.info.name} have none: set config.data.separator where a CSV has them"
            raise ConfigError(f"config.task.name='multilabel' needs several labels for an image, and {lacks}.")
        (logits, _), model_state = forward(model, params, model_state, augment(key, batch)["image"], key)
        check_outputs(logits, classes)
        hit = (logits > 0) == (batch["labels"] > 0)
        return per_example(logits, batch["labels"]).mean(), (model_state, {"label_accuracy": hit.mean()})

    def measure(params: Tree, model_state: Tree, batch: Batch) -> Metrics:
        logits, labels = predict(params, model_state, batch["image"])["logits"], batch["labels"]
        bins = jnp.clip((logits / LIMIT + 1) * (BINS / 2), 0, BINS - 1).astype(jnp.int32)
        valid = batch["valid"].astype(jnp.int32)[:, None]
        present = (labels > 0).astype(jnp.int32)
        hit = ((logits > 0) == (labels > 0)) * valid
        histogram = jnp.zeros((2, classes, BINS), jnp.int32)
        histogram = histogram.at[present, jnp.arange(classes)[None], bins].add(valid)
        return {
            "count": valid.sum(),
            "loss": (per_example(logits, labels) * valid[:, 0]).sum(),
            "hits": hit.sum(0),
            "negatives": histogram[0],
            "positives": histogram[1],
        }

    init = make_init(model, augment)
    return Task(model, init, loss, measure, summarize, augment=augment, predict=predict, draw=draw, write=write_labels)


def summarize(sums: dict) -> dict:
    """From the sums over a set; all but the loss are in [0, 1].

    map: the mean over the classes of `class_ap`, the average precision; a class that no image has does not count.
    map_error: how far it may be from its exact value, since scores within a bin are one threshold.  map_chance: its
    value for random scores, the mean share of images that have the class.
    label_accuracy: the share of yes and no, at probability 0.5, that are right, over all images and classes.
    label_accuracy_chance: its value for the more frequent answer of each class.
    Arrays (classes,): class_ap, nan for a class that no image has; class_label_accuracy.
    """
    positives, negatives, count = sums["positives"], sums["negatives"], sums["count"]
    total = positives.sum(1)
    share = total / count
    class_ap, error = average_precision(positives, negatives)
    return {
        "loss": sums["loss"] / count,
        "map": np.nanmean(class_ap) if total.any() else np.nan,
        "map_error": np.nanmean(error) if total.any() else np.nan,
        "map_chance": share[total > 0].mean() if total.any() else np.nan,
        "label_accuracy": (sums["hits"] / count).mean(),
        "label_accuracy_chance": np.maximum(share, 1 - share).mean(),
        "class_ap": class_ap,
        "class_label_accuracy": sums["hits"] / count,
    }


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The average precision of each class, and how far it may be from that of the scores before they were counted.

    positives, negatives: (classes, bins), how many scores of each kind are in each bin, the lowest first. The value is
    scikit-learn's `average_precision_score` of the bins. Both are nan without positives.
    """
    positives, negatives = positives[:, ::-1], negatives[:, ::-1]
    hits, misses = positives.cumsum(1), negatives.cumsum(1)
    before = hits - positives

    def mean(precision: np.ndarray) -> np.ndarray:
        total = hits[:, -1]
        return np.where(total > 0, (positives * precision).sum(1) / np.maximum(total, 1), np.nan)

    value = mean(hits / np.maximum(hits + misses, 1))
    highest = mean(hits / np.maximum(hits + misses - negatives, 1))  # positives of each bin first
    lowest = mean((before + 1) / (before + 1 + misses))  # and last
    return value, np.maximum(highest - value, value - lowest)


def draw(results: Results, folder: Path) -> None:
    """The average precision of each class in the test split."""
    classes = results.info.classes
    figures.class_bars(results.arrays["test/class_ap"], folder / "class_ap.png", classes=classes, metric="AP")
