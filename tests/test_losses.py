"""Losses and their gradients against torch's, closed forms, numpy and optax."""

import jax
import numpy as np
import optax
import pytest

from goldens import make_losses
from goldens.make_losses import CLASS_WEIGHT, CLASSES, EPSILON, GAMMA, SMOOTHING, VOID
from jaxcv.measure import losses

GOLDEN = np.load(make_losses.FILE, allow_pickle=False)
LOGITS, LABEL = make_losses.problem()
SOFT = make_losses.soft_target()
KNOWN = LABEL != VOID


EVEN = np.ones(CLASSES, np.float32)


def mean(loss, class_weight=EVEN):
    return losses.weighted_mean(loss, losses.pixel_weight(LABEL, class_weight))


OURS = {
    "cross_entropy": lambda z: mean(losses.pixel_cross_entropy(z, LABEL)),
    "weighted": lambda z: mean(losses.pixel_cross_entropy(z, LABEL), CLASS_WEIGHT),
    "smooth": lambda z: losses.softmax_cross_entropy(
        z, losses.smooth(jax.nn.one_hot(np.where(KNOWN, LABEL, 0), CLASSES), SMOOTHING)
    ).mean(),
    "soft": lambda z: losses.softmax_cross_entropy(z, SOFT).mean(),
    "binary": lambda z: losses.pixel_binary_cross_entropy(z, LABEL).mean(),
    "binary_soft": lambda z: losses.sigmoid_cross_entropy(z, SOFT).sum(),
    "binary_one": lambda z: losses.sigmoid_cross_entropy(z[..., :1], SOFT[..., :2]).mean(),
    "poly1": lambda z: mean(losses.poly1(losses.pixel_cross_entropy(z, LABEL), epsilon=EPSILON)),
    "poly1_of_mean": lambda z: losses.poly1(mean(losses.pixel_cross_entropy(z, LABEL)), epsilon=EPSILON),
    "focal": lambda z: mean(losses.focal(losses.pixel_cross_entropy(z, LABEL), gamma=GAMMA)),
}


def differentiate(functions):
    """f(logits) -> {name: (value, gradient)}, compiled together."""
    return jax.jit(lambda z: {name: jax.value_and_grad(f)(z) for name, f in functions.items()})


@pytest.fixture(scope="module")
def ours():
    with jax.enable_x64(True):
        return differentiate(OURS)(LOGITS)


@pytest.mark.parametrize("name", OURS)
def test_losses_and_gradients_are_torchs(ours, name):
    value, gradient = ours[name]
    np.testing.assert_allclose(value, GOLDEN[f"{name}/value"], rtol=1e-10)
    np.testing.assert_allclose(gradient, GOLDEN[f"{name}/gradient"], rtol=1e-10, atol=1e-14)


def region(loss):
    return lambda z: loss(
        *losses.overlap(jax.nn.softmax(z), LABEL, losses.pixel_weight(LABEL, EVEN)), smooth=1e-6
    ).sum()


VOIDLESS = {  # losses that must not see void pixels
    "cross_entropy": lambda z: losses.pixel_cross_entropy(z, LABEL).sum(),
    "poly1": lambda z: losses.poly1(losses.pixel_cross_entropy(z, LABEL)).sum(),
    "focal": lambda z: losses.focal(losses.pixel_cross_entropy(z, LABEL), gamma=0.5).sum(),
    "binary": lambda z: mean(losses.pixel_binary_cross_entropy(z, LABEL)),
    "jaccard": region(losses.jaccard),
    "dice": region(losses.dice),
}


def test_void_pixels_have_no_loss_and_no_gradient():
    logits = LOGITS.astype(np.float32)
    other = np.where(KNOWN[..., None], logits, 3 - 2 * logits)
    measure = differentiate(VOIDLESS)
    changed = measure(other)
    for name, (value, gradient) in measure(logits).items():
        assert float(value) == float(changed[name][0]) > 0, name
        assert np.array_equal(gradient, changed[name][1]) and np.isfinite(gradient).all(), name
        assert (gradient[~KNOWN] == 0).all(), name
        assert (gradient[KNOWN] != 0).any(-1).sum() >= KNOWN.sum() - 1, name  # one is certain


