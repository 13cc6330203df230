import jax
import jax.numpy as jnp
import pytest

from goldens.make_colorization import CASES, FILE
from goldens.parity import check_eval, check_train, count, sizes
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import conv_transpose, pool_upsample

NETS = {
    "PoolUpsampleNet": pool_upsample.Model(),
    "ConvTransposeNet": conv_transpose.Model(),
    "UNet": conv_transpose.Model(skips=True),
}
GOLDEN = [name for name, case in CASES.items() if case.golden]


@pytest.mark.parametrize(
    ("net", "params"), [("PoolUpsampleNet", 49_728), ("ConvTransposeNet", 49_728), ("UNet", 56_856)]
)
def test_parameter_counts(net, params):
    assert count(NETS[net], (1, 32, 32, 1)) == params


@pytest.mark.parametrize("name", GOLDEN)
def test_evaluation_is_torchs(name):
    check_eval(FILE, name, CASES[name])


@pytest.mark.parametrize("name", ["PoolUpsampleNet 3", "UNet 4"])
def test_training_is_torchs(name):
    check_train(FILE, name, CASES[name])


@pytest.mark.parametrize(
    ("model", "rows", "columns"),
    [  # of sequential1 to 4
        (pool_upsample.Model(kernel=3), (48, 24, 48, 96), (65, 32, 64, 128)),
        (pool_upsample.Model(kernel=5), (48, 24, 48, 96), (65, 32, 64, 128)),
        (conv_transpose.Model(kernel=3), (49, 25, 50, 100), (66, 33, 66, 132)),
        (conv_transpose.Model(kernel=4), (48, 24, 48, 96), (65, 32, 64, 128)),
        (conv_transpose.Model(kernel=5), (49, 25, 50, 100), (66, 33, 66, 132)),
    ],
)
def test_stages_at_an_odd_size(model, rows, columns):
    output, stages = sizes(model, (2, 97, 131, 3))
    channels = (32, 64, 32, 24)
    assert stages == {f"sequential{i + 1}": (2, rows[i], columns[i], channels[i]) for i in range(4)} | {"conv1": output}
    assert output == (2, rows[3], columns[3], 24)


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_a_unet_keeps_the_size(kernel):
    output, stages = sizes(conv_transpose.Model(7, kernel=kernel, width=4, skips=True), (2, 36, 32, 1))
    assert stages == {
        "sequential1": (2, 18, 16, 4),
        "sequential2": (2, 9, 8, 8),
        "sequential3": (2, 18, 16, 4),
        "sequential4": (2, 36, 32, 7),
        "conv1": (2, 36, 32, 7),
    }
    assert output == (2, 36, 32, 7)


@pytest.mark.parametrize("net", NETS)
def test_bfloat16_is_for_the_computation_alone(net):
    model = NETS[net].clone(dtype="bfloat16")
    (output, stages), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 1)), train=False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((output, variables))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == {"conv1"}


def test_a_kernel_that_cannot_be_used():
    with pytest.raises(ConfigError, match="config.model.kernel=4 must be odd"):
        count(pool_upsample.Model(kernel=4), (1, 32, 32, 1))


def test_images_that_cannot_be_used():
    for net in NETS.values():
        with pytest.raises(UserError, match="at least 4 x 4 pixels, not 3 x 32"):
            count(net, (1, 3, 32, 1))
    with pytest.raises(UserError, match="sides a multiple of 4, not 32 x 30"):
        count(NETS["UNet"], (1, 32, 30, 1))
