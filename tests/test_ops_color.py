"""Colour against torchvision, colorsys and Pillow; the jitter against its parts in all 24 orders."""

import colorsys
import functools
import itertools
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import stats

from jaxcv.errors import UserError
from jaxcv.ops import color

GOLDENS = np.load(Path(__file__).parent / "goldens" / "ops.npz")
IMAGE = np.random.default_rng(0).random((12, 14, 3), np.float32)
GRAY = IMAGE[..., :1]
ADJUSTMENTS = ("brightness", "contrast", "saturation", "hue")


def adjust(image, **amount):
    """One adjustment alone."""
    return color.color_jitter(image, jnp.arange(4), **amount)


@pytest.mark.parametrize("golden", [name for name in GOLDENS.files if name.split("/")[0] in ADJUSTMENTS])
def test_adjustments_are_torchvisions(golden):
    name, amount = golden.split("/")
    np.testing.assert_allclose(adjust(IMAGE, **{name: float(amount)}), GOLDENS[golden], atol=3e-6)
    if name == "hue":
        np.testing.assert_allclose(color.adjust_hue(IMAGE, float(amount)), GOLDENS[golden], atol=3e-6)


def test_grayscale_and_solarize_are_torchvisions():
    np.testing.assert_allclose(color.grayscale(IMAGE), GOLDENS["gray"], atol=1e-6)
    np.testing.assert_array_equal(color.solarize(IMAGE, threshold=0.4), GOLDENS["solarize/0.4"])


def test_grayscale_and_solarize_are_pillows_to_its_8_bits():
    pixels = np.random.default_rng(1).integers(0, 256, (9, 8, 3), np.uint8)
    gray = np.asarray(Image.fromarray(pixels).convert("L")) / 255
    np.testing.assert_allclose(color.grayscale(np.float32(pixels / 255))[..., 2], gray, atol=1 / 255)
    solarized = np.asarray(ImageOps.solarize(Image.fromarray(pixels), 100)) / 255
    np.testing.assert_allclose(color.solarize(np.float32(pixels / 255), threshold=100 / 255), solarized, atol=1e-6)


def test_hsv_is_colorsys():
    corners = np.float32(list(itertools.product([0, 0.5, 1], repeat=3)))  # ties, greys, black and white
    rgb = np.concatenate([corners, np.random.default_rng(2).random((73, 3), np.float32)]).reshape(10, 10, 3)
    hue, chroma, value = map(np.asarray, color._hexcone(rgb))
    hsv = np.stack([hue / 6 % 1, chroma / np.where(value > 0, value, 1), value], axis=-1)
    expected = np.array([colorsys.rgb_to_hsv(*map(float, pixel)) for pixel in rgb.reshape(-1, 3)])
    np.testing.assert_allclose(np.reshape(hsv, (-1, 3)), expected, atol=2e-6)
    np.testing.assert_allclose(color._from_hexcone(hue, chroma, value), rgb, atol=2e-6)
    hue, saturation, value = np.moveaxis(rgb, -1, 0)
    turned = color._from_hexcone(6 * (hue + 1), saturation * value, value)  # read as HSV, the hue a whole turn on
    expected = np.array([colorsys.hsv_to_rgb(*map(float, pixel)) for pixel in rgb.reshape(-1, 3)])
    np.testing.assert_allclose(np.reshape(turned, (-1, 3)), expected, atol=3e-6)


def test_shift_and_normalize():
    np.testing.assert_allclose(adjust(IMAGE, shift=-0.3), np.clip(IMAGE - 0.3, 0, 1), atol=1e-6)
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    expected = (IMAGE - np.float32(mean)) / np.float32(std)
    np.testing.assert_allclose(color.normalize(IMAGE, mean=mean, std=std), expected, atol=1e-6)
    with pytest.raises(UserError, match="need 3 numbers each, not 1 and 1"):
        color.normalize(IMAGE, mean=(0.1,), std=(0.2,))


def test_one_channel_has_no_colour():
    for image in (adjust(GRAY, saturation=0.2), color.adjust_hue(GRAY, 0.2), color.grayscale(GRAY)):
        np.testing.assert_array_equal(image, GRAY)
    expected = np.clip(0.4 * GRAY + 0.6 * GRAY.mean(), 0, 1)
    np.testing.assert_allclose(adjust(GRAY, contrast=0.4), expected, atol=1e-6)


