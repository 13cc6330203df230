"""Colourisation as classification: few colours that fit the pixels, and for each pixel the nearest of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import data_files
from jaxcv.config import call
from jaxcv.data import cifar10, color_index
from jaxcv.errors import ConfigError, DataError


def test_colours_are_found_where_they_are():
    """Pixels around five colours: their means come out, from dark to light, whatever the order of the images."""
    rng = np.random.default_rng(0)
    true = np.array([[20, 20, 20], [200, 30, 30], [30, 200, 60], [90, 90, 240], [240, 240, 240]])
    images = (true[rng.integers(0, 5, (40, 16, 16))] + rng.integers(-9, 10, (40, 16, 16, 3))).astype(np.uint8)
    colors = color_index.learn_colors(images, 5)
    assert colors.dtype == np.uint8
    assert np.abs(colors.astype(int) - true).max() <= 1
    np.testing.assert_array_equal(color_index.learn_colors(images, 5), colors)
    assert np.abs(color_index.learn_colors(images[::-1], 5).astype(int) - true).max() <= 1


def test_more_colours_fit_better():
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)

    def error(count):
        colors = color_index.learn_colors(images, count).astype(int)
        return ((images - colors[color_index.nearest_color(images, colors.astype(np.uint8))]) ** 2).sum(-1).mean()

    one, few, many = error(1), error(4), error(24)
    np.testing.assert_allclose(one, images.reshape(-1, 3).var(0).sum(), rtol=1e-3)
    assert many < few / 2 < one / 4


def test_fewer_colours_than_asked_for():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[0, 0] = 255
    with pytest.raises(DataError, match=r"the training images have 2 different colours, fewer than data.colors=3"):
        color_index.learn_colors(images, 3)


def test_nearest_is_the_exact_nearest():
    rng = np.random.default_rng(0)
    images, colors = (rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((3, 20, 20), (24,)))
    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(colors.astype(float))
    distance, _ = found.kneighbors(images.reshape(-1, 3).astype(float))
    masks = color_index.nearest_color(images, colors)
    assert masks.dtype == np.uint8 and masks.shape == images.shape[:3]
    ours = np.linalg.norm(images.astype(int) - colors[masks], axis=-1)
    np.testing.assert_allclose(ours.ravel(), distance.ravel(), rtol=1e-12)


def test_one_class_of_cifar10(tmp_path):
    data_files.cifar10(tmp_path, each=60)
    options = {"dir": str(tmp_path), "holdout": 50, "keep": ("horse", "cat"), "colors": 5}
    train, val, test = (color_index.source(split, **options) for split in ("train", "val", "test"))
    base = cifar10.source("val", dir=str(tmp_path), holdout=50)
    np.testing.assert_array_equal(val.arrays["image"], base.arrays["image"][np.isin(base.arrays["label"], (3, 7))])
    assert len(val) < len(base) and train.info.palette == val.info.palette == test.info.palette
    np.testing.assert_array_equal(
        val.arrays["mask"], color_index.nearest_color(val.arrays["image"], np.array(val.info.palette, np.uint8))
    )
    assert set(val[0]) == {"image", "mask"} and len({s.info.fingerprint for s in (train, val, test)}) == 3
    assert train.info._replace(fingerprint="", palette=()) == color_index.outline(**options)
    assert len(train.info.classes) == len(train.info.palette) == 5
    every = color_index.source("val", **options | {"keep": ()})
    assert len(every) == 50


def test_val_may_be_the_test_split(tmp_path):
    """As where all training images are trained on and nothing else was held back."""
    data_files.cifar10(tmp_path, each=20)
    options = {"dir": str(tmp_path), "holdout": 0, "colors": 4, "val_split": "test"}
    train, val, test = (color_index.source(split, **options) for split in ("train", "val", "test"))
    assert (len(train), len(val)) == (100, 20)
    np.testing.assert_array_equal(val.arrays["mask"], test.arrays["mask"])


def test_of_shapes():
    source = color_index.source("val", base="shapes", count=30, size=16, colors=8, keep=("disc",))
    assert len(source) == 3 and source.info.shape == (16, 16, 3) and source.arrays["mask"].max() < 8


def test_bad_options(tmp_path):
    data_files.cifar10(tmp_path, each=4)
    options = {"dir": str(tmp_path), "holdout": 0, "colors": 4}
    with pytest.raises(ConfigError, match=r"data.base='cifar' is unknown; did you mean 'cifar10'"):
        call(color_index.source, options | {"base": "cifar"}, group="data", split="train")
    with pytest.raises(ConfigError, match=r"data.keep has 'hors'; did you mean 'horse'"):
        color_index.source("train", **options, keep=("hors",))
    with pytest.raises(ConfigError, match=r"config.data has no key 'size'"):
        color_index.source("train", **options, size=3)
    with pytest.raises(ConfigError, match=r"config.data.colors=256 must be in \[2, 255\]"):
        call(color_index.source, options | {"colors": 256}, group="data", split="train")
    with pytest.raises(ConfigError, match=r"there is no split 'dev'"):
        color_index.source("train", **options, val_split="dev")
    labels = cifar10.source("test", dir=str(tmp_path)).arrays["label"]
    missing = set(cifar10.CLASSES) - {cifar10.CLASSES[label] for label in labels}
    with pytest.raises(DataError, match=r"the split 'test' of cifar10 has no image of"):
        color_index.source("test", **options, keep=tuple(missing))


def test_real_horses():
    if not os.environ.get("JAXCV_DATA"):
        pytest.skip("JAXCV_DATA is unset: no real data to read")
    if not (Path(os.environ["JAXCV_DATA"]) / "cifar-10-batches-py").is_dir():
        pytest.skip("JAXCV_DATA has no cifar-10-batches-py")
    source = color_index.source("val", keep=("horse",), holdout=0, val_split="test")
    assert len(source) == 1000
    share = np.bincount(source.arrays["mask"].ravel(), minlength=24) / source.arrays["mask"].size
    assert share.min() > 0.005 and share.max() < 0.15  # every colour is used, none by most pixels
    error = source.arrays["image"].astype(int) - np.array(source.info.palette)[source.arrays["mask"]]
    assert (error**2).sum(-1).mean() < 460  # as k-means over all 5.1 million pixels: 443


def test_colours_are_learned_once_for_all_splits(monkeypatch):
    asked, learn = [], color_index.learn_colors
    monkeypatch.setattr(color_index, "learn_colors", lambda *args: asked.append(args) or learn(*args))
    sources = [
        color_index.source(split, base="shapes", colors=3, count=12, size=9) for split in ("train", "val", "test")
    ]
    assert len(asked) == 1 and len({source.info.palette for source in sources}) == 1
    other = color_index.source("train", base="shapes", colors=3, count=12, size=9, seed=1)
    assert len(asked) == 2 and other.info.palette != sources[0].info.palette
