"""Crops, resizes and flips against torchvision's results, Pillow, and torchvision's own draws."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from jaxcv.errors import UserError
from jaxcv.ops import geometry

GOLDENS = np.load(Path(__file__).parent / "goldens" / "ops.npz")
IMAGE = np.random.default_rng(0).random((12, 14, 3), np.float32)
CROPS = [((3, 2, 9, 11), (4, 5)), ((0, 5, 12, 7), (17, 9)), ((4, 0, 6, 6), (6, 6)), ((1, 1, 11, 3), (3, 11))]
resized_crop = jax.jit(geometry.resized_crop, static_argnames=("size", "method"))
resize = jax.jit(geometry.resize, static_argnames=("size", "method"))
random_box = jax.jit(geometry.random_box, static_argnames=("area", "ratio"))
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("index", range(len(CROPS)))
def test_resized_crop_is_torchvisions(index, method):
    box, size = CROPS[index]
    expected = np.clip(GOLDENS[f"crop/{index}/{method}"], 0, 1)
    ours = resized_crop(IMAGE, box, size=size, method=method)
    np.testing.assert_allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(5, 31), (40, 6)])
def test_resize_is_pillows(size, method):
    channel = Image.fromarray(IMAGE[..., 1])  # 32-bit float
    expected = np.clip(np.asarray(channel.resize(size[::-1], PILLOW[method])), 0, 1)
    np.testing.assert_allclose(resize(IMAGE, size=size, method=method)[..., 1], expected, atol=2e-6)


def test_pixels_outside_the_box_have_no_weight():
    inside = np.zeros((12, 14, 1), bool)
    inside[3:8, 2:9] = True
    wild = np.where(inside, IMAGE, np.float32(1e6))
    box = (3, 2, 5, 7)
    for size in (3, 16):
        same = resized_crop(IMAGE, box, size=size, method="bilinear")
        np.testing.assert_array_equal(resized_crop(wild, box, size=size, method="bilinear"), same)


def test_a_crop_at_its_own_size_is_exact():
    ours = resized_crop(IMAGE, (4, 3, 6, 9), size=(6, 9))
    np.testing.assert_array_equal(ours, IMAGE[4:10, 3:12])


def test_flip_and_center_crop():
    np.testing.assert_array_equal(geometry.random_flip(jax.random.key(0), IMAGE, p=1.0), np.fliplr(IMAGE))
    # torchvision.transforms.functional.center_crop: int(round((12 - 5) / 2)) = 4, (14 - 9) / 2 = 2.5 -> 2
    np.testing.assert_array_equal(geometry.center_crop(IMAGE, size=(5, 9)), IMAGE[4:9, 2:11])


@pytest.mark.parametrize(
    "call",
    [
        lambda: geometry.center_crop(IMAGE, size=13),
        lambda: geometry.resize(IMAGE, size=0),
        lambda: geometry.resize(IMAGE, size=4, method="lanczos"),
        lambda: geometry.random_box(jax.random.key(0), IMAGE, area=(0.5, 0.1)),
        lambda: geometry.random_box(jax.random.key(0), IMAGE, ratio=(0.0, 1.0)),
        lambda: geometry.random_pad_crop(jax.random.key(0), IMAGE, size=8, padding=2, mode="edge"),
        lambda: geometry.random_pad_crop(jax.random.key(0), IMAGE, size=8, padding=12, mode="reflect"),
        lambda: geometry.random_pad_crop(jax.random.key(0), IMAGE, size=17, padding=2),
    ],
)
def test_bad_options_are_named(call):
    with pytest.raises(UserError, match=r"13x13|(size|method|area|ratio|mode|padding) must"):
        call()


@pytest.mark.parametrize("shape", [(32, 32), (24, 96)])  # the second often falls back to the central crop
def test_boxes_are_distributed_as_torchvisions(shape):
    image = jnp.zeros((*shape, 1))
    draw = jax.jit(jax.vmap(lambda key: jnp.stack(geometry.random_box(key, image))))
    boxes = np.asarray(draw(jax.random.split(jax.random.key(1), 20_000)), np.float64)
    top, left, height, width = boxes.T
    np.testing.assert_array_equal(boxes, np.round(boxes))
    assert min(top.min(), left.min()) >= 0 and min(height.min(), width.min()) >= 1
    assert (top + height).max() == shape[0] and (left + width).max() == shape[1]

    drawn = [top, left, height, width, height * width / np.prod(shape), np.log(width / height)]
    for ours, deciles, mean in zip(
        drawn, GOLDENS[f"boxes/{shape[0]}x{shape[1]}"], GOLDENS[f"box_means/{shape[0]}x{shape[1]}"]
    ):
        standard_error = ours.std() * np.sqrt(2 / 20_000)  # of the difference of two means
        assert abs(ours.mean() - mean) < 4 * standard_error
        # values are discrete: 10 % of the draws lie at or below the first decile, give or take its own share
        for share, decile in zip(np.linspace(0.1, 0.9, 9), deciles):
            assert (ours < decile - 1e-3).mean() - 0.02 < share < (ours <= decile + 1e-3).mean() + 0.02


def test_random_box_falls_back_to_the_largest_central_one():
    image = jnp.zeros((10, 100, 3))  # area 1 needs a width of at least 27
    box = random_box(jax.random.key(0), image, area=(1.0, 1.0))
    assert [float(x) for x in box] == [0, 43, 10, 13]
    image = jnp.zeros((100, 10, 3))
    box = random_box(jax.random.key(0), image, area=(1.0, 1.0))
    assert [float(x) for x in box] == [43, 0, 13, 10]


def test_random_resized_crop_is_the_crop_of_random_box():
    box = random_box(jax.random.key(3), IMAGE, area=(0.2, 0.4))
    ours = jax.jit(lambda key: geometry.random_resized_crop(key, IMAGE, size=8, area=(0.2, 0.4)))(jax.random.key(3))
    np.testing.assert_allclose(ours, resized_crop(IMAGE, box, size=8), atol=1e-6)


@pytest.mark.parametrize(("mode", "numpys"), [("zero", "constant"), ("reflect", "reflect")])
def test_pad_crops_are_all_windows_of_the_padded_image_equally_often(mode, numpys):
    image = IMAGE[:4, :5]
    op = jax.jit(jax.vmap(lambda key: geometry.random_pad_crop(key, image, size=(5, 4), padding=2, mode=mode)))
    crops = np.asarray(op(jax.random.split(jax.random.key(0), 3000)))
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode=numpys)
    windows = [padded[top : top + 5, left : left + 4] for top in range(4) for left in range(6)]
    counts = [(crops == window).all(axis=(1, 2, 3)).sum() for window in windows]
    assert sum(counts) == 3000 and stats.chisquare(counts).pvalue > 1e-3


def test_random_flip_has_rate_p():
    keys = jax.random.split(jax.random.key(0), 2000)
    flipped = jax.vmap(lambda key: geometry.random_flip(key, jnp.arange(2.0).reshape(1, 2, 1), p=0.3))(keys)
    assert abs(float(flipped[:, 0, 0, 0].mean()) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 2000)
