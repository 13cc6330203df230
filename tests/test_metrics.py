"""Metrics against closed forms, scikit-learn, and numpy transcriptions of their definitions."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from sklearn import metrics as sk

from jaxcv.measure import losses, metrics
from jaxcv.mesh import make_mesh, put, replicated


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_moments_add_over_batches_and_leave_out_padding():
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    whole = metrics.moments(x)
    padded = np.concatenate([x[6:], np.full((2, 4), 9, np.float32)])
    parts = metrics.moments(x[:6]), metrics.moments(padded, np.array([1, 1, 1, 1, 0, 0], np.float32))
    jax.tree.map(lambda w, a, b: np.testing.assert_allclose(w, a + b, rtol=1e-5), whole, *parts)


def test_spread_against_numpy():
    x = unit(np.random.default_rng(1).normal(size=(64, 5)) * [3, 2, 1, 1, 0.1])
    values = metrics.feature_spread(metrics.moments(x.astype(np.float32)))
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    assert float(values["feature_std"]) == pytest.approx(x.std(0).mean() * 5**0.5, rel=1e-4)
    assert float(values["effective_rank"]) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-4)
    shannon = np.exp(-(p := eigenvalues / eigenvalues.sum()) @ np.log(p))
    assert float(values["effective_rank"]) <= shannon


def test_spread_of_an_even_sphere_and_of_a_point():
    even = np.concatenate([np.eye(8), -np.eye(8)]).astype(np.float32)
    values = metrics.feature_spread(metrics.moments(even))
    assert float(values["feature_std"]) == pytest.approx(1)
    assert float(values["effective_rank"]) == pytest.approx(8)
    point = metrics.feature_spread(metrics.moments(np.tile(np.float32([[0.6, 0.8]]), (9, 1))))
    assert float(point["feature_std"]) < 1e-3


def test_cosine_distance():
    p = np.array([[1, 0], [3, 0], [1, 1], [0, 0]], np.float32)
    t = np.array([[2, 0], [-1, 0], [0, 5], [1, 1]], np.float32)
    actual = losses.cosine_distance(p, t)
    np.testing.assert_allclose(actual, [0, 4, 2 - 2**0.5, 2], atol=1e-5)
    same = np.linalg.norm(unit(p[:3]) - unit(t[:3]), axis=1) ** 2
    np.testing.assert_allclose(actual[:3], same, atol=1e-5)
    assert np.isfinite(jax.grad(lambda x: losses.cosine_distance(x, t).sum())(p)).all()


def batches(size, **arrays):
    """As an evaluation's: equally large, the last filled up with wrong rows that are not valid."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        valid = (np.arange(start, start + size) < count).astype(np.float32)
        yield {
            name: np.where(valid.reshape(-1, *[1] * (x.ndim - 1)) > 0, x[rows], x[0]) for name, x in arrays.items()
        } | {"valid": valid}


def total(measure, size, mesh=None, **arrays):
    """Sums over the batches, float64, as an evaluation adds them; on all four devices unless a mesh is given."""
    mesh = mesh or make_mesh()
    run = jax.jit(lambda batch: measure(**batch), out_shardings=replicated(mesh))
    parts = [run(put(mesh, batch)) for batch in batches(size, **arrays)]
    return jax.tree.map(lambda *x: np.sum([np.asarray(part, np.float64) for part in x], 0), *parts)


def test_most_probable():
    np.testing.assert_array_equal(metrics.most_probable(np.float32([[0, 2, 1], [3, 3, 0]])), [1, 0])
    np.testing.assert_array_equal(metrics.most_probable(np.float32([[-1], [0], [0.1]])), [0, 0, 1])


@pytest.mark.parametrize("outputs", [7, 9])
def test_classification_against_scikit_learn(outputs):
    """Seven classes, of which one has no images; with nine outputs, some images are predicted as none of them."""
    rng = np.random.default_rng(outputs)
    label = rng.choice([0, 1, 2, 3, 5, 6], 22)
    logits = rng.normal(size=(22, outputs)).astype(np.float32)
    logits[np.arange(12), label[:12]] += 1.5
    loss = rng.random(22).astype(np.float32)
    sums = total(functools.partial(metrics.classification, classes=7), 8, logits=logits, label=label, loss=loss)
    values = metrics.summarize_classification(sums)

    predicted = logits.argmax(1)
    assert (predicted > 6).any() == (outputs > 7)
    hit = predicted == label
    present = np.unique(label)
    recall = sk.recall_score(label, predicted, labels=present, average=None)
    assert values["loss"] == pytest.approx(loss.mean(), rel=1e-6)
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(label, predicted))
    top5 = sk.top_k_accuracy_score(label, logits, k=5, labels=np.arange(outputs))
    assert values["top5_accuracy"] == pytest.approx(top5) and top5 < 1
    np.testing.assert_allclose(values["class_accuracy"][present], recall)
    assert np.isnan(values["class_accuracy"][4]) and values["class_mean_accuracy"] == pytest.approx(recall.mean())
    by_batch = np.mean([hit[:8].mean(), hit[8:16].mean(), hit[16:].mean()])
    assert values["batch_mean_accuracy"] == pytest.approx(by_batch, rel=1e-6) and by_batch != hit.mean()
    confusion = sk.confusion_matrix(label, np.minimum(predicted, 7), labels=np.arange(8))
    np.testing.assert_array_equal(values["confusion"], confusion[:7])


