"""The same bits each time, on a GPU too: nothing that a train step computes needs a scatter, and XLA is told."""

import functools

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

import runs
from jaxcv.experiment import build, make_model

NETWORKS = (
    "alexnet",
    "basenet",
    "conv_transpose",
    "deeplabv3_resnet50",
    "efficientnet_b0",
    "fcn16s",
    "fcn32s",
    "fcn8s",
)
NETWORKS += ("pool_upsample", "resnet18", "resnet50", "resnet_fcn", "unet", "vgg11", "vgg11_bn")


@pytest.mark.parametrize(
    ("name", "variant"),
    [("fashion_mnist", "tiny"), ("byol", "tiny"), ("colorize", "tiny"), ("colorize", "unet,tiny")],
)
def test_a_train_step_has_no_scatter(name, variant):
    """Such as the gradients of reduce_window's maximum, of indexing and of a nearest-neighbour resize need."""
    config = runs.load_config(name, variant)
    if name == "fashion_mnist":
        config.data = ConfigDict({"name": "shapes", "workers": 0, "limit": 64})
    experiment = build(config)
    example = {name: jnp.asarray(value) for name, value in experiment.data.sources["train"][0].items()}
    batch = {name: jax.ShapeDtypeStruct((16, *x.shape), x.dtype) for name, x in example.items()}
    step = experiment.compiled.update.lower(experiment.compiled.abstract, batch).as_text()
    assert "stablehlo.convolution" in step and "scatter" not in step


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_gradient_has_no_scatter(name):
    config = runs.load_config("networks", name)
    model, image = make_model(config.model), jax.ShapeDtypeStruct((2, *config.image), jnp.float32)
    apply = functools.partial(model.apply, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(0)})
    variables = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(1), image)

    def loss(variables, image):
        return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(apply(variables, image)[0][0]))

    gradient = jax.jit(jax.grad(loss)).lower(variables, image).as_text()
    assert "stablehlo.convolution" in gradient and "scatter" not in gradient


def test_xla_is_told_and_knows_the_flag_where_there_is_no_gpu_too():
    code = """if True:
        import os
        import jax
        from jaxcv import build, load_config
        build(load_config("colorize:tiny", {"deterministic": True}))
        print(jax.jit(lambda x: x + 1)(1), *os.environ["XLA_FLAGS"].split())
    """
    printed = runs.python(code, XLA_FLAGS="--xla_gpu_autotune_level=4").split()
    assert printed[:3] == ["2", "--xla_gpu_autotune_level=4", "--xla_gpu_deterministic_ops=true"]
