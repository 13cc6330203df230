import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from goldens.make_efficientnet import CASES, FILE
from goldens.parity import QUICK, Case, abstract, build, check_eval, count, error, images, probe, thin, uniform
from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.models import efficientnet, layers
from jaxcv.models.weights import to_torch


@pytest.mark.parametrize(
    ("variant", "parameters", "norm"),
    [
        ("b0", 5_288_548, (0.1, 1e-5)),
        ("b1", 7_794_184, (0.1, 1e-5)),
        ("b2", 9_109_994, (0.1, 1e-5)),
        ("b3", 12_233_232, (0.1, 1e-5)),
        ("b4", 19_341_616, (0.1, 1e-5)),
        ("b5", 30_389_784, (0.01, 1e-3)),
        ("b6", 43_040_704, (0.01, 1e-3)),
        ("b7", 66_347_960, (0.01, 1e-3)),
    ],
)
def test_parameter_counts_norms_and_rates_are_torchvisions(variant, parameters, norm):
    norms, drops = set(), []

    def note(call, args, kwargs, context):
        if isinstance(context.module, layers.BatchNorm):
            norms.add((context.module.momentum, context.module.epsilon))
        if isinstance(context.module, efficientnet._MBConv):
            drops.append(context.module.drop)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        assert count(efficientnet.Model(variant), (1, 32, 32, 3)) == parameters
    assert norms == {norm}
    np.testing.assert_allclose(drops, np.linspace(0, 0.2, len(drops), endpoint=False), rtol=1e-12)


def test_evaluation_is_torchvisions():
    check_eval(FILE, "b0", CASES["b0"])


# In float32, and without gradients, which take too long to compile: they are compared when the goldens are made, and
# below for the one layer that is not put together from tested ones.
def test_training_is_torchvisions_and_drops_before_the_last_layer():
    case = CASES["b0"]

    def train(variables, x):
        model = case.model.clone(dropout=0.999999)
        return model.apply(variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})

    _, variables, _ = build(case)
    (output, stages), moved = jax.jit(train, compiler_options=QUICK)(variables, images("b0", case))
    head = variables["params"]["classifier.1"]
    np.testing.assert_array_equal(output, np.stack([head["bias"]] * 2))
    with np.load(FILE, allow_pickle=False) as golden:
        logits = np.asarray(stages["avgpool"]) @ head["kernel"] + head["bias"]
        assert error(thin(logits), golden["b0/train/output"]) < 1e-4
        stats = golden["b0/stats"]
        np.testing.assert_allclose(probe(to_torch(moved)) / stats[:, :1], stats / stats[:, :1], rtol=0, atol=1e-4)


def test_depthwise_is_the_grouped_convolution():
    x, weight = uniform("depthwise", (2, 9, 12, 4)), uniform("taps", (5, 5, 1, 4))

    def differentiate(module):
        def loss(x, weight):
            y = module.apply({"params": {"kernel": weight}}, x)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, weight)

    ours, grouped = differentiate(efficientnet._Depthwise(5, 2)), differentiate(layers.conv(4, 5, 2, 2, groups=4))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, strict=True), ours, grouped)


def test_depthwise_sums_bfloat16_in_float32():
    weight = np.full((5, 5, 1, 1), 2**-9, np.float32)
    weight[2, 2] = 1  # beside it a bfloat16 sum would lose the others

    @jax.jit
    def both_ways(x):
        y, pull = jax.vjp(lambda x: efficientnet._Depthwise(5, 1).apply({"params": {"kernel": weight}}, x), x)
        return y, *pull(x)

    for out in jax.device_get(both_ways(jnp.ones((1, 5, 5, 1), jnp.bfloat16))):
        assert out.dtype == jnp.bfloat16 and out[0, 2, 2, 0] == 1 + 24 / 512


def test_stages_at_an_odd_size_in_bfloat16():
    def run(model):
        x = jnp.zeros((2, 97, 131, 1))
        return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x, train=False))

    features = {
        "stem": (2, 49, 66, 32),
        "layer1": (2, 49, 66, 16),
        "layer2": (2, 25, 33, 24),
        "layer3": (2, 13, 17, 40),
        "layer4": (2, 7, 9, 80),
        "layer5": (2, 7, 9, 112),
        "layer6": (2, 4, 5, 192),
        "layer7": (2, 4, 5, 320),
        "lastconv": (2, 4, 5, 1280),
        "avgpool": (2, 1280),
    }
    model = efficientnet.Model(num_classes=5, dtype="bfloat16")
    (output, stages), variables = run(model)
    assert output.shape == (2, 5)
    assert {name: stage.shape for name, stage in stages.items()} == features | {"classifier": (2, 5)}
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == {"avgpool", "classifier"}

    (output, stages), variables = run(model.clone(num_classes=None))
    assert output.shape == (2, 1280) and output.dtype == jnp.float32
    assert {name: stage.shape for name, stage in stages.items()} == features
    assert all(name.startswith("features.") for name in variables["params"])


def test_weights_start_as_torchvisions():
    def some():  # jit leaves out the others
        model = efficientnet.Model(num_classes=16)
        params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)["params"]
        return params["features.6.1"]["block.1.0"], params["features.6.1"]["block.2.fc1"], params["classifier.1"]

    depthwise, squeeze, head = jax.device_get(jax.jit(some)())
    assert np.std(depthwise["kernel"]) == pytest.approx((2 / (1152 * 25)) ** 0.5, rel=0.05)
    assert np.std(squeeze["kernel"]) == pytest.approx((2 / 48) ** 0.5, rel=0.05)
    assert 0.99 / 4 < np.abs(head["kernel"]).max() <= 1 / 4
    assert not squeeze["bias"].any() and not head["bias"].any()


def test_stochastic_depth_leaves_out_a_block_for_some_images():
    block = efficientnet._MBConv(1, 3, 1, 8, 0.25, efficientnet.VARIANTS["b0"], jnp.float32)
    x = uniform("rows", (64, 2, 2, 8))
    variables = jax.tree.map(lambda leaf: uniform("leaf", leaf.shape), abstract(Case(block, x.shape)))
    train = jax.jit(lambda v, x, key: block.apply(v, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}))
    y, _ = train(variables, x, jax.random.key(0))
    same = np.asarray(y) == x
    out = np.all(same, (1, 2, 3))
    assert 6 <= out.sum() <= 26  # of 64, at a rate of 1/4: within three deviations
    assert not same[~out].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "b8"}, "config.model.variant='b8' is unknown; choose one of b0, b1, b2, b3, b4, b5, b6, b7"),
        ({"stochastic_depth": 1.5}, r"config.model.stochastic_depth=1.5 must be in \[0, 1\]"),
    ],
)
def test_fields_that_cannot_be_used(fields, message):
    with pytest.raises(ConfigError, match=message):
        call(efficientnet.Model, fields, group="model")
