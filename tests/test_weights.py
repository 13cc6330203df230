import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models import resnet
from jaxcv.models.weights import check_rows, from_torch, match_torch, summarize, to_torch

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


class Tokens(nn.Module):
    """With arrays that are no kernel, scale or bias."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(3, name="fc")(x + self.param("token", nn.initializers.normal(1.0), (1, 2, 3)))
        gamma = self.param("gamma", nn.initializers.ones, (3,))
        return x * gamma[None, None] + self.param("position", nn.initializers.normal(1.0), (1, 1, 2, 3))[0]


def test_other_arrays_keep_their_names_and_axes():
    variables = Tokens().init(jax.random.key(0), jnp.ones((1, 2, 3)))
    state = to_torch(variables)
    shapes = {"fc.bias": (3,), "fc.weight": (3, 3), "gamma": (3,), "position": (1, 1, 2, 3), "token": (1, 2, 3)}
    assert {name: value.shape for name, value in state.items()} == shapes
    for name in ("gamma", "position", "token"):
        np.testing.assert_array_equal(state[name], variables["params"][name])
    jax.tree.map(np.testing.assert_array_equal, from_torch(state, variables), variables)
    _, rows = match_torch(state | {"position": np.ones((1, 3, 2, 3))}, variables)
    assert outcomes(rows) == {"position": "mismatch"}  # is no convolution of an RGB image


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


def outcomes(rows):
    return {row.name: row.outcome for row in rows if row.outcome != "matched"}


def test_a_file_of_the_trunk_fits_into_backbone_and_the_other_way_round(variables):
    trunk = to_torch(variables)
    whole = {name: {"backbone": tree, "head": {"kernel": np.ones((3, 2))}} for name, tree in variables.items()}
    del whole["batch_stats"]["head"]
    taken, rows = match_torch(trunk, whole, allow=("head.*",))
    assert outcomes(rows) == {"head.weight": "fresh"}
    jax.tree.map(np.testing.assert_array_equal, taken["params"]["backbone"], variables["params"])
    assert taken["params"]["head"]["kernel"] is None

    prefixed = {f"backbone.{name}": value for name, value in trunk.items()} | {"projector.weight": np.ones(2)}
    taken, rows = match_torch(prefixed, variables, allow=("projector.*",))
    assert outcomes(rows) == {"projector.weight": "unused"}
    jax.tree.map(np.testing.assert_array_equal, taken, variables)


def test_one_channel_gets_the_sum_of_the_rgb_filters(variables):
    model = resnet.Model(18, num_classes=3, width=4)
    grey = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)), train=False))
    taken, rows = match_torch(to_torch(variables), grey)
    assert outcomes(rows) == {"conv1.weight": "RGB summed"}
    check_rows(rows)
    kernel = variables["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(taken["params"]["conv1"]["kernel"], kernel.sum(2, keepdims=True), atol=1e-6)
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 1), np.float32)
    ours, _ = model.apply(taken, x, train=False)  # a grey image as three equal channels
    theirs, _ = model.apply(variables, np.repeat(x, 3, -1), train=False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_a_partial_load_is_refused_unless_it_is_allowed_by_name(variables):
    state = to_torch(variables) | {"fc.weight": np.zeros((1000, 32)), "fc.bias": np.zeros(1000)}
    del state["bn1.weight"]
    taken, rows = match_torch(state, SHAPES)
    assert outcomes(rows) == {"bn1.weight": "missing", "fc.weight": "mismatch", "fc.bias": "mismatch"}
    assert taken["params"]["fc"]["kernel"] is None  # nothing is half used
    with pytest.raises(UserError, match=r"^x\.pth lack bn1\.weight; .* Say so\.$"):
        check_rows(rows, source="x.pth", remedy=" Say so.")
    with pytest.raises(UserError, match=r"hold fc\.(bias|weight) of shape \(1000.*\(and 1 more\)\.$"):
        check_rows(match_torch(state, SHAPES, allow=("bn1.*",))[1])
    taken, rows = match_torch(state, SHAPES, allow=("fc.*", "bn1.*"))
    check_rows(rows)
    assert set(outcomes(rows).values()) == {"fresh"}
    assert summarize(rows) == f"{len(rows) - 3} matched; fresh: bn1.weight, fc.bias, fc.weight"


def test_what_is_to_be_fresh_is_not_taken_though_it_fits(variables):
    state = to_torch(variables)
    taken, rows = match_torch(state, SHAPES, fresh=("layer4.1.conv*",))
    check_rows(rows)
    assert outcomes(rows) == {"layer4.1.conv1.weight": "fresh", "layer4.1.conv2.weight": "fresh"}
    assert taken["params"]["layer4.1"]["conv1"]["kernel"] is None


@pytest.mark.parametrize("pattern", ["bn1.scale", "bn1.weight", "backbone.bn1.scale", "backbone.bn1.weight"])
def test_a_pattern_may_be_of_our_name_or_of_torchs(variables, pattern):
    whole = {name: {"backbone": tree} for name, tree in variables.items()}
    state = {name: value for name, value in to_torch(variables).items() if name != "bn1.weight"}
    for given in ({"fresh": (pattern,)}, {"allow": (pattern,)}):
        found = {row.name: row.outcome for row in match_torch(state, whole, **given)[1]}
        assert found.pop("backbone.bn1.weight") == "fresh" and set(found.values()) == {"matched"}
