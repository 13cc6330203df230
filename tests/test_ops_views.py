"""Views: order, streams, errors, and one device against four."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import FrozenConfigDict

from jaxcv.errors import ConfigError, UserError
from jaxcv.ops.color import random_color_jitter, random_grayscale
from jaxcv.ops.geometry import center_crop, random_flip, random_resized_crop
from jaxcv.ops.views import make_view, make_views
from jaxcv.prng import stream

IMAGE = np.random.default_rng(0).random((12, 14, 3), np.float32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIEWS = FrozenConfigDict(  # as a config holds them; every op once, to compile little
    {
        "view1": {
            "crop": {"size": (8, 8), "area": (0.08, 1.0)},
            "jitter": {"p": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1},
            "blur": {"p": 0.5, "kernel": 3, "sigma": (0.1, 2.0)},
        },
        "view2": {
            "flip": {"p": 0.5},
            "gray": {"p": 0.2},
            "solarize": {"p": 0.2, "threshold": 0.5},
        },
    }
)


def test_a_view_is_its_ops_in_order_each_on_its_stream():
    options = {"jitter": {"p": 1.0}, "gray": {"p": 0.5}, "flip": {"p": 0.5}, "crop": {"size": 6}}
    options |= {"center_crop": {"size": 5}}  # which is not random
    view = make_view(
        "augment", order=("jitter", "gray", "flip", "blur", "crop", "center_crop"), **options
    )  # lucidrains' order
    for seed in range(4):
        key = jax.random.key(seed)
        image = random_color_jitter(stream(key, "jitter"), IMAGE, p=1.0)
        image = random_grayscale(stream(key, "gray"), image, p=0.5)
        image = random_flip(stream(key, "flip"), image, p=0.5)
        expected = center_crop(random_resized_crop(stream(key, "crop"), image, size=6), size=5)
        np.testing.assert_array_equal(view(jax.random.key(seed), IMAGE), expected)


def test_another_order_draws_the_same_numbers():
    options = {"flip": {"p": 0.5}, "solarize": {"p": 0.5}, "gray": {"p": 0.0}}  # these two commute
    one, other = make_view("augment", **options), make_view("augment", order=("gray", "solarize", "flip"), **options)
    views = [[view(jax.random.key(seed), IMAGE) for seed in range(12)] for view in (one, other)]
    np.testing.assert_array_equal(*views)
    assert len({np.asarray(view).tobytes() for view in views[0]}) == 4  # both ops were applied, and both were not


def test_an_absent_op_is_not_traced():
    view = make_view("augment", flip={"p": 0.0}, jitter=None, blur={}, gray={"p": 0.0}, solarize={"p": 0})
    assert view(jax.random.key(0), IMAGE) is IMAGE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blurr": {"p": 1}}, "config.augment.view1 has no key 'blurr'; did you mean 'blur'"),
        ({"order": ("crop", "flop")}, "config.augment.view1.order has 'flop'; did you mean 'flip'"),
        (
            {"order": ("zzz",)},
            "view1.order has 'zzz'; choose one of autoaugment, blur, center_crop, crop, erase, flip, gray",
        ),
        ({"pad_crop": {"size": 32}}, "config.augment.view1.pad_crop.padding is missing"),
        ({"resize": {"siz": 32}}, "config.augment.view1.resize has no key 'siz'; did you mean 'size'"),
        ({"jitter": {"brightnes": 1}}, "view1.jitter has no key 'brightnes'; did you mean 'brightness'"),
        ({"crop": {"area": (0.1, 1)}}, "config.augment.view1.crop.size is missing"),
        ({"gray": {"p": 1.2}}, r"config.augment.view1.gray.p=1.2 must be in \[0, 1\]"),
        ({"blur": {"p": 1, "kernel": "3"}}, "config.augment.view1.blur.kernel='3' must be a whole number"),
        ({"flip": 0.5}, "config.augment.view1.flip=0.5 must be a group of options"),
        (
            {"order": ("crop",), "flip": {"p": 0.5}},
            "config.augment.view1.flip has options, so `order` must hold it once, not 0 times",
        ),
        ({"order": ("flip", "flip"), "flip": {"p": 0.5}}, "not 2 times"),
    ],
)
def test_a_wrong_config_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make_view("augment.view1", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": {"size": 4, "area": (0.2,)}}, r"crop: area must be .* 0 < low <= high <= 1, not \(0.2,\)"),
        ({"crop": {"size": 4, "area": (2, 3)}}, r"crop: area must be \(low, high\) with .*, not \(2, 3\)"),
        ({"crop": {"size": 4, "ratio": (2, 1)}}, r"crop: ratio must be .* 0 < low <= high, not \(2, 1\)"),
        ({"crop": {"size": 4, "area": ("0.2", "1")}}, "crop: area must be"),
        ({"resize": {"size": (4, 4, 3)}}, r"resize: size must be a side or \(height, width\)"),
        ({"center_crop": {"size": 13}}, "center_crop: .*at least 13x13"),
    ],
)
def test_what_does_not_fit_the_image_is_named(options, message):
    view = make_view("augment.view1", **options)
    with pytest.raises(ConfigError, match=f"^config.augment.view1.{message}"):
        jax.eval_shape(lambda: view(jax.random.key(0), jnp.asarray(IMAGE)))


def test_two_views_of_a_batch():
    mean, std = (0.0, 0.0, 0.0), (2.0, 2.0, 2.0)
    augment = make_views(
        {"view1": make_view("augment", flip={"p": 0.5}), "view2": lambda key, image: image + 1}, mean=mean, std=std
    )
    pixels = np.random.default_rng(3).integers(0, 256, (8, 4, 4, 3), np.uint8)
    batch = {"image": pixels, "label": np.arange(8)}
    out = augment(jax.random.key(0), batch)
    assert set(out) == {"view1", "view2", "label"} and set(batch) == {"image", "label"}
    assert out["label"] is batch["label"] and out["view1"].dtype == out["view2"].dtype == jnp.float32
    keys = jax.random.split(stream(jax.random.key(0), "view1"), 8)
    for key, image, view in zip(keys, np.float32(pixels) / 255, out["view1"]):
        expected = random_flip(stream(key, "flip"), image, p=0.5) / 2
        np.testing.assert_allclose(view, expected, atol=1e-6)
    np.testing.assert_array_equal(out["view2"], np.full((8, 4, 4, 3), 0.5))  # clipped to 1, then halved

    one = make_views({"image": lambda key, image: image + 1}, mean=mean, std=std)(jax.random.key(0), batch)
    assert set(one) == {"image", "label"}
    np.testing.assert_array_equal(one["image"], out["view2"])

    floats = augment(jax.random.key(0), {"image": np.float32(pixels) / 255})
    np.testing.assert_allclose(floats["view1"], out["view1"], atol=1e-6)
    for wrong in (pixels[0], pixels.astype(np.int32)):
        with pytest.raises(UserError, match="image must be b h w c, uint8 or float"):
            augment(jax.random.key(0), {"image": wrong})


def test_four_devices_give_the_views_of_one():
    view1, view2 = make_view("augment", **VIEWS.view1), make_view("augment", **VIEWS.view2)
    augment = jax.jit(make_views({"view1": view1, "view2": view2}, mean=MEAN, std=STD))
    image = np.random.default_rng(4).integers(0, 256, (8, 8, 8, 3), np.uint8)
    one = augment(jax.random.key(5), {"image": image, "label": np.arange(8)})
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put({"image": image, "label": np.arange(8)}, NamedSharding(mesh, PartitionSpec("data")))
    key = jax.device_put(jax.random.key(5), NamedSharding(mesh, PartitionSpec()))
    four = augment(key, sharded)
    assert len(sharded["image"].sharding.device_set) == 4
    for name in ("view1", "view2"):
        assert one[name].shape == (8, 8, 8, 3)
        np.testing.assert_allclose(four[name], one[name], atol=2e-5)
    assert abs(np.asarray(one["view1"] - one["view2"])).mean() > 0.1
    low, high = (0 - np.float32(MEAN)) / np.float32(STD), (1 - np.float32(MEAN)) / np.float32(STD)
    for view in (one["view1"], one["view2"]):
        assert (np.asarray(view) >= low - 1e-5).all() and (np.asarray(view) <= high + 1e-5).all()
