import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from goldens.make_vgg import CASES, FILE
from goldens.parity import Case, abstract, build, check_eval, check_train, count, sizes
from jaxcv.config import call
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import vgg


@pytest.mark.parametrize(
    ("depth", "plain", "with_norm"),
    [
        (11, 132_863_336, 132_868_840),
        (13, 133_047_848, 133_053_736),
        (16, 138_357_544, 138_365_992),
        (19, 143_667_240, 143_678_248),
    ],
)
def test_parameter_counts_are_those_published_by_torchvision(depth, plain, with_norm):
    assert count(vgg.Model(depth), (1, 32, 32, 3)) == plain
    assert count(vgg.Model(depth, batch_norm=True), (1, 32, 32, 3)) == with_norm


@pytest.mark.parametrize("name", ["vgg16", "vgg11_bn"])
def test_evaluation_is_torchvisions(name):
    check_eval(FILE, name, CASES[name])


def test_training_is_torchvisions():
    check_train(FILE, "vgg11_bn", CASES["vgg11_bn"])


def test_stages_at_an_odd_size():
    features = {
        "pool1": (2, 48, 65, 4),
        "pool2": (2, 24, 32, 8),
        "pool3": (2, 12, 16, 16),
        "pool4": (2, 6, 8, 32),
        "pool5": (2, 3, 4, 32),
    }
    head = {"avgpool": (2, 7, 7, 32), "fc6": (2, 24), "fc7": (2, 24), "fc8": (2, 5)}
    model = vgg.Model(16, num_classes=5, width=4, hidden=24)
    assert sizes(model, (2, 97, 131, 1)) == ((2, 5), features | head)
    assert sizes(model.clone(num_classes=None), (2, 97, 131, 1)) == ((2, 32), features | {"avgpool": (2, 32)})


def test_without_classes_there_are_convolutions_alone():
    params = abstract(Case(vgg.Model(num_classes=None), (1, 32, 32, 3)))["params"]
    assert len(params) == 13 and all(name.startswith("features.") for name in params)


def test_dropout_follows_the_hidden_layers_in_training_alone():
    case = Case(vgg.Model(11, num_classes=3, width=2, hidden=8, dropout=0.999999), (2, 64, 32, 3))
    model, variables, _ = build(case)

    @jax.jit
    def run(variables, x):
        features, _ = model.clone(num_classes=None).apply(variables, x, train=False)
        _, still = model.apply(variables, x, train=False)
        _, stages = model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})
        return features, still, stages

    features, still, stages = run(variables, np.ones(case.shape, np.float32))
    np.testing.assert_allclose(features, np.mean(still["pool5"], (1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(stages["fc6"], still["fc6"])
    bias = {name: layer["bias"][None] for name, layer in variables["params"].items()}  # all that such a dropout leaves
    assert (stages["fc7"] == nn.relu(bias["classifier.3"])).all()
    assert (stages["fc8"] == bias["classifier.6"]).all()
    assert not (still["fc8"] == bias["classifier.6"]).any()


def test_bfloat16_is_for_the_computation_alone():
    model = vgg.Model(11, batch_norm=True, width=4, hidden=8, dtype="bfloat16")
    (output, stages), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 3)), train=False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == {"fc8"}


def test_what_cannot_be_used():
    with pytest.raises(ConfigError, match="config.model.depth=12 is unknown; choose one of 11, 13, 16, 19"):
        call(vgg.Model, {"depth": 12}, group="model")
    with pytest.raises(UserError, match="at least 32 x 32 pixels, not 40 x 31"):
        count(vgg.Model(), (1, 40, 31, 3))