def test_classification_by_one_logit():
    label = np.array([0, 1, 1, 0, 1, 0])
    logits = np.float32([-1, 2, -3, 4, 5, -6])[:, None]
    loss = np.zeros(6, np.float32)
    sums = metrics.classification(logits, label, np.float32([1, 1, 1, 1, 1, 0]), loss, 2)
    values = metrics.summarize_classification({name: np.float64(x) for name, x in sums.items()})
    np.testing.assert_array_equal(values["confusion"], [[1, 1, 0], [1, 2, 0]])
    assert values["accuracy"] == pytest.approx(3 / 5) and "top5_accuracy" not in values


def scene(seed, classes, void, absent=(), count=10, outputs=None):
    """Labels in patches, of which some are void, and predictions that are right at six pixels in ten."""
    rng = np.random.default_rng(seed)
    known = np.setdiff1d(np.arange(classes), absent)
    label = np.repeat(np.repeat(rng.choice(known, (count, 4, 4)), 3, 1), 3, 2)
    label[rng.random(label.shape) < 0.1] = void
    others = np.setdiff1d(np.arange(outputs or classes), absent)
    prediction = np.where(rng.random(label.shape) < 0.6, np.where(label == void, 0, label), 0)
    prediction = np.where(rng.random(label.shape) < 0.3, rng.choice(others, label.shape), prediction)
    loss, weight = rng.random((2, *label.shape)).astype(np.float32)
    return {"prediction": prediction.astype(np.int32), "label": label, "loss": loss, "weight": weight * (label != void)}


def segment(data, classes, size=4):
    sums = total(functools.partial(metrics.segmentation, classes=classes), size, **data)
    return metrics.summarize_segmentation(sums)


def iou(prediction, label, c):
    union = ((prediction == c) | (label == c)).sum()
    return ((prediction == c) & (label == c)).sum() / union if union else np.nan


def test_segmentation_pooled():
    """Eleven classes, one of them absent, void 255 in eight bits, and an output that is none of the classes."""
    data = scene(0, 11, 255, absent=(4,), outputs=12)
    values = segment(data | {"label": data["label"].astype(np.uint8)}, 11)
    known = data["label"] != 255
    p, y = data["prediction"][known], data["label"][known]
    assert (p == 11).any()
    expected = np.array([iou(p, y, c) for c in range(11)])
    np.testing.assert_allclose(values["class_iou"], expected)
    assert np.isnan(expected[4]) and np.isnan(values["miou/pooled"])
    assert values["miou/pooled_nanmean"] == pytest.approx(np.nanmean(expected))
    assert values["miou/pooled_zero"] == pytest.approx(np.nansum(expected) / 11)
    micro = sk.jaccard_score(y, p, labels=np.arange(11), average="micro")
    assert values["iou/micro"] == pytest.approx(micro)
    np.testing.assert_array_equal(values["confusion"][:11], sk.confusion_matrix(y, p, labels=np.arange(12))[:11])
    np.testing.assert_array_equal(values["confusion"][11], np.bincount(data["prediction"][~known], minlength=12))
    present = np.setdiff1d(np.arange(11), 4)
    recall = sk.recall_score(y, p, labels=present, average=None)
    np.testing.assert_allclose(values["class_accuracy"], np.insert(recall, 4, np.nan))
    assert values["acc/pixel"] == pytest.approx(sk.accuracy_score(y, p))

    batch = [slice(0, 4), slice(4, 8), slice(8, 10)]
    hit, weight, loss = data["prediction"] == data["label"], data["weight"], data["loss"]
    assert values["acc/batch_mean"] == pytest.approx(np.mean([hit[b].sum() / known[b].sum() for b in batch]), rel=1e-6)
    assert values["loss"] == pytest.approx(np.average(loss, weights=weight), rel=1e-6)
    means = [np.average(loss[b], weights=weight[b]) for b in batch]
    assert values["loss/batch_mean"] == pytest.approx(np.mean(means), rel=1e-6)
    assert (
        len({round(float(x), 6) for name, x in values.items() if np.ndim(x) == 0 and x == x}) == 9
    )  # none like another


