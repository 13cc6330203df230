import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.errors import UserError
from jaxcv.models import resnet
from jaxcv.models.weights import from_torch, to_torch

MODEL = resnet.Model(18, num_classes=3, width=4)
SHAPES = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3), jnp.float32), train=False))


@pytest.fixture
def variables():
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, leaf.dtype), SHAPES)


def test_names_and_axes_are_torchs(variables):
    state = to_torch(variables)
    assert {k: v.shape for k, v in state.items() if k.startswith("layer2.0.")} == {
        "layer2.0.bn1.bias": (8,),
        "layer2.0.bn1.running_mean": (8,),
        "layer2.0.bn1.running_var": (8,),
        "layer2.0.bn1.weight": (8,),
        "layer2.0.bn2.bias": (8,),
        "layer2.0.bn2.running_mean": (8,),
        "layer2.0.bn2.running_var": (8,),
        "layer2.0.bn2.weight": (8,),
        "layer2.0.conv1.weight": (8, 4, 3, 3),
        "layer2.0.conv2.weight": (8, 8, 3, 3),
        "layer2.0.downsample.0.weight": (8, 4, 1, 1),
        "layer2.0.downsample.1.bias": (8,),
        "layer2.0.downsample.1.running_mean": (8,),
        "layer2.0.downsample.1.running_var": (8,),
        "layer2.0.downsample.1.weight": (8,),
    }
    kernel = variables["params"]["conv1"]["kernel"]
    assert kernel.shape == (7, 7, 3, 4)
    assert state["conv1.weight"][3, 2, 1, 5] == kernel[1, 5, 2, 3]
    assert state["fc.weight"][2, 7] == variables["params"]["fc"]["kernel"][7, 2]
    assert len(state) == len(jax.tree.leaves(variables))


def test_there_and_back_is_bit_identical(variables):
    state = to_torch(variables)
    state["bn1.num_batches_tracked"] = np.array(7)
    for like in (variables, SHAPES):  # the values of `like` play no part
        back = from_torch(state, like)
        jax.tree.map(np.testing.assert_array_equal, back, variables)
        assert all(leaf.dtype == np.float32 and leaf.flags.c_contiguous for leaf in jax.tree.leaves(back))
    again = to_torch(back)
    for name in again:
        np.testing.assert_array_equal(again[name], state[name])


def test_half_precision_weights_become_float32(variables):
    state = {name: value.astype(np.float16) for name, value in to_torch(variables).items()}
    back = from_torch(state, SHAPES)
    assert back["params"]["fc"]["bias"].dtype == np.float32
    np.testing.assert_array_equal(back["params"]["fc"]["bias"], state["fc.bias"])


def test_what_does_not_fit_is_named_and_counted(variables):
    state = to_torch(variables)
    headless = {name: value for name, value in state.items() if not name.startswith("fc.")}
    with pytest.raises(UserError, match=r"^The weights lack fc\.(bias|weight) \(and 1 more\)"):
        from_torch(headless, SHAPES)
    with pytest.raises(UserError, match=r"^The weights hold mask_token, for which"):
        from_torch(state | {"mask_token": np.zeros(3)}, SHAPES)
    other = {"fc.weight": np.zeros((10, 32), np.float32)}
    with pytest.raises(UserError, match=r"hold fc\.weight of shape \(10, 32\) where .* needs \(3, 32\)\.$"):
        from_torch(state | other, SHAPES)
    with pytest.raises(UserError, match=r"where the model needs .* \(and 1 more\)\.$"):
        from_torch(state | other | {"fc.bias": np.zeros(10, np.float32)}, SHAPES)
    with pytest.raises(UserError, match=r"hold fc\.weight of shape \(96,\)"):
        from_torch(state | {"fc.weight": state["fc.weight"].ravel()}, SHAPES)
