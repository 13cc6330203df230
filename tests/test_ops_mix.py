"""Mixup and CutMix against their closed forms and scipy's draws."""

import jax
import numpy as np
import pytest
from scipy import stats

from jaxcv.errors import UserError
from jaxcv.ops.mix import mixup_or_cutmix

DRAWS = 2000
IMAGE = np.random.default_rng(0).random((4, 9, 8, 3), np.float32)
TARGET = np.float32(np.eye(4))


def draw(**options):
    """DRAWS batches: images d b h w c and targets d b classes."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    images, targets = jax.jit(jax.vmap(lambda key: mixup_or_cutmix(key, IMAGE, TARGET, **options)))(keys)
    return np.asarray(images), np.asarray(targets)


def check_targets(targets):
    """They are lambda for the own class and the rest for that of image b - 1 - i; returns lambda, d b."""
    shares = targets[:, range(4), range(4)]
    expected = shares[..., None] * TARGET + (1 - shares[..., None]) * TARGET[::-1]
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    return shares


def test_cutmix_of_each_image(monkeypatch):
    monkeypatch.setattr(jax.random, "beta", lambda key, a, b: jax.random.uniform(key))  # as for 1, but soon compiled
    images, targets = draw(cutmix_alpha=1.0, switch_p=1.0, per_image=True)
    shares = check_targets(targets)
    other = (images == IMAGE[::-1]).all(axis=-1)
    np.testing.assert_array_equal(images, np.where(other[..., None], IMAGE[::-1], IMAGE))
    np.testing.assert_allclose(shares, 1 - other.mean(axis=(2, 3)), atol=1e-6)
    rows, columns = other.any(axis=3), other.any(axis=2)
    np.testing.assert_array_equal(other, rows[..., :, None] & columns[..., None, :])  # they are boxes
    assert (abs(np.diff(np.pad(rows, ((0, 0), (0, 0), (1, 1))).astype(int))).sum(axis=-1) <= 2).all()

    rng = np.random.default_rng(0)  # timm's rand_bbox
    cut = np.sqrt(1 - rng.beta(1, 1, (2, 20_000)))[0]
    expected = 1.0
    for length in (9, 8):
        centre, half = rng.integers(0, length, 20_000), (length * cut).astype(int) // 2
        expected = expected * (np.clip(centre + half, 0, length) - np.clip(centre - half, 0, length)) / length
    values = np.unique(np.round(1 - expected, 5))
    ours, theirs = (np.searchsorted(values, np.round(x, 5) + 1e-5) for x in (shares[:, 1], 1 - expected))
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert abs(np.corrcoef(shares[:, 0], shares[:, 3])[0, 1]) < 5 / np.sqrt(DRAWS)  # independent, though partners


def test_mixup_or_cutmix_of_the_batch():
    images, targets = draw(mixup_alpha=0.4, cutmix_alpha=5.0, switch_p=0.3, p=0.8)
    shares = check_targets(targets)
    np.testing.assert_allclose(shares, np.broadcast_to(shares[:, :1], shares.shape), atol=1e-6)
    kept = (images == IMAGE).all(axis=(1, 2, 3, 4))
    copied = ((images == IMAGE) | (images == IMAGE[::-1])).all(axis=(1, 2, 3, 4)) & ~kept
    np.testing.assert_array_equal(targets[kept], np.broadcast_to(TARGET, targets.shape)[kept])
    for share, expected in ((kept.mean(), 0.2), (copied.mean(), 0.8 * 0.3)):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / DRAWS)
    mixed = ~kept & ~copied
    weight = shares[mixed][:, :, None, None, None]
    np.testing.assert_allclose(images[mixed], weight * IMAGE + (1 - weight) * IMAGE[::-1], atol=1e-6)
    assert stats.kstest(shares[mixed, 0], stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_an_alpha_of_zero_and_labels_are_errors():
    with pytest.raises(UserError, match=r"target must be b classes, .* not of shape \(4,\)"):
        mixup_or_cutmix(jax.random.key(0), IMAGE, np.arange(4))
    with pytest.raises(UserError, match="alpha must be above 0, not 0"):
        mixup_or_cutmix(jax.random.key(0), IMAGE, TARGET, mixup_alpha=0)
    with pytest.raises(UserError, match="alpha must be above 0, not -1"):
        mixup_or_cutmix(jax.random.key(0), IMAGE, TARGET, cutmix_alpha=-1)
