"""Gaussian blur against torchvision's results and scipy."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxcv.errors import UserError
from jaxcv.ops import blur

GOLDENS = np.load(Path(__file__).parent / "goldens" / "ops.npz")
gaussian_blur = jax.jit(blur.gaussian_blur, static_argnames="kernel")
IMAGE = np.random.default_rng(0).random((12, 14, 3), np.float32)


@pytest.mark.parametrize("golden", [name for name in GOLDENS.files if name.startswith("blur/")])
def test_blur_is_torchvisions(golden):
    _, kernel, sigma = golden.split("/")
    ours = gaussian_blur(IMAGE, jnp.float32(sigma), kernel=int(kernel))
    np.testing.assert_allclose(ours, GOLDENS[golden], atol=2e-6)


def test_blur_is_scipys():
    expected = ndimage.gaussian_filter(IMAGE, 1.2, radius=(4, 4, 0), mode="mirror")
    np.testing.assert_allclose(gaussian_blur(IMAGE, 1.2, kernel=9), expected, atol=2e-6)


def test_the_widest_kernel_keeps_a_flat_image_and_a_wider_one_is_an_error():
    flat = np.full((6, 8, 1), 0.3, np.float32)
    np.testing.assert_allclose(gaussian_blur(flat, 3.0, kernel=11), flat, atol=1e-6)
    with pytest.raises(UserError, match="at most 11 for an image of 6x8, not 13"):
        blur.gaussian_blur(flat, 3.0, kernel=13)
    with pytest.raises(UserError, match="odd"):
        blur.gaussian_blur(flat, 3.0, kernel=4)
    with pytest.raises(UserError, match="sigma must"):
        blur.random_gaussian_blur(jax.random.key(0), flat, p=0.5, kernel=3, sigma=(0.0, 1.0))


def test_random_blur_has_rate_p_and_uniform_sigma():
    point = np.zeros((5, 5, 1), np.float32)
    point[2, 2] = 1.0
    keys = jax.random.split(jax.random.key(0), 2000)
    op = jax.jit(jax.vmap(lambda key: blur.random_gaussian_blur(key, point, p=0.4, kernel=5, sigma=(0.5, 2.0))))
    drawn = np.asarray(op(keys))[..., 0]
    applied = drawn[:, 2, 2] < 1
    assert abs(applied.mean() - 0.4) < 4 * np.sqrt(0.4 * 0.6 / 2000)
    # the centre over its neighbour is exp(1 / (2 sigma**2))
    sigma = np.sqrt(0.5 / np.log(drawn[applied, 2, 2] / drawn[applied, 2, 1]))
    assert sigma.min() > 0.499 and sigma.max() < 2.001
    np.testing.assert_allclose(np.quantile(sigma, [0.25, 0.5, 0.75]), [0.875, 1.25, 1.625], atol=0.08)
