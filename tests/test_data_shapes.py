"""The embedded data set: a function of (seed, split, index), balanced, with exact masks, told by outline."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from jaxcv.config import call
from jaxcv.data import shapes
from jaxcv.errors import ConfigError


@pytest.fixture(scope="module")
def train():
    return shapes.source("train", count=3000)


def test_examples(train):
    example = train[7]
    assert example["image"].shape == train.info.shape == (32, 32, 3) and example["image"].dtype == np.uint8
    assert example["label"].shape == () and example["label"].dtype == np.int32
    assert example["mask"].shape == (32, 32) and example["mask"].dtype == np.uint8
    assert train.info.classes[example["label"]] == "heart" and len(train.info.classes) == 10


def test_default_counts():
    assert [len(shapes.source(s, size=8)) for s in ("train", "val", "test")] == [8192, 1024, 2048]


def test_same_again_whatever_the_count(train):
    for count in (1, 99, 301):
        again = shapes.source("train", count=count)
        for name, array in again.arrays.items():
            np.testing.assert_array_equal(array, train.arrays[name][:count])


def test_pinned():
    """The same bits on every machine: a change of this number is a change of the data set."""
    assert shapes.source("train", count=200).info.fingerprint == "c78c4fd4afc98964"
    assert shapes.source("val", count=20, size=48, seed=3).info.fingerprint == "6f1fcc91da90d08a"


def test_seed_split_and_index_all_matter(train):
    images = train.arrays["image"]
    assert len({image.tobytes() for image in images}) == len(images)
    for other in (shapes.source("train", count=100, seed=1), shapes.source("val", count=100)):
        assert (images[:100] != other.arrays["image"]).mean((1, 2, 3)).min() > 0.9


def test_classes_are_balanced(train):
    assert np.bincount(train.arrays["label"]).tolist() == [300] * 10


@pytest.mark.parametrize("size", [32, 64])
def test_masks(size):
    data = shapes.source("test", count=500, size=size).arrays
    inside = data["mask"] > 0
    expected = np.where(inside, data["label"][:, None, None] + 1, 0)
    np.testing.assert_array_equal(data["mask"], expected)
    rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)  # extents of the shape in pixels
    extent = np.maximum(rows, columns) / size
    assert extent.min() > 0.3 and extent.max() <= 0.9 + 1 / size
    assert inside.mean((1, 2)).min() > 0.01


def test_target_says_what_the_classes_are_those_of(train):
    masks = shapes.source("train", count=300, target="mask")
    assert masks.info.classes == ("ground", *train.info.classes) and len(masks.info.palette) == 11
    assert masks.info._replace(fingerprint="") == shapes.outline(target="mask")
    np.testing.assert_array_equal(masks.arrays["mask"], train.arrays["mask"][:300])
    assert masks.arrays["mask"].max() == 10
    with pytest.raises(ConfigError, match=r"config.data.target='masks' is unknown; did you mean 'mask'"):
        call(shapes.source, {"target": "masks"}, group="data", split="train")


def test_areas_are_those_of_the_outlines():
    """The area in pixels over that of the circle the shape fits, against the closed forms."""
    y, x = (np.mgrid[:400, :400].astype(np.float32) + 0.5) / 200 - 1
    area = {name: float((outline(x, y) < 0).mean() * 4) for name, outline in shapes.OUTLINES.items()}
    expected = {
        "disc": np.pi,
        "square": 2,
        "triangle": 3 * np.sqrt(3) / 4,
        "star": 10 * 0.42 * np.sin(np.pi / 5) / 2,
        "ring": np.pi * (1 - 0.54**2),
        "cross": 4 * 0.94 * 0.66 - 0.66**2,
        "arrow": 0.54 + 0.95 * 0.8,
        "hourglass": 2 * 0.7 * 0.7 + 0.2 * 0.7,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(area[name], value, rtol=0.01, err_msg=name)
    for name, outline in shapes.OUTLINES.items():  # every outline fits the unit circle
        assert not (outline(x, y) < 0)[x**2 + y**2 > 1.01].any(), name


def test_distances_are_true_near_the_edge():
    """Antialiasing needs distances: their gradient has length one."""
    y, x = (np.mgrid[:400, :400].astype(np.float32) + 0.5) / 160 - 1.25
    for name, outline in shapes.OUTLINES.items():
        distance = outline(x, y)
        slope = np.hypot(*np.gradient(distance, 1 / 160))
        near = np.abs(distance) < 0.05
        assert np.median(slope[near]) == pytest.approx(1, abs=0.01), name
        assert np.percentile(slope[near], 99) < 1.02, name


def test_shape_and_ground_differ(train):
    """In every image, the mean colours of shape and ground are apart: the shape can be seen."""
    data = train.arrays
    inside = (data["mask"] > 0)[..., None]
    means = [(data["image"] * m).sum((1, 2)) / m.sum((1, 2)) for m in (inside, ~inside)]
    assert np.abs(means[0] - means[1]).max(1).min() > 50


def test_colour_and_place_do_not_give_the_class_away(train):
    """Mean colours and centroids stay near chance (0.1); a linear probe of pixels (16x16) sees little more."""
    test = shapes.source("test", count=1000)

    def features(data):
        pixels = data["image"].reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)).reshape(-1, 768) / 255
        inside = (data["mask"] > 0).astype(float)
        centre = np.stack([(inside.sum(axis) @ np.arange(32)) / inside.sum((1, 2)) for axis in (1, 2)], -1) / 32
        colours = [
            (data["image"] * m[..., None]).sum((1, 2)) / m.sum((1, 2))[:, None] / 255 for m in (inside, 1 - inside)
        ]
        return pixels, np.concatenate([centre, *colours], 1)

    pixels, facts = features(train.arrays)
    test_pixels, test_facts = features(test.arrays)
    labels, test_labels = train.arrays["label"], test.arrays["label"]
    linear = RidgeClassifier(1e3).fit(pixels, labels).score(test_pixels, test_labels)
    given = KNeighborsClassifier(15).fit(facts, labels).score(test_facts, test_labels)
    assert given < 0.16 and linear < 0.35, (given, linear)


def test_normalisation_fits(train):
    pixels = train.arrays["image"].reshape(-1, 3) / 255
    np.testing.assert_allclose(pixels.mean(0), train.info.mean, atol=0.02)
    np.testing.assert_allclose(pixels.std(0), train.info.std, atol=0.02)


def test_bad_options():
    with pytest.raises(ConfigError, match="no split 'dev'"):
        shapes.source("dev")
    for (name, value), least in {("size", 4): 8, ("count", -1): 0, ("seed", -1): 0}.items():
        with pytest.raises(ConfigError, match=f"config.data.{name}={value} must be {least} or more"):
            call(shapes.source, {name: value}, group="data", split="train")
