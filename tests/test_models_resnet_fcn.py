import jax
import jax.numpy as jnp
import pytest
from flax.errors import InvalidRngError

from goldens import make_resnet_fcn
from goldens.parity import Case, abstract, check_eval, check_train, count, sizes, train_sizes
from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.models import resnet_fcn

SHAPE = (2, 32, 32, 3)
TRUNK = 11_176_512  # torchvision's ResNet-18 without fc
PLAIN = {"hidden": (256,), "last_kernel": 1, "batch_norm": False, "dropout": 0.5}


@pytest.mark.parametrize(
    ("fields", "head"),
    [
        (PLAIN, 1_181_446),
        ({"hidden": ()}, 27_666),
        ({"hidden": (256,)}, 1_194_258),
        ({}, 1_482_642),
        ({"hidden": (256, 128, 64)}, 1_553_106),
        ({"hidden": (256, 128, 64, 32)}, 1_569_906),
    ],
)
def test_parameter_counts(fields, head):
    assert count(resnet_fcn.Model(**fields), (1, 64, 64, 3)) == TRUNK + head


def test_training_is_torchs():
    check_train(make_resnet_fcn.FILE, "narrow 3", make_resnet_fcn.CASES["narrow 3"])


@pytest.mark.parametrize("name", ["narrow 3", "narrow dilation4"])
def test_evaluation_is_torchs(name):
    check_eval(make_resnet_fcn.FILE, name, make_resnet_fcn.CASES[name])


def test_stages_at_an_odd_size():
    output, stages = sizes(resnet_fcn.Model(num_classes=7), (2, 97, 131, 1))
    assert output == (2, 128, 160, 7)
    assert stages == {
        "stem": (2, 49, 66, 64),
        "layer1": (2, 25, 33, 64),
        "layer2": (2, 13, 17, 128),
        "layer3": (2, 7, 9, 256),
        "layer4": (2, 4, 5, 512),
        "avgpool": (2, 512),
        "conv1": (2, 4, 5, 256),
        "conv2": (2, 8, 10, 128),
        "conv3": (2, 16, 20, 7),
        "logits": (2, 128, 160, 7),
    }


def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32():
    (output, stages), moved = train_sizes(resnet_fcn.Model(dtype="bfloat16"), SHAPE)
    assert {leaf.dtype for leaf in jax.tree.leaves((moved, output))} == {jnp.dtype("float32")}
    in_half = {name for name, stage in stages.items() if stage.dtype == jnp.bfloat16}
    assert in_half == {"stem", "layer1", "layer2", "layer3", "layer4", "conv1", "conv2"}


def test_training_draws_dropout():
    train_sizes(resnet_fcn.Model(**PLAIN), SHAPE, dropout=jax.random.key(0))
    with pytest.raises(InvalidRngError):
        train_sizes(resnet_fcn.Model(**PLAIN), SHAPE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": (64,) * 5}, "config.model.hidden=.* must be at most four"),
        ({"last_kernel": 2}, "config.model.last_kernel=2 must be odd"),
        ({"last_dilation": 0}, "config.model.last_dilation=0 must be 1 or more"),
    ],
)
def test_fields_that_cannot_be_used(fields, message):
    with pytest.raises(ConfigError, match=message):
        abstract(Case(call(resnet_fcn.Model, fields, group="model"), (1, 64, 64, 3)))
