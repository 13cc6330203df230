"""Warps and rotations against Pillow."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from jaxcv.errors import UserError
from jaxcv.ops import warp

IMAGE = np.random.default_rng(0).random((12, 14, 3), np.float32)
PILLOW = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
MATRICES = [
    [[1.0, 0.0, -3.0], [0.0, 1.0, 2.0]],
    [[0.7, -0.4, 4.1], [0.3, 1.3, -2.6]],
    [[-0.5, 0.1, 9.7], [0.0, 0.4, 3.3]],
]
TIES = [[1.0, 0.2, 0.0], [0.0, 1.0, 0.0]]  # where centres of pixels fall on the edges between pixels


@pytest.mark.parametrize(("method", "matrices"), [("nearest", [*MATRICES, TIES]), ("bilinear", MATRICES)])
def test_warps_are_pillows(method, matrices):
    ours = jax.jit(jax.vmap(lambda matrix: warp.warp(IMAGE, matrix, method=method, fill=(0.1, 0.2, 0.3))))
    for matrix, warped in zip(matrices, ours(np.float32(matrices))):
        for channel, fill in enumerate((0.1, 0.2, 0.3)):
            image = Image.fromarray(IMAGE[..., channel])  # 32-bit float
            expected = image.transform(
                image.size, Image.Transform.AFFINE, np.ravel(matrix).tolist(), PILLOW[method], fillcolor=fill
            )
            # positions have 16 binary places, and neighbours differ by up to 1
            atol = {"nearest": 1e-7, "bilinear": 2e-4}[method]
            np.testing.assert_allclose(warped[..., channel], expected, atol=atol, err_msg=str(matrix))


def test_rotations_are_pillows():
    pixels = np.int32(255 * IMAGE)
    angles = [-170, -90, -29.5, -1, 0, 3, 45, 90, 133.7]
    ours = jax.jit(jax.vmap(lambda angle: warp.warp(pixels, warp.rotation(jnp.deg2rad(angle), 12, 14), fill=7)))
    for angle, turned in zip(angles, ours(np.float32(angles))):
        expected = Image.fromarray(np.uint8(pixels)).rotate(angle, fillcolor=(7, 7, 7))
        np.testing.assert_array_equal(turned, expected, err_msg=str(angle))


def test_random_rotation_has_rate_p_and_uniform_angles(monkeypatch):
    monkeypatch.setattr(warp, "warp", lambda image, matrix, **options: matrix)
    turn = jax.jit(jax.vmap(lambda key: warp.random_rotation(key, jnp.full((2, 3), 9.0), degrees=20.0, p=0.7)))
    matrices = np.asarray(turn(jax.random.split(jax.random.key(0), 3000)))
    applied = matrices[:, 0, 0] != 9
    assert abs(applied.mean() - 0.7) < 4 * math.sqrt(0.7 * 0.3 / 3000)
    angles = np.rad2deg(np.arctan2(matrices[applied, 1, 0], matrices[applied, 0, 0]))
    assert stats.kstest(angles, stats.uniform(-20, 40).cdf).pvalue > 1e-3


def test_an_unknown_method_is_named():
    with pytest.raises(UserError, match="method must be nearest or bilinear, not 'cubic'"):
        warp.warp(IMAGE, np.eye(2, 3), method="cubic")
