"""Conventions that hold for every public function of jaxcv.ops."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcv.ops

POSITIONAL = {
    "key",
    "image",
    "box",
    "delta",
    "sigma",
    "order",
    "rows",
    "columns",
    "matrix",
    "op",
    "magnitude",
}  # arrays; all else is options

# for each image op: what follows the image, the options it needs, and the shape it returns if not the image's
ORDER = np.array([2, 3, 0, 1])
AMOUNTS = {"brightness": 1.2, "contrast": 0.7, "saturation": 1.4, "hue": 0.1}
CASES = {
    "separable": ((np.eye(4, 9, dtype=np.float32), np.eye(5, 8, dtype=np.float32)), {}, (4, 5)),
    "resized_crop": (((1, 2, 5, 4),), {"size": (4, 6)}, (4, 6)),
    "random_resized_crop": ((), {"size": (4, 6)}, (4, 6)),
    "random_pad_crop": ((), {"size": (4, 6), "padding": 2}, (4, 6)),
    "resize": ((), {"size": 5}, (5, 5)),
    "resize_nearest": ((), {"size": 5}, (5, 5)),
    "center_crop": ((), {"size": 5}, (5, 5)),
    "random_flip": ((), {}, None),
    "adjust_hue": ((0.2,), {}, None),
    "grayscale": ((), {}, None),
    "solarize": ((), {}, None),
    "normalize": ((), {"mean": (0.5,), "std": (2.0,)}, None),
    "color_jitter": ((ORDER,), AMOUNTS, None),
    "random_color_jitter": ((), {}, None),
    "random_grayscale": ((), {"p": 0.5}, None),
    "random_solarize": ((), {"p": 0.5}, None),
    "gaussian_blur": ((1.1,), {"kernel": 5}, None),
    "random_gaussian_blur": ((), {"p": 0.5, "kernel": 5}, None),
    "warp": ((np.float32([[0.9, 0.2, 1], [-0.1, 1.1, 0]]),), {"method": "bilinear"}, None),
    "random_rotation": ((), {"degrees": 30.0}, None),
    "random_scaled_crop": ((), {"size": (4, 6), "degrees": 30.0}, (4, 6)),
    "random_crop": ((), {"size": (4, 12)}, (4, 12)),
    "apply_op": ((3, 2.0), {}, None),
    "random_autoaugment": ((), {"policy": "cifar10"}, None),
    "random_randaugment": ((), {}, None),
    "random_erase": ((), {}, None),
}
NOT_IMAGES = {"random_box", "random_fitting_box"}  # return a box
NUMBERS = {"check_range", "height_width", "rotation", "magnitudes"}  # of numbers, not of images
BATCHES = {"mixup_or_cutmix"}  # of whole batches
FETCHING = {
    *("warp", "random_rotation", "random_scaled_crop", "random_crop"),
    *("apply_op", "random_autoaugment", "random_randaugment"),
}
LONG = FETCHING | {"random_pad_crop", "random_erase"}  # take longer to compile in pieces


def public_functions():
    for info in pkgutil.iter_modules(jaxcv.ops.__path__):
        module = importlib.import_module(f"jaxcv.ops.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield name, function


FUNCTIONS = dict(public_functions())
MAKERS = {name for name in FUNCTIONS if name.startswith("make_")}
IMAGE_OPS = sorted(FUNCTIONS.keys() - MAKERS - NOT_IMAGES - NUMBERS - BATCHES)


def test_every_op_has_a_case_here():
    assert sorted(CASES) == IMAGE_OPS


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_signature(name):
    function = FUNCTIONS[name]
    assert inspect.getdoc(function)
    parameters = list(inspect.signature(function).parameters.values())
    positional = [x.name for x in parameters if x.kind is x.POSITIONAL_OR_KEYWORD]
    defaults = [x.name for x in parameters if x.default is not x.empty and x.kind is not x.KEYWORD_ONLY]
    assert not defaults, f"options must be keyword-only: {defaults}"
    if name in MAKERS | NUMBERS:
        return
    assert not [x for x in parameters if x.kind in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]
    if name.startswith("random_"):
        assert positional == ["key", "image"]
    elif name in BATCHES:
        assert positional == ["key", "image", "target"]
    else:
        assert positional[0] == "image" and "key" not in positional and set(positional) <= POSITIONAL


def image_op(name, channels):
    """The op as a function of (key, image), and the shape it must return for a 9x8 image."""
    operands, options, shape = CASES[name]
    if name == "normalize":
        options = {option: numbers * channels for option, numbers in options.items()}

    def op(key, image):
        first = (key, image) if name.startswith("random_") else (image,)
        return FUNCTIONS[name](*first, *operands, **options)

    return op, (*(shape or (9, 8)), channels)


@pytest.mark.parametrize("name", IMAGE_OPS)
def test_jit_and_vmap_change_nothing(name):
    op, shape = image_op(name, 3)
    one = jax.jit(op) if name in LONG else op  # eager
    images = np.random.default_rng(0).random((2, 9, 8, 3), np.float32)
    batched = jax.jit(jax.vmap(op))(jax.random.split(jax.random.key(0), 2), images)
    assert batched.shape == (2, *shape) and batched.dtype == jnp.float32
    for key, image, together in zip(jax.random.split(jax.random.key(0), 2), images, batched):
        alone = one(key, image)
        assert alone.shape == shape and alone.dtype == jnp.float32
        np.testing.assert_allclose(together, alone, atol=5e-6)


@pytest.mark.parametrize("name", IMAGE_OPS)
def test_one_channel_stays_one(name):
    op, shape = image_op(name, 1)
    result = jax.eval_shape(op, jax.random.key(0), jnp.zeros((9, 8, 1)))
    assert result.shape == shape and result.dtype == jnp.float32


# a pixel that may come from anywhere is fetched, and a histogram is scattered
@pytest.mark.parametrize("name", sorted(set(IMAGE_OPS) - FETCHING))
def test_nothing_slow_on_an_accelerator(name):
    op, _ = image_op(name, 3)
    jaxpr = str(jax.make_jaxpr(jax.vmap(op))(jax.random.split(jax.random.key(0), 2), jnp.zeros((2, 9, 8, 3))))
    for primitive in ("gather[", "scatter", "conv_general_dilated", "cond["):
        assert primitive not in jaxpr