def test_without_absent_classes_the_three_pooled_means_are_one():
    data = scene(1, 3, 3) | {"loss": np.arange(10, dtype=np.float32), "weight": np.ones(10, np.float32)}
    values = segment(data, 3)
    assert values["miou/pooled"] == values["miou/pooled_zero"] == values["miou/pooled_nanmean"] > 0
    assert values["loss"] == 4.5  # of images


def test_segmentation_of_each_image():
    """As pochih/FCN-pytorch: void is the number of classes and is seen; a class that is nowhere does not count."""
    data = scene(2, 11, 11, absent=(4,))
    data["label"][3] = data["prediction"][3] = 7  # an image of one class
    values = segment(data, 11)
    p, y = data["prediction"], data["label"]
    ious = np.array([[iou(p[i], y[i], c) for c in range(11)] for i in range(10)])
    by_class = np.array([np.nanmean(ious[:, c]) if c != 4 else np.nan for c in range(11)])
    np.testing.assert_allclose(values["class_image_iou"], by_class, rtol=1e-6)
    assert values["miou/per_image_nanmean"] == pytest.approx(np.nanmean(by_class), rel=1e-6)
    assert values["acc/pixel_mean_image"] == pytest.approx(
        np.mean([(p[i] == y[i]).mean() for i in range(10)]), rel=1e-6
    )


@pytest.mark.parametrize("unknown", ["class", "void"])
def test_segmentation_of_land_cover(unknown):
    """Unknown land is the seventh class, or void; either way a land predicted there is a false positive."""
    data = scene(3, 7, 6)
    p, y = data["prediction"], data["label"]
    expected = []
    for c in range(6):
        predicted, true, hits = (p == c).sum(), (y == c).sum(), ((p == c) * (y == c)).sum()
        expected.append(hits / (predicted + true - hits))
    label = y if unknown == "class" else np.where(y == 6, -100, y)
    values = segment(data | {"label": label}, 7)
    assert values["miou/landcover6"] == pytest.approx(np.mean(expected))
    if unknown == "class":
        np.testing.assert_allclose(values["class_iou"][:6], expected)
    else:
        assert (values["class_iou"][:6] > expected).all()
    absent = scene(3, 7, 6, absent=(2,))
    assert np.isnan(segment(absent, 7)["miou/landcover6"])


def test_thresholded_foreground_iou():
    data = scene(4, 2, 1, count=11)
    data["prediction"][:6] = data["label"][:6] ^ (np.random.default_rng(5).random((6, 12, 12)) < 0.08)
    data["label"][6] = data["prediction"][6] = 0  # nothing there, nothing found
    values = segment(data, 2)
    both, any_ = (f(data["prediction"] == 1, data["label"] == 1).sum((1, 2)) for f in (np.logical_and, np.logical_or))
    ious = (both + 1e-6) / (any_ + 1e-6)
    score = np.ceil(np.clip(20 * (ious - 0.5), 0, 10)) / 10
    assert score[6] == 1 and len(np.unique(score)) > 3
    np.testing.assert_allclose(score, [np.mean(x > np.arange(0.5, 0.99, 0.05)) for x in ious])
    by_batch = np.mean([score[:4].mean(), score[4:8].mean(), score[8:].mean()])
    assert values["iou_fg/kaggle10"] == pytest.approx(by_batch, rel=1e-6)
    assert values["iou_fg/kaggle10_mean_image"] == pytest.approx(score.mean(), rel=1e-6) != by_batch


def test_nothing_is_measured_where_all_is_void_or_no_pixel_is_foreground():
    void = scene(9, 3, 255)
    void["label"][:] = 255
    values = segment(void | {"weight": np.zeros_like(void["weight"])}, 3)
    pooled = ("loss", "acc/pixel", "iou/micro", *(f"miou/pooled{rest}" for rest in ("", "_zero", "_nanmean")))
    assert all(np.isnan(values[name]) for name in pooled), values
    background = scene(10, 2, 1)
    background["label"][:] = background["prediction"][:] = 0
    values = segment(background, 2)
    assert np.isnan(values["iou_fg/kaggle10"]) and np.isnan(values["iou_fg/kaggle10_mean_image"])
    assert values["acc/pixel"] == 1 and np.isnan(values["miou/pooled"])
    background["prediction"][0, 0, 0] = 1
    assert segment(background, 2)["iou_fg/kaggle10_mean_image"] == pytest.approx(0.9)


