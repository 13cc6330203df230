"""Several labels for an image: the sums of the evaluation give scikit-learn's numbers."""

import jax
import numpy as np
import optax
import pytest
from sklearn.metrics import average_precision_score

from jaxcv.data.source import Info
from jaxcv.errors import ConfigError
from jaxcv.models import basenet
from jaxcv.task import Setup
from jaxcv.tasks import multilabel

INFO = Info("several", ("a", "b", "c"), (8, 8, 1), (0.5,), (0.25,))
MODEL = basenet.Model(num_classes=3, channels=(4, 4), hidden=(8,), batch_norm=True)
RNG = np.random.default_rng(0)


def test_average_precision_is_scikit_learns():
    count = 200
    logits, labels = RNG.normal(size=(count, 3)), RNG.integers(0, 2, (count, 3))
    labels[:, 2] = 0
    bins = ((logits / multilabel.LIMIT + 1) * multilabel.BINS / 2).astype(int)
    histogram = np.zeros((2, 3, multilabel.BINS))
    np.add.at(histogram, (labels, np.arange(3)[None], bins), 1)
    sums = {"negatives": histogram[0], "positives": histogram[1], "count": count, "loss": 2.0 * count}
    sums["hits"] = ((logits > 0) == labels).sum(0)
    values = multilabel.summarize(sums)
    exact = [average_precision_score(labels[:, c], logits[:, c]) for c in range(2)]
    binned = [average_precision_score(labels[:, c], bins[:, c]) for c in range(2)]
    np.testing.assert_allclose(values["class_ap"], [*binned, np.nan], rtol=1e-12)
    assert 0 < values["map_error"] < 0.1 and abs(values["map"] - np.mean(exact)) <= values["map_error"]
    share = labels.mean(0)
    np.testing.assert_allclose(values["map_chance"], share[:2].mean())
    np.testing.assert_allclose(values["label_accuracy"], ((logits > 0) == labels).mean())
    np.testing.assert_allclose(values["label_accuracy_chance"], np.maximum(share, 1 - share).mean())
    assert values["loss"] == 2.0


def test_the_loss_and_the_measure():
    """Rows that are not valid do not count."""
    task = multilabel.make(Setup(lambda classes: MODEL, INFO, {"order": ()}, total_steps=10))
    image, labels = RNG.integers(0, 256, (6, 8, 8, 1), np.uint8), RNG.integers(0, 2, (6, 3)).astype(np.uint8)
    batch = {"image": image, "labels": labels, "valid": np.array([1, 1, 1, 1, 0, 0], np.float32)}
    params, model_state = jax.jit(task.init)(jax.random.key(0), batch)
    sums = jax.jit(task.measure)(params, model_state, batch)
    prediction = jax.jit(task.predict)(params, model_state, image)
    logits = np.asarray(prediction["logits"])
    np.testing.assert_allclose(prediction["probability"], 1 / (1 + np.exp(-logits)), rtol=1e-5)
    each = np.asarray(optax.sigmoid_binary_cross_entropy(logits, labels)).mean(1)
    np.testing.assert_allclose(sums["loss"], each[:4].sum(), rtol=1e-5)
    np.testing.assert_array_equal(sums["hits"], ((logits > 0) == labels)[:4].sum(0))
    np.testing.assert_array_equal(sums["positives"].sum(1), labels[:4].sum(0))
    np.testing.assert_array_equal((sums["positives"] + sums["negatives"]).sum(1), [4, 4, 4])
    one = {"image": image, "label": labels[:, 0].astype(np.int32)}
    with pytest.raises(ConfigError, match="'multilabel' needs several labels .* set config.data.separator"):
        jax.eval_shape(task.loss, params, model_state, one, jax.random.key(0))
