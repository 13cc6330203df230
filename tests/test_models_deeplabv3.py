import jax
import jax.numpy as jnp
import pytest
from flax.errors import InvalidRngError

from goldens import make_deeplabv3
from goldens.parity import check_eval, check_train, count, sizes, train_sizes
from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.models import deeplabv3

SHAPE = (2, 32, 32, 3)


@pytest.mark.parametrize(
    ("depth", "aux", "parameters"), [(50, True, 42_004_074), (50, False, 39_638_869), (101, True, 60_996_202)]
)
def test_parameter_counts_are_torchvisions(depth, aux, parameters):
    assert count(deeplabv3.Model(depth, aux=aux), (1, 64, 64, 3)) == parameters


def test_training_is_torchvisions():
    check_train(make_deeplabv3.FILE, "narrow", make_deeplabv3.CASES["narrow"])


def test_evaluation_is_torchvisions():
    check_eval(make_deeplabv3.FILE, "narrow", make_deeplabv3.CASES["narrow"])


def test_stages_at_an_odd_size():
    output, stages = sizes(deeplabv3.Model(num_classes=7, aux=True), (2, 97, 131, 1))
    assert output == (2, 97, 131, 7)
    assert stages == {
        "stem": (2, 49, 66, 64),
        "layer1": (2, 25, 33, 256),
        "layer2": (2, 13, 17, 512),
        "layer3": (2, 13, 17, 1024),
        "layer4": (2, 13, 17, 2048),
        "avgpool": (2, 2048),
        "aspp": (2, 13, 17, 256),
        "logits": (2, 97, 131, 7),
        "aux": (2, 97, 131, 7),
    }


def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32():
    model = deeplabv3.Model(num_classes=3, aux=True, width=4, dtype="bfloat16")
    (output, stages), moved = train_sizes(model, SHAPE, dropout=jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((moved, output, stages["aux"]))} == {jnp.dtype("float32")}
    in_half = {name for name, stage in stages.items() if stage.dtype == jnp.bfloat16}
    assert in_half == {"stem", "layer1", "layer2", "layer3", "layer4", "aspp"}


@pytest.mark.parametrize("rate", ["dropout", "aux_dropout"])
def test_training_draws_dropout(rate):
    rates = {"dropout": 0, "aux_dropout": 0} | {rate: 0.1}
    with pytest.raises(InvalidRngError):
        train_sizes(deeplabv3.Model(aux=True, width=4, **rates), SHAPE)


def test_a_depth_that_cannot_be_used():
    with pytest.raises(ConfigError, match="config.model.depth=34 is unknown; choose one of 101, 152, 50"):
        call(deeplabv3.Model, {"depth": 34}, group="model")
