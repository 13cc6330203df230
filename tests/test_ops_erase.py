"""Random Erasing against torchvision's draws."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops.erase import random_erase

GOLDENS = np.load(Path(__file__).parent / "goldens" / "ops.npz")
DRAWS = 3000


def test_erased_boxes_are_distributed_as_torchvisions():
    op = jax.jit(jax.vmap(lambda key: random_erase(key, jnp.zeros((24, 40, 1)), p=0.7, fill=1.0)))
    erased = np.asarray(op(jax.random.split(jax.random.key(0), DRAWS)))[..., 0] == 1
    drawn = erased.any(axis=(1, 2))
    assert abs(drawn.mean() - 0.7) < 4 * np.sqrt(0.7 * 0.3 / DRAWS)
    rows, columns = erased[drawn].any(axis=2), erased[drawn].any(axis=1)
    top, left, height, width = rows.argmax(axis=1), columns.argmax(axis=1), rows.sum(axis=1), columns.sum(axis=1)
    np.testing.assert_array_equal(erased[drawn].sum(axis=(1, 2)), height * width)  # they are boxes
    assert height.max() < 24 and width.max() < 40
    numbers = np.stack([top, left, height, width, height * width / (24 * 40), np.log(width / height)])
    standard_error = numbers.std(axis=1) * np.sqrt(1 / drawn.sum() + 1 / 20_000)  # of the difference of two means
    assert (abs(numbers.mean(axis=1) - GOLDENS["erased_means"]) < 4 * standard_error).all()


def test_noise_has_the_mean_and_deviation_of_each_channel():
    image = np.full((60, 50, 2), -9, np.float32)
    op = jax.jit(lambda key: random_erase(key, image, p=1.0, area=(0.5, 0.6), fill=(0.1, 0.8), noise=(0.0, 2.0)))
    noisy = np.asarray(op(jax.random.key(1)))
    inside = noisy[(noisy != -9).all(axis=2)]
    assert 0.45 < len(inside) / 3000 < 0.65
    np.testing.assert_array_equal(inside[:, 0], np.float32(0.1))
    assert abs(inside[:, 1].mean() - 0.8) < 0.25 and abs(inside[:, 1].std() - 2) < 0.2