def test_the_majority_class_everywhere():
    data = scene(11, 3, 255)
    confusion = segment(data, 3)["confusion"]
    values = metrics.majority(confusion, 2)
    constant = segment(data | {"prediction": np.full_like(data["prediction"], 2)}, 3)
    assert values == {name: constant[name] for name in values}
    share = (data["label"] == 2).sum() / (data["label"] != 255).sum()
    assert values["acc/pixel"] == pytest.approx(share) and values["miou/pooled"] == pytest.approx(share / 3)


def test_one_device_sums_what_four_do():
    one = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    data = scene(8, 5, 255)
    logits = np.random.default_rng(8).normal(size=(10, 12, 12, 5)).astype(np.float32)

    def measure(logits, label, valid, **data):
        flat = logits[:, 0, 0], label[:, 0, 0] % 5, valid, data["loss"][:, 0, 0]
        return [
            metrics.segmentation(label=label, valid=valid, classes=5, **data),
            metrics.pixel_scores(logits, label, valid),
            metrics.classification(*flat, classes=5),
        ]

    sums = [total(measure, 4, mesh=mesh, logits=logits, **data) for mesh in (one, make_mesh())]
    assert make_mesh().size == 4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *sums)


def area_under_envelope(positive, score):
    """From the ranking alone, pixel by pixel: each step of recall times the highest precision from there on."""
    positive = positive[np.argsort(-score, kind="stable")]
    precision = np.cumsum(positive) / np.arange(1, len(positive) + 1)
    best = [precision[i:].max() for i in np.flatnonzero(positive)]
    return np.mean(best)


def score_pixels(logits, label, size=4):
    return metrics.summarize_pixel_scores(total(metrics.pixel_scores, size, logits=logits, label=label))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 30.0])
def test_average_precision_is_within_its_error(scale):
    """Of logits that the bins tell apart, that are nearly one, and that saturate."""
    rng = np.random.default_rng(6)
    label = rng.choice(4, (10, 12, 12), p=[0.6, 0.25, 0.1, 0.05])
    logits = scale * (2 * np.eye(4)[label] + rng.normal(size=(*label.shape, 4)))
    known = rng.random(label.shape) > 0.1
    values = score_pixels(logits.astype(np.float32), np.where(known, label, rng.choice([-1, 4, 255], label.shape)))
    p = jax.nn.softmax(logits[known].astype(np.float32))
    exact = np.array([area_under_envelope(label[known] == c, np.asarray(p)[:, c]) for c in range(4)])
    least, error = values["class_ap"], values["ap/pixel_voc_error"]
    assert (least <= exact + 1e-6).all() and exact.mean() <= values["ap/pixel_voc"] + error + 1e-6
    assert values["ap/pixel_voc"] == pytest.approx(least.mean())
    assert error < 0.004 if scale == 1 else error > 0.01


def test_average_precision_of_tied_scores_against_scikit_learn():
    """Log-odds in the middle of bins: no error but from ties, which are one threshold, as in scikit-learn's curve."""
    rng = np.random.default_rng(7)
    label = rng.integers(0, 2, (8, 6, 6))
    step = 2 * metrics.SCORE_RANGE / metrics.SCORE_BINS
    odds = (np.round(rng.normal(size=label.shape) * 6 + 5 * label) + 0.5) * step
    logits = np.stack([np.zeros_like(odds), odds], -1).astype(np.float32)
    actual = score_pixels(logits, label)["class_ap"]
    for c, score in ((0, -odds), (1, odds)):
        precision, recall, _ = sk.precision_recall_curve(label.ravel() == c, score.ravel())
        envelope = np.maximum.accumulate(precision)  # from the lowest threshold to the highest
        assert actual[c] == pytest.approx(-(np.diff(recall) * envelope[:-1]).sum())
        assert actual[c] > sk.average_precision_score(label.ravel() == c, score.ravel())  # which has no envelope


def test_average_precision_of_an_absent_class_is_nan():
    label = np.zeros((4, 2, 2), np.uint8)
    label[0] = 1
    values = score_pixels(np.eye(3, dtype=np.float32)[label], label)
    np.testing.assert_array_equal(values["class_ap"], [1, 1, np.nan])
    assert np.isnan(values["ap/pixel_voc"]) and np.isnan(values["ap/pixel_voc_error"])