def test_labels_below_zero_and_of_eight_bits_are_void_too():
    label = np.array([[-1, -100, CLASSES], [0, 1, 2]])
    logits = LOGITS[0, :2, :3].astype(np.float32)
    expected = [[0, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(losses.pixel_weight(label, EVEN), expected)
    np.testing.assert_array_equal(losses.pixel_cross_entropy(logits, label) > 0, expected)
    np.testing.assert_array_equal(
        losses.pixel_cross_entropy(logits, np.uint8([[255, 5, 9], [0, 1, 2]])),
        losses.pixel_cross_entropy(logits, label),
    )


def test_without_any_weight_the_mean_is_zero():
    def loss(z):
        label = np.full(LABEL.shape, VOID)
        return losses.weighted_mean(losses.pixel_cross_entropy(z, label), losses.pixel_weight(label, EVEN))

    value, gradient = jax.jit(jax.value_and_grad(loss))(LOGITS.astype(np.float32))
    assert float(value) == 0 and (gradient == 0).all()


def test_smoothed_and_padded_targets():
    np.testing.assert_allclose(losses.smooth(np.float32([[0, 1, 0, 0]]), 0.2), [[0.05, 0.85, 0.05, 0.05]], rtol=1e-6)
    logits, target = LOGITS[0, 0].astype(np.float32), np.eye(CLASSES - 2, dtype=np.float32)[[0, 1, 2, 0]]
    more = optax.softmax_cross_entropy_with_integer_labels(logits, np.array([0, 1, 2, 0]))
    np.testing.assert_allclose(losses.softmax_cross_entropy(logits, target), more, rtol=1e-6)


def test_limits_of_poly1_and_focal():
    ce = np.float32([0, 0.3, 2, 80])
    np.testing.assert_allclose(losses.poly1(ce, epsilon=0.0), ce)
    np.testing.assert_allclose(losses.poly1(ce), [0, 0.3 + 1 - np.exp(-0.3), 3 - np.exp(-2), 81], rtol=1e-6)
    np.testing.assert_allclose(losses.focal(ce, gamma=0.0), ce)
    np.testing.assert_allclose(losses.focal(ce), (1 - np.exp(-ce)) ** 2 * ce, rtol=1e-5)


def test_overlap_of_sets():
    """Of sure predictions the losses are 1 - IoU and 1 - Dice of sets of pixels."""
    label = np.array([[[0, 0, 1], [1, 1, VOID]], [[2, 2, 2], [2, 2, 2]]])
    predicted = np.array([[[0, 1, 1], [1, 0, 2]], [[2, 2, 2], [0, 2, 2]]])
    weight = losses.pixel_weight(label, np.ones(3, np.float32))
    sums = losses.overlap(np.eye(3, dtype=np.float32)[predicted], label, weight)
    absent = 1e-3 / (1 + 1e-3)  # class 0 in the second image: predicted once
    ious = [[1 / 3, 2 / 4, 1], [absent, 1, 5 / 6]]
    np.testing.assert_allclose(losses.jaccard(*sums, smooth=1e-3), 1 - np.array(ious), atol=1e-3)
    dices = [[2 / 4, 4 / 6, 1], [absent, 1, 10 / 11]]
    np.testing.assert_allclose(losses.dice(*sums, smooth=1e-3), 1 - np.array(dices), atol=1e-3)
    whole = losses.jaccard(*(x.sum(0) for x in sums), smooth=0.0)
    np.testing.assert_allclose(whole, [1 - 1 / 4, 1 - 2 / 4, 1 - 5 / 6], rtol=1e-6)


def test_soft_overlap():
    p = np.random.default_rng(0).dirichlet(np.ones(CLASSES), LABEL.shape).astype(np.float32)
    y = np.eye(CLASSES, dtype=np.float32)[np.where(KNOWN, LABEL, 0)] * KNOWN[..., None]
    known = KNOWN[..., None] * p
    actual = losses.jaccard(*losses.overlap(p, LABEL, KNOWN.astype(np.float32)), smooth=0.5)
    expected = 1 - ((known * y).sum((1, 2)) + 0.5) / ((known + y - known * y).sum((1, 2)) + 0.5)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)

    theirs = {"smooth": 0.25, "reduction": "none", "axis": (1, 2)}  # 0.25: of half our fraction
    expected = jax.jit(lambda logits: optax.losses.dice_loss(logits, y, **theirs))(np.log(p))
    actual = losses.dice(*losses.overlap(p, LABEL, np.ones(LABEL.shape, np.float32)), smooth=0.5)
    assert expected.shape == (2, CLASSES)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
