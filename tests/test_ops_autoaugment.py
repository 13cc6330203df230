"""AutoAugment and RandAugment: ops, tables and magnitudes are torchvision's, and draws have their probabilities."""

import itertools
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from goldens.make_ops import pixels
from jaxcv.errors import UserError
from jaxcv.ops import autoaugment
from jaxcv.ops.autoaugment import OPS, POLICIES, SIGNED, magnitudes

GOLDENS = np.load(Path(__file__).parent / "goldens" / "ops.npz")
ROUNDED = ("Brightness", "Color", "Contrast", "Sharpness", "AutoContrast")  # within one level of Pillow's
apply_op = jax.jit(autoaugment.apply_op, static_argnames="fill")


def levels(image):
    np.testing.assert_allclose(255 * image, np.round(255 * image), atol=1e-4)
    return np.round(255 * np.asarray(image)).astype(int)


@pytest.mark.parametrize("name", OPS[1:])
def test_ops_are_torchvisions(name):
    goldens = [golden.split("/") for golden in GOLDENS.files if golden.startswith(f"op/{name}/")]
    assert len(goldens) == (4 if name in SIGNED else 2 if name in ("Posterize", "Solarize") else 1)
    for _, _, step, sign in goldens:
        amount = int(sign) * magnitudes(int(step) / 9, 12, 14)[name]
        ours = levels(apply_op(np.float32(pixels()) / 255, OPS.index(name), np.float32(amount)))
        difference = abs(ours - GOLDENS[f"op/{name}/{step}/{sign}"])
        assert difference.max() <= (name in ROUNDED) and difference.mean() < 0.02


def test_ops_of_one_channel_are_pillows():
    gray = np.uint8(
        np.random.default_rng(2).normal(120, 30, (40, 44)).clip(max=135)
    )  # large, with many brightest pixels
    image = Image.fromarray(gray)
    expected = {
        "Color": (0.5, image),
        "Contrast": (0.5, ImageEnhance.Contrast(image).enhance(1.5)),
        "Sharpness": (-0.5, ImageEnhance.Sharpness(image).enhance(0.5)),
        "AutoContrast": (0.0, ImageOps.autocontrast(image)),
        "Equalize": (0.0, ImageOps.equalize(image)),
        "Solarize": (130.0, ImageOps.solarize(image, 130)),
        "ShearX": (0.2, image.transform(image.size, Image.Transform.AFFINE, (1, 0.2, 0, 0, 1, 0), fillcolor=51)),
    }
    for name, (amount, theirs) in expected.items():
        ours = levels(apply_op(np.float32(gray[..., None]) / 255, OPS.index(name), amount, fill=0.2))[..., 0]
        assert abs(ours - np.asarray(theirs)).max() <= (name in ROUNDED), name


@pytest.mark.parametrize("name", ["Identity", "AutoContrast", "Equalize"])
def test_what_leaves_a_flat_image_as_it_is(name):
    flat = np.full((12, 14, 3), 100 / 255, np.float32)
    np.testing.assert_array_equal(levels(apply_op(flat, OPS.index(name), 0.0)), np.full_like(flat, 100))


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_are_torchvisions(policy):
    ours = [f"{name} {p} {step}" for pair in POLICIES[policy] for name, p, step in pair]
    assert ours == GOLDENS[f"policy/{policy}"].tolist()


def test_magnitudes_are_torchvisions():
    goldens = [golden for golden in GOLDENS.files if golden.startswith("magnitude/")]
    assert len(goldens) == 14 + 14  # AutoAugment has Invert, RandAugment Identity
    for golden in goldens:
        _, bins, name = golden.split("/")
        ours = [magnitudes(i / (int(bins) - 1), 32, 48)[name] for i in range(int(bins))]
        theirs = np.trunc(GOLDENS[golden]) if name.startswith("Translate") else GOLDENS[golden]
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-4, err_msg=golden)


@pytest.fixture
def traced(monkeypatch):
    """Each op pushes its code into an image of two channels, read by `outcomes`, with the magnitudes of 32x32."""

    def push(level, op, magnitude, fill):
        code = 8192 * op + 4096 + jnp.round(10 * magnitude)
        return jnp.stack([code.astype(jnp.int32), level[0, 0, 0]]).reshape(1, 1, 2)

    monkeypatch.setattr(autoaugment, "_apply", push)
    monkeypatch.setattr(autoaugment, "magnitudes", lambda share, height, width: magnitudes(share, 32, 32))


def outcomes(op, draws):
    """How often each sequence of (name, rounded ten magnitudes) comes."""
    image = jnp.zeros((1, 1, 2))
    drawn = jax.jit(jax.vmap(lambda key: op(key, image)))(jax.random.split(jax.random.key(0), draws))
    codes = np.round(255 * np.asarray(drawn)).astype(int).reshape(draws, 2)
    decode = {code: (OPS[code // 8192], code % 8192 - 4096) for code in np.unique(codes) if code}
    return Counter(tuple(decode[code] for code in reversed(pair) if code) for pair in codes.tolist())


def signs(name, amount):
    """The magnitudes, with equal probabilities, that an op is applied with."""
    return [(name, int(np.round(np.float32(10 * sign * amount)))) for sign in ((1, -1) if name in SIGNED else (1,))]


def check(drawn, expected):
    """A chi-square test of the outcomes that are expected at least 5 times."""
    assert drawn.keys() <= expected.keys() and sum(expected.values()) == pytest.approx(1)
    draws = sum(drawn.values())
    often = [x for x, p in expected.items() if p * draws >= 5]
    share = sum(expected[x] for x in often)
    assert share > 0.99
    counts = np.array([drawn[x] for x in often])
    frequencies = np.array([expected[x] for x in often]) / share * counts.sum()
    assert stats.chisquare(counts, frequencies).pvalue > 1e-3


def test_autoaugment_draws_sub_policies_with_their_probabilities(traced):
    expected = Counter()
    for pair in POLICIES["cifar10"]:
        ends = []
        for name, p, step in pair:
            each = signs(name, magnitudes(step / 9, 32, 32)[name])
            ends.append([((), 1 - p)] + [((one,), p / len(each)) for one in each])
        for (first, p1), (second, p2) in itertools.product(*ends):
            expected[first + second] += p1 * p2 / 25
    expected = {outcome: p for outcome, p in expected.items() if p > 0}
    check(outcomes(lambda key, image: autoaugment.random_autoaugment(key, image, policy="cifar10"), 20_000), expected)


def test_randaugment_draws_all_ops_equally_but_invert(traced):
    amounts = magnitudes(20 / 30, 32, 32)
    one = {x: 1 / 14 / len(signs(name, amounts[name])) for name in OPS[:-1] for x in signs(name, amounts[name])}
    expected = {(): 0.1} | {(x, y): 0.9 * one[x] * one[y] for x in one for y in one}
    drawn = outcomes(lambda key, image: autoaugment.random_randaugment(key, image, magnitude=20, p=0.9), 20_000)
    check(drawn, expected)


def test_bad_options_are_named():
    key, image = jax.random.key(0), jnp.zeros((4, 4, 3))
    with pytest.raises(UserError, match="policy must be cifar10 or imagenet, not 'svhn'"):
        autoaugment.random_autoaugment(key, image, policy="svhn")
    with pytest.raises(UserError, match="magnitude must be at least 0 and below bins, 31, not 31"):
        autoaugment.random_randaugment(key, image, magnitude=31)
