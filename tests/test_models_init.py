import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.models import alexnet, basenet, conv_transpose, pool_upsample, vgg
from jaxcv.models.weights import to_torch


def init(model, shape, layers):
    """Initial weights of some layers, one for each line of code that makes such layers, as a state_dict."""

    def some():  # jit leaves out the others
        params = model.init(jax.random.key(0), jnp.zeros(shape), train=False)["params"]
        return {"params": {layer: params[layer] for layer in layers}}

    return to_torch(jax.jit(some)())


@pytest.mark.parametrize(
    ("model", "shape", "layers"),
    [
        (alexnet.Model(width=16, hidden=64), (1, 64, 64, 3), ("features.3", "classifier.1")),
        (basenet.Model(), (1, 28, 28, 1), ("conv2", "fc1", "fc2")),
        (pool_upsample.Model(), (1, 8, 8, 1), ("sequential2.0", "conv1")),
        (conv_transpose.Model(), (1, 8, 8, 1), ("sequential2.0", "sequential3.0", "conv1")),
    ],
    ids=["alexnet", "basenet", "pool_upsample", "conv_transpose"],
)
def test_weights_start_as_torchs_default(model, shape, layers):
    state = init(model, shape, layers)
    for layer in layers:
        weight = state[f"{layer}.weight"]
        bound = np.prod(weight.shape[1:]) ** -0.5
        assert 0.5 * bound < np.abs(state[f"{layer}.bias"]).max() <= bound
        assert 0.9 * bound < np.abs(weight).max() <= bound


def test_vgg_starts_as_torchvisions():
    layers = ("features.3", "classifier.0", "classifier.6")
    state = init(vgg.Model(11, width=16, hidden=64), (1, 32, 32, 3), layers)
    assert not any(state[f"{layer}.bias"].any() for layer in layers)
    convolution, *linear = (np.std(state[f"{layer}.weight"]) for layer in layers)
    assert convolution == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert linear == pytest.approx([0.01, 0.01], rel=0.05)
