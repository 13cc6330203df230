"""Spread of features, and losses, against closed forms and numpy."""

import jax
import numpy as np
import pytest

from jaxcv import losses, metrics


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
    values = metrics.spread(metrics.moments(x.astype(np.float32)))
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    assert float(values["feature_std"]) == pytest.approx(x.std(0).mean() * 5**0.5, rel=1e-4)
    assert float(values["effective_rank"]) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-4)
    shannon = np.exp(-(p := eigenvalues / eigenvalues.sum()) @ np.log(p))
    assert float(values["effective_rank"]) <= shannon


def test_spread_of_an_even_sphere_and_of_a_point():
    even = np.concatenate([np.eye(8), -np.eye(8)]).astype(np.float32)
    values = metrics.spread(metrics.moments(even))
    assert float(values["feature_std"]) == pytest.approx(1)
    assert float(values["effective_rank"]) == pytest.approx(8)
    point = metrics.spread(metrics.moments(np.tile(np.float32([[0.6, 0.8]]), (9, 1))))
    assert float(point["feature_std"]) < 1e-3


def test_cosine_distance():
    p = np.array([[1, 0], [3, 0], [1, 1], [0, 0]], np.float32)
    t = np.array([[2, 0], [-1, 0], [0, 5], [1, 1]], np.float32)
    actual = losses.cosine_distance(p, t)
    np.testing.assert_allclose(actual, [0, 4, 2 - 2**0.5, 2], atol=1e-5)
    same = np.linalg.norm(unit(p[:3]) - unit(t[:3]), axis=1) ** 2
    np.testing.assert_allclose(actual[:3], same, atol=1e-5)
    assert np.isfinite(jax.grad(lambda x: losses.cosine_distance(x, t).sum())(p)).all()
