import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from goldens.make_alexnet import CASES, FILE
from goldens.parity import Case, abstract, build, check_eval, check_train, count, sizes
from jaxcv.errors import UserError
from jaxcv.models import alexnet


def test_parameter_counts():
    assert count(alexnet.Model(), (1, 64, 64, 3)) == 61_100_840  # published by torchvision
    assert count(alexnet.Model(num_classes=2), (1, 64, 64, 3)) == 57_012_034


def test_evaluation_is_torchvisions():
    check_eval(FILE, "narrow", CASES["narrow"])


def test_training_is_torchvisions():
    check_train(FILE, "narrow", CASES["narrow"])


def test_stages_at_an_odd_size():
    features = {
        "pool1": (2, 11, 15, 4),
        "pool2": (2, 5, 7, 12),
        "conv3": (2, 5, 7, 24),
        "conv4": (2, 5, 7, 16),
        "pool5": (2, 2, 3, 16),
    }
    head = {"avgpool": (2, 6, 6, 16), "fc6": (2, 24), "fc7": (2, 24), "fc8": (2, 5)}
    model = alexnet.Model(num_classes=5, width=4, hidden=24)
    assert sizes(model, (2, 97, 131, 1)) == ((2, 5), features | head)
    assert sizes(model.clone(num_classes=None), (2, 97, 131, 1)) == ((2, 16), features | {"avgpool": (2, 16)})


def test_without_classes_there_are_convolutions_alone():
    params = abstract(Case(alexnet.Model(num_classes=None), (1, 64, 64, 3)))["params"]
    assert len(params) == 5 and all(name.startswith("features.") for name in params)


def test_dropout_precedes_the_hidden_layers_in_training_alone():
    case = Case(alexnet.Model(num_classes=3, width=2, hidden=8, dropout=0.999999), (2, 63, 95, 3))
    model, variables, _ = build(case)

    @jax.jit
    def run(variables, x):
        features, _ = model.clone(num_classes=None).apply(variables, x, train=False)
        _, still = model.apply(variables, x, train=False)
        logits, stages = model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})
        return features, still, logits, stages

    features, still, logits, stages = run(variables, np.ones(case.shape, np.float32))
    np.testing.assert_allclose(features, np.mean(still["pool5"], (1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(stages["avgpool"], still["avgpool"])
    bias = {name: layer["bias"][None] for name, layer in variables["params"].items()}  # all that such a dropout leaves
    assert (stages["fc6"] == nn.relu(bias["classifier.1"])).all()
    assert (stages["fc7"] == nn.relu(bias["classifier.4"])).all()
    assert not (logits == bias["classifier.6"]).any()
    assert not (still["fc7"] == stages["fc7"]).all()


def test_bfloat16_is_for_the_computation_alone():
    model = alexnet.Model(width=4, hidden=8, dtype="bfloat16")
    (output, stages), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 64, 3)), train=False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == {"fc8"}


def test_what_cannot_be_used():
    with pytest.raises(UserError, match="at least 63 x 63 pixels, not 62 x 63"):
        count(alexnet.Model(), (1, 62, 63, 3))
