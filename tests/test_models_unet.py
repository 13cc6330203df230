import jax
import jax.numpy as jnp
import pytest

from goldens import make_unet
from goldens.parity import Case, abstract, check_eval, check_train, count, sizes
from jaxcv.config import call
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import unet

GOLDEN = [name for name, case in make_unet.CASES.items() if case.golden]


@pytest.mark.parametrize(
    ("fields", "channels", "expected"),
    [
        ({}, 3, 31_037_698),  # milesial/Pytorch-UNet
        ({"batch_norm": False}, 1, 31_030_658),
        ({"depth": 1, "width": 2, "num_classes": 3, "batch_norm": False}, 1, 20 + 38 + 76 + 148 + 34 + 74 + 38 + 9),
    ],
)
def test_parameter_counts(fields, channels, expected):
    assert count(unet.Model(**fields), (1, 32, 32, channels)) == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_evaluation_is_torchs_in_float32(name):
    check_eval(make_unet.FILE, name, make_unet.CASES[name])


@pytest.mark.parametrize("name", GOLDEN)
def test_training_is_torchs_in_float64(name):
    check_train(make_unet.FILE, name, make_unet.CASES[name])


def test_modules_bear_the_names_of_the_public_code():
    params = abstract(Case(unet.Model(depth=1, width=2), (1, 4, 4, 3)))["params"]
    paths = {
        jax.tree_util.keystr(path[:-1], simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(params)
    }
    assert paths == {
        *(f"{block}.double_conv.{i}" for block in ("inc", "down1.maxpool_conv.1", "up1.conv") for i in (0, 1, 3, 4)),
        "up1.up",
        "outc.conv",
    }


def test_sizes_at_an_odd_size():
    output, stages = sizes(unet.Model(num_classes=5), (2, 97, 131, 1))
    assert stages == {
        "inc": (2, 97, 131, 64),
        "down1": (2, 48, 65, 128),
        "down2": (2, 24, 32, 256),
        "down3": (2, 12, 16, 512),
        "down4": (2, 6, 8, 1024),
        "up1": (2, 12, 16, 512),
        "up2": (2, 24, 32, 256),
        "up3": (2, 48, 65, 128),
        "up4": (2, 97, 131, 64),
        "outc": (2, 97, 131, 5),
    }
    assert output == (2, 97, 131, 5)


@pytest.mark.parametrize("depth", [1, 2])
def test_any_size_that_can_be_halved_so_often_comes_back(depth):
    model = unet.Model(depth=depth, width=2)
    for extra in range(2**depth):
        shape = (1, 2**depth + extra, 2 ** (depth + 1) - extra, 3)
        assert sizes(model, shape)[0] == (*shape[:3], 2)
    with pytest.raises(
        UserError, match=f"depth {depth} .* at least {2**depth} x {2**depth} pixels, not {2**depth - 1} x 9"
    ):
        sizes(model, (1, 2**depth - 1, 9, 3))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32(batch_norm):
    model = unet.Model(depth=2, width=4, batch_norm=batch_norm, dtype="bfloat16")
    x = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)
    variables = abstract(Case(model, x.shape))
    (output, stages), moved = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, x
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, moved, output))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == {"outc"}


def test_a_depth_that_cannot_be_used():
    with pytest.raises(ConfigError, match="config.model.depth=0 must be 1 or more"):
        call(unet.Model, {"depth": 0}, group="model")
