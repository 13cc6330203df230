import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from goldens.make_basenet import CASES, FILE, ROWS
from goldens.parity import Case, build, check_eval, check_train, count, sizes
from jaxcv.errors import UserError
from jaxcv.models import basenet


@pytest.mark.parametrize(("fields", "params"), ROWS.values(), ids=ROWS)
def test_parameter_counts_of_the_ablation(fields, params):
    assert count(basenet.Model(**fields), (1, 28, 28, 1)) == params


@pytest.mark.parametrize("name", ["baseline", "improved"])
def test_evaluation_is_torchs(name):
    check_eval(FILE, name, CASES[name])


def test_training_is_torchs():
    check_train(FILE, "improved", CASES["improved"])


def test_stages_of_fashion_mnist():
    pools = {"pool1": (2, 12, 12, 12), "pool2": (2, 4, 4, 24)}
    linear = {"fc1": (2, 192), "fc2": (2, 12), "fc3": (2, 10)}
    model = CASES["improved"].model
    assert sizes(model, (2, 28, 28, 1)) == ((2, 10), pools | linear)
    assert sizes(model.clone(num_classes=None), (2, 28, 28, 1)) == ((2, 384), pools)


def test_stages_of_three_convolutions_at_an_odd_size():
    output, stages = sizes(basenet.Model(4, channels=(2, 3, 4), hidden=()), (2, 97, 131, 3))
    assert output == (2, 4)
    assert stages == {"pool1": (2, 46, 63, 2), "pool2": (2, 21, 29, 3), "pool3": (2, 8, 12, 4), "fc1": (2, 4)}


def test_dropout_follows_the_hidden_layers_in_training_alone():
    case = Case(basenet.Model(3, channels=(2,), hidden=(8, 6), dropout=0.999999), (2, 9, 8, 1))
    model, variables, _ = build(case)

    @jax.jit
    def run(variables, x):
        features, _ = model.clone(num_classes=None).apply(variables, x, train=False)
        _, still = model.apply(variables, x, train=False)
        logits, stages = model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})
        return features, still, logits, stages

    features, still, logits, stages = run(variables, np.ones(case.shape, np.float32))
    np.testing.assert_array_equal(features, np.transpose(still["pool1"], (0, 3, 1, 2)).reshape(2, -1))
    np.testing.assert_array_equal(stages["fc1"], still["fc1"])
    bias = {name: layer["bias"][None] for name, layer in variables["params"].items()}  # all that such a dropout leaves
    assert (stages["fc2"] == nn.relu(bias["fc2"])).all()
    assert (logits == bias["fc3"]).all()
    assert not (still["fc3"] == bias["fc3"]).any()


@pytest.mark.parametrize("num_classes", [10, None])
def test_bfloat16_is_for_the_computation_alone(num_classes):
    model = basenet.Model(num_classes, batch_norm=True, dtype="bfloat16")
    (output, stages), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 28, 28, 1)), train=False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype == jnp.bfloat16} == {"pool1", "pool2"} | (
        {"fc1"} if num_classes else set()
    )


def test_what_cannot_be_used():
    with pytest.raises(UserError, match=r"channels \(6, 12\) needs images of at least 16 x 16 pixels, not 16 x 15"):
        count(basenet.Model(), (1, 16, 15, 1))
    assert sizes(basenet.Model(), (1, 16, 16, 1))[1]["pool2"] == (1, 1, 1, 12)
