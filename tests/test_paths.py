"""Patterns for parameter names, gradients stopped by them, and the digest of what they match."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.errors import ConfigError
from jaxcv.optim.parameters import check_patterns, digest, lookup, matches, stop_gradients

PARAMS = {
    "backbone": {
        "conv1": {"kernel": np.arange(4, dtype=np.float32).reshape(2, 2)},
        "layer1.0": {"bn1": {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}},
    },
    "fc": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)},
}


def test_patterns_match_whole_names():
    def chosen(*patterns):
        return [name for name, on in zip(NAMES, jax.tree.leaves(matches(PARAMS, patterns))) if on]

    NAMES = ["backbone.conv1.kernel", "backbone.layer1.0.bn1.bias", "backbone.layer1.0.bn1.scale"]
    NAMES += ["fc.bias", "fc.kernel"]
    assert chosen("*") == NAMES and chosen() == [] and chosen("conv1.*", "layer1") == []
    assert chosen("backbone.*") == NAMES[:3]
    assert chosen("backbone.layer[1-3].0.*", "fc.kernel") == [*NAMES[1:3], NAMES[4]]
    assert chosen("*.bias", "*bn?.*") == NAMES[1:4]


def test_the_first_rule_counts():
    rules = (("fc.bias", 1.0), ("fc.*", 2.0), ("*.bias", 3.0))
    assert jax.tree.leaves(lookup(PARAMS, rules, 4.0)) == [4.0, 3.0, 4.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ("fc.*", "layer1.*"),
            "config.optim.freeze has 'layer1.*', which matches no parameter; did you mean 'backbone.layer1.*'?",
        ),
        (("backbon.*",), "did you mean 'backbone.*'?"),
        (("fc.weight",), ", fc.*, fc.bias, fc.kernel."),
        ("fc.*", "config.optim.freeze must be a tuple of patterns; write ('fc.*',)."),
    ],
)
def test_a_pattern_without_a_match_is_named(patterns, message):
    check_patterns(PARAMS, ("backbone.*", "*.bias"), key="optim.freeze")
    with pytest.raises(ConfigError) as error:
        check_patterns(PARAMS, patterns, key="optim.freeze")
    assert message in str(error.value)


def test_of_many_parameters_only_the_nearest_are_named():
    params = {f"layer{i}": {"kernel": np.ones(1), "bias": np.ones(1)} for i in range(30)}
    with pytest.raises(ConfigError) as error:
        check_patterns(params, ("12",), key="optim.freeze")
    message = "config.optim.freeze has '12', which matches no parameter; the nearest are layer12.*, "
    assert str(error.value).startswith(message) and str(error.value).count("layer") == 3


def test_stopped_parameters_have_no_gradient_and_cost_nothing():
    def loss(params, mask):
        params = stop_gradients(params, mask)
        hidden = jnp.tanh(jnp.ones((5, 2)) @ params["backbone"]["conv1"]["kernel"])
        return jnp.sum(hidden @ params["fc"]["kernel"])

    def trace(*patterns):
        return jax.make_jaxpr(jax.grad(lambda params: loss(params, matches(params, patterns))))(PARAMS)

    grads = jax.grad(loss)(PARAMS, matches(PARAMS, ("backbone.*",)))
    full = jax.grad(loss)(PARAMS, matches(PARAMS, ()))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["backbone"]))
    assert np.any(full["backbone"]["conv1"]["kernel"])
    np.testing.assert_array_equal(grads["fc"]["kernel"], full["fc"]["kernel"])
    # forward two products, backward three: one per kernel and one for the hidden layer
    assert str(trace()).count("dot_general") == 5
    assert str(trace("backbone.*")).count("dot_general") == 3


def test_digest_is_sha256_of_names_and_bytes():
    mask = matches(PARAMS, ("fc.*",))
    expected = hashlib.sha256()
    for name in ("bias", "kernel"):
        expected.update(f"fc.{name}\0".encode() + PARAMS["fc"][name].tobytes())
    assert digest(PARAMS, mask) == digest(jax.tree.map(jnp.asarray, PARAMS), mask) == expected.hexdigest()
    other = jax.tree.map(np.copy, PARAMS)
    other["backbone"]["conv1"]["kernel"] += 1
    assert digest(other, mask) == digest(PARAMS, mask)
    other["fc"]["bias"][0] = -0.0
    assert digest(other, mask) != digest(PARAMS, mask)
