"""What every network must do, a file of jaxcv/models by having a `Model`."""

from dataclasses import MISSING, fields
from importlib import import_module
from types import NoneType
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens.parity import Case, abstract, train_sizes
from jaxcv.config import part_names
from jaxcv.errors import ConfigError
from jaxcv.models.weights import from_torch, to_torch

MODELS = part_names("models", "Model")
MODULES = {name: import_module(f"jaxcv.models.{name}") for name in MODELS}
CLASSIFIERS = [name for name in MODELS if NoneType in get_args(MODULES[name].Model.__annotations__["num_classes"])]
NEEDED = {"stacked": {"network": {"name": "resnet", "depth": 18, "width": 4}}}  # fields without a default
SMALL = {"width": 4, "hidden": 8}  # in a model that has such a number
SHAPE = (2, 64, 64, 3)
FLOAT32 = {jnp.dtype("float32")}


def make(name, **options):
    """A narrow network of its default form."""
    found = MODULES[name].Model
    defaults = {x.name: x.default for x in fields(found)}
    missing = {key for key, x in defaults.items() if x is MISSING} - NEEDED.get(name, {}).keys()
    assert not missing, f"say in NEEDED what {missing} of {name} are to be here"
    small = {key: value for key, value in SMALL.items() if isinstance(defaults.get(key), int)}
    return found(**small, **NEEDED.get(name, {}), **options)


def dtypes(tree):
    return {leaf.dtype for leaf in jax.tree.leaves(tree)}


def evaluate(model, shape):
    """The shapes of (variables, output, stages, and the name of the stage that is the output)."""
    last = []

    def run(variables, x):
        output, stages = model.apply(variables, x, train=False)
        last.extend(name for name, stage in stages.items() if stage is output)
        return output, stages

    variables = abstract(Case(model, shape))
    return variables, *jax.eval_shape(run, variables, jax.ShapeDtypeStruct(shape, jnp.float32)), last


@pytest.mark.parametrize("name", MODELS)
def test_evaluation_and_training(name):
    """(output, stages) for any number of classes and channels; float32 however it is computed; no key to evaluate."""
    for classes, channels, dtype in ((5, 3, "float32"), (2, 1, "bfloat16")):
        shape = (*SHAPE[:3], channels)
        model = make(name, num_classes=classes, dtype=dtype)
        variables, output, stages, last = evaluate(model, shape)
        assert output.shape[0] == 2 and output.shape[-1] == classes and last
        assert all(isinstance(key, str) and stage.shape[0] == 2 for key, stage in stages.items())
        assert variables.keys() <= {"params", "batch_stats"} and dtypes((variables, output)) == FLOAT32
        assert (jnp.dtype("bfloat16") in dtypes(stages)) == (dtype == "bfloat16")

        (trained, train_stages), moved = train_sizes(model, shape, dropout=jax.random.key(0))
        assert (trained, train_stages) == (output, stages)
        assert moved == {key: value for key, value in variables.items() if key == "batch_stats"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_without_classes_gives_features(name):
    variables, output, stages, _ = evaluate(make(name, num_classes=None), SHAPE)
    whole, *_ = evaluate(make(name), SHAPE)
    assert output.ndim == 2 and output.dtype == jnp.float32 and stages
    assert len(jax.tree.leaves(variables)) < len(jax.tree.leaves(whole))


@pytest.mark.parametrize("name", MODELS)
def test_weights_go_to_torch_and_back_bit_for_bit(name):
    rng = np.random.default_rng(0)
    shapes = abstract(Case(make(name, num_classes=5), SHAPE))
    variables = jax.tree.map(lambda x: rng.standard_normal(x.shape, x.dtype), shapes)
    state = to_torch(variables)
    assert len(state) == len(jax.tree.leaves(variables))  # no two of one name
    jax.tree.map(np.testing.assert_array_equal, from_torch(state, shapes), variables)


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_dtype_is_refused(name):
    with pytest.raises(ConfigError, match="dtype is 'bf16'; it must be a float type such as 'float32' or 'bfloat16'"):
        abstract(Case(make(name, dtype="bf16"), SHAPE))
