"""Views of an image and its mask, which move together; crops and scales against Pillow and their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.random import clone
from PIL import Image
from scipy import stats

from jaxcv.errors import ConfigError, UserError
from jaxcv.ops import warp
from jaxcv.ops.geometry import random_flip, resize_nearest
from jaxcv.ops.joint import make_joint_view
from jaxcv.ops.views import make_view
from jaxcv.ops.warp import random_scaled_crop
from jaxcv.prng import stream

HEIGHT, WIDTH, IGNORE = 12, 14, 255
IMAGE = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
MASK = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH)  # each label names a pixel
jit_resize_nearest = jax.jit(resize_nearest, static_argnames="size")


def keys(count=40):
    return jax.random.split(jax.random.key(0), count)


def see(*, image=IMAGE, count=40, **ops):
    """Views of the image and MASK, one for each key."""
    view = make_joint_view(ignore=IGNORE, **ops)
    return [np.asarray(x) for x in jax.jit(jax.vmap(lambda key: view(key, image, MASK)))(keys(count))]


def test_a_mask_turns_and_flips_with_its_image():
    ops = {"rotate": {"degrees": 40.0, "p": 0.7, "fill": -1}, "flip": {"p": 0.5}}
    image, mask = see(image=np.float32(MASK)[..., None], **ops)
    assert image.dtype == np.float32 and mask.dtype == np.int32 and mask.shape == image.shape[:-1]
    np.testing.assert_array_equal(np.where(mask == IGNORE, -1, mask), image[..., 0])
    assert len({x.tobytes() for x in mask}) > 20 and (mask == IGNORE).any()


def test_a_blended_image_is_where_its_mask_is():
    y, x = np.float32(np.divmod(MASK, WIDTH))
    ops = {"scale": {"size": (20, 18), "degrees": 30.0, "fill": -9}}
    image, mask = see(image=np.stack([y, x], axis=-1), **ops)
    covered = mask != IGNORE
    np.testing.assert_array_equal(covered, (image != -9).all(-1))
    label = np.stack(np.divmod(mask, WIDTH), axis=-1)
    assert abs(image - label)[covered].max() < 0.5 + 1e-3  # positions have 16 binary places
    assert (image[covered] % 1 > 1e-3).mean() > 0.5  # blended they are


def test_each_op_is_on_its_stream_and_colors_leave_the_mask_be():
    ops = {"resize": {"size": (8, 10)}, "gray": {"p": 0.5}, "flip": {"p": 0.5}}
    view, of_image = (
        make_joint_view(ignore=IGNORE, order=tuple(ops), **ops),
        make_view("augment", order=tuple(ops), **ops),
    )

    def view_and_expected(key):
        mask = resize_nearest(MASK[..., None], size=(8, 10))
        mask = random_flip(stream(clone(key), "flip"), mask)[..., 0]
        return view(clone(key), IMAGE, MASK), (of_image(clone(key), IMAGE), mask)

    (image, mask), expected = jax.jit(jax.vmap(view_and_expected))(keys(8))
    np.testing.assert_array_equal(image, expected[0])
    np.testing.assert_array_equal(mask, expected[1])


def test_identities_change_no_bit():
    size = (HEIGHT, WIDTH)
    ops = {"scale": {"size": size, "factor": (1.0, 1.0)}, "rotate": {"degrees": 0.0, "method": "bilinear"}}
    image, mask = see(resize={"size": size}, **ops)
    np.testing.assert_array_equal(image, np.broadcast_to(IMAGE, image.shape))
    np.testing.assert_array_equal(mask, np.broadcast_to(MASK, mask.shape))
    view = make_joint_view(ignore=IGNORE, flip={"p": 0.0}, scale=None, blur={})
    image, mask = view(jax.random.key(0), IMAGE, MASK)
    assert image is IMAGE and mask is MASK  # an absent op is not traced


def test_crops_are_all_windows_of_the_padded_image():
    image, mask = see(image=np.float32(MASK)[..., None], count=600, crop={"size": (20, 9), "fill": -1})
    np.testing.assert_array_equal(np.where(mask == IGNORE, -1, mask), image[..., 0])
    padded = np.pad(MASK, ((8, 8), (0, 0)), constant_values=IGNORE)  # so that the image is never cut in height
    windows = np.lib.stride_tricks.sliding_window_view(padded, (20, 9)).reshape(-1, 20, 9)
    assert len(windows) == 9 * 6
    assert {x.tobytes() for x in mask} == {x.tobytes() for x in windows}


@pytest.mark.parametrize("size", [(16, 20), (40, 6), (8, 44)])  # where Pillow has no ties to round
def test_a_resized_mask_is_pillows(size):
    mask = jit_resize_nearest(MASK[..., None], size=size)
    assert mask.dtype == np.int32
    expected = Image.fromarray(np.uint8(MASK)).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(mask[..., 0], expected)


def test_a_resized_mask_has_the_later_pixel_of_a_tie_and_large_labels():
    mask = (1 << 24) - np.array([[1, 3], [5, 7]], np.int32)[..., None]
    np.testing.assert_array_equal(
        jit_resize_nearest(mask, size=3), mask[[0, 1, 1]][:, [0, 1, 1]]
    )  # torch's nearest-exact


def test_a_scaled_image_is_pillows_and_all_else_is_ignored():
    image, mask = see(count=8, scale={"size": (22, 25), "factor": (1.5, 1.5), "fill": -1})
    y, x = ((np.arange(1.5 * side) + 0.5) / 1.5 for side in (HEIGHT, WIDTH))  # the pixels' centres
    for one, label in zip(image, mask):
        covered = label != IGNORE
        rows, columns = covered.any(1), covered.any(0)
        np.testing.assert_array_equal(covered, rows[:, None] & columns)
        np.testing.assert_array_equal(one[~covered], -1)
        at_y, at_x = np.divmod(label[rows][:, columns], WIDTH)
        assert max(abs(at_y + 0.5 - y[:, None]).max(), abs(at_x + 0.5 - x).max()) < 0.5 + 1e-3
        for channel in range(3):
            expected = Image.fromarray(IMAGE[..., channel]).resize((21, 18), Image.Resampling.BILINEAR)
            ours = one[rows][:, columns, channel]
            np.testing.assert_allclose(ours, expected, atol=5e-4)  # positions have 16 binary places


def test_scales_angles_and_places_are_uniform(monkeypatch):
    monkeypatch.setattr(warp, "warp", lambda image, matrix, **options: matrix)
    height, width, side, draws = 600, 800, 700, 3000
    image = jax.ShapeDtypeStruct((height, width, 1), jnp.float32)
    draw = jax.jit(jax.vmap(lambda key: random_scaled_crop(key, image, size=side, degrees=20.0)))
    matrix = np.float64(draw(keys(draws)))
    linear, start = matrix[..., :2], matrix[..., 2:]
    full = np.array([width, height])
    scaled = full / np.linalg.norm(linear, axis=2)  # draws 2: width, height
    np.testing.assert_allclose(scaled, np.round(scaled), atol=1e-3)
    turn = linear * (scaled / full)[..., None]
    angle = np.rad2deg(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    np.testing.assert_allclose(turn @ turn.mT, np.broadcast_to(np.eye(2), turn.shape), atol=1e-5)
    centre = np.linalg.solve(linear, full.reshape(2, 1) / 2 - start)[..., 0]  # where the image's lies in the crop
    place, free = scaled / 2 - centre, np.round(scaled) - side
    np.testing.assert_allclose(place, np.round(place), atol=1e-2)
    dither = np.random.default_rng(0).random(place.shape)
    share = (np.round(place) - np.minimum(free, 0) + dither) / (abs(free) + 1)
    numbers = [(scaled[:, 0] / width - 0.5) / 1.5, (angle + 20) / 40, *share.T]
    for number in numbers:
        assert stats.kstest(number, stats.uniform.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(numbers) - np.eye(4)).max() < 4 / np.sqrt(draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotat": {"degrees": 1}}, "config.augment has no key 'rotat'; did you mean 'rotate'"),
        ({"order": ("zzz",)}, "'zzz'; choose one of blur, crop, flip, gray, jitter, resize, rotate, scale.$"),
        ({"crop": {"sizes": 8}}, "config.augment.crop has no key 'sizes'; did you mean 'size'"),
        ({"crop": {"fill": 1}}, "config.augment.crop.size is missing"),
        ({"flip": {"p": -1}}, r"config.augment.flip.p=-1 must be in \[0, 1\]"),
        (
            {"order": ("crop",), "flip": {"p": 0.5}},
            "flip has options, so `order` must hold it once, not 0 times",
        ),
    ],
)
def test_a_wrong_config_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make_joint_view(ignore=IGNORE, **options)


@pytest.mark.parametrize("scale", [{"size": 8, "factor": (2.0, 0.5)}, {"size": 8, "factor": (0, 1)}, {"size": (0, 8)}])
def test_bad_scales_are_named(scale):
    with pytest.raises(UserError, match="(factor|size) must be"):
        make_joint_view(ignore=IGNORE, scale=scale)(jax.random.key(0), IMAGE, MASK)