@pytest.mark.parametrize("image", [IMAGE, GRAY], ids=["rgb", "gray"])
def test_jitter_is_its_parts_one_by_one_in_every_order(image):
    orders = np.array(list(itertools.permutations(range(4))))
    amounts = {"brightness": 1.3, "contrast": 1.6, "saturation": 0.3, "hue": 0.17}
    jittered = jax.jit(jax.vmap(lambda order: color.color_jitter(image, order, **amounts)))(orders)
    one_by_one = [jax.jit(functools.partial(adjust, **{name: amounts[name]})) for name in ADJUSTMENTS]
    for order, ours in zip(orders, jittered):
        expected = image
        for index in order:
            expected = one_by_one[index](expected)
        np.testing.assert_allclose(ours, expected, atol=5e-6, err_msg=str(order))


def test_shift_takes_the_turn_of_brightness():
    expected = adjust(adjust(IMAGE, shift=0.3), contrast=1.5)
    ours = color.color_jitter(IMAGE, jnp.array([2, 0, 3, 1]), contrast=1.5, shift=0.3)
    np.testing.assert_allclose(ours, expected, atol=5e-6)


def test_random_jitter_draws_every_order_equally_and_in_range(monkeypatch):
    def spy(image, order, **amounts):
        return jnp.stack([*order, *amounts.values()])

    monkeypatch.setattr(color, "color_jitter", spy)
    absent = jnp.full(9, -9.0)
    draw = jax.vmap(lambda key: color.random_color_jitter(key, absent, p=0.8, brightness=1.5, hue=0.2, shift=0.1))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 6000)))
    applied = drawn[:, 0] != -9
    assert abs(applied.mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 6000)

    order, amounts = drawn[applied, :4], drawn[applied, 4:]
    counts = Counter(map(tuple, order))
    assert len(counts) == 24 and stats.chisquare(list(counts.values())).pvalue > 1e-3
    ranges = {
        "brightness": (0, 2.5),  # 1 - 1.5 is cut at 0
        "contrast": (0.6, 1.4),
        "saturation": (0.8, 1.2),
        "hue": (-0.2, 0.2),
        "shift": (-0.1, 0.1),
    }
    for (name, (low, high)), amount in zip(ranges.items(), amounts.T):
        assert low <= amount.min() and amount.max() <= high
        assert stats.kstest(amount, stats.uniform(low, high - low).cdf).pvalue > 1e-3, name
    correlation = np.corrcoef(np.column_stack([amounts, order[:, 0]]), rowvar=False)
    assert abs(correlation - np.eye(6)).max() < 5 / np.sqrt(len(amounts))  # independent draws


def test_an_image_that_is_not_drawn_is_bit_identical():
    jitter = jax.jit(jax.vmap(lambda key, p: color.random_color_jitter(key, IMAGE, p=p), in_axes=(0, None)))
    for p, least, most in ((0.5, 8, 32), (0.0, 40, 40), (1.0, 0, 0)):
        views = np.asarray(jitter(jax.random.split(jax.random.key(0), 40), p))
        assert least <= (views == IMAGE).all(axis=(1, 2, 3)).sum() <= most


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("brightness", 0.7, 1.3),
        ("shift", -0.3, 0.3),
        ("contrast", 0.7, 1.3),
        ("saturation", 0.7, 1.3),
        ("hue", -0.3, 0.3),
    ],
)
def test_random_adjustments_stay_within_their_range(name, low, high):
    options = dict.fromkeys((*ADJUSTMENTS, "shift"), 0.0) | {"p": 1.0, name: 0.3}
    image = np.float32([[[0.5, 0.4, 0.3], [0.4, 0.5, 0.6]]])  # no clipping; every op is one-to-one on it
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = np.asarray(jax.vmap(lambda key: color.random_color_jitter(key, image, **options))(keys)).reshape(200, -1)
    grid = np.linspace(low, high, 601, dtype=np.float32)
    curve = np.asarray(jax.vmap(lambda amount: adjust(image, **{name: amount}))(grid)).reshape(601, -1)
    distance = abs(drawn[:, None] - curve[None]).max(axis=2)  # draw grid
    assert distance.min(axis=1).max() < 2e-3
    amounts = grid[distance.argmin(axis=1)]
    assert amounts.min() < low + 0.05 and amounts.max() > high - 0.05


@pytest.mark.parametrize(
    ("random_op", "op"),
    [(color.random_grayscale, color.grayscale), (color.random_solarize, color.solarize)],
)
def test_random_grayscale_and_solarize_have_rate_p(random_op, op):
    image = IMAGE[:2, :2]
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = np.asarray(jax.vmap(lambda key: random_op(key, image, p=0.2))(keys))
    applied = (drawn == np.asarray(op(image))).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(drawn[~applied], np.broadcast_to(image, drawn[~applied].shape))
    assert abs(applied.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 2000)
