import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import make_fcn
from goldens.parity import Case, abstract, check_eval, check_train, count, sizes
from jaxcv.config import call
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import fcn8s, fcn16s, fcn32s

GOLDEN = [name for name, case in make_fcn.CASES.items() if case.golden]
SMALL = {"depth": 11, "num_classes": 3, "width": 4}
MODELS = {
    "32s": fcn32s.Model(hidden=8, **SMALL),
    "16s": fcn16s.Model(hidden=8, **SMALL),
    "8s": fcn8s.Model(**SMALL),
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (fcn32s.Model(), 40_118_087),
        (fcn16s.Model(), 40_892_231),
        # VGG-16's convolutions 14,714,688, transposed ones 3,927,008, BatchNorm 1,984, classifier 363
        (fcn8s.Model(), 18_644_043),
        (fcn8s.Model(skips=False), 18_644_043),
    ],
)
def test_parameter_counts(model, expected):
    assert count(model, (1, 256, 256, 3)) == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_evaluation_is_torchs_in_float32(name):
    check_eval(make_fcn.FILE, name, make_fcn.CASES[name])


@pytest.mark.parametrize("name", ["32s-2", "16s", "8s"])
def test_training_is_torchs_in_float64(name):
    check_train(make_fcn.FILE, name, make_fcn.CASES[name])


def test_fcn32s_sizes_are_those_of_the_published_table():
    output, stages = sizes(fcn32s.Model(), (2, 256, 256, 3))
    assert output == stages["logits"] == (2, 256, 256, 7)
    assert {name: stages[name] for name in ("pool4", "pool5", "conv6", "conv7", "scores")} == {
        "pool4": (2, 16, 16, 512),
        "pool5": (2, 8, 8, 512),
        "conv6": (2, 7, 7, 4096),
        "conv7": (2, 7, 7, 4096),
        "scores": (2, 7, 7, 7),
    }


@pytest.mark.parametrize(("kernel", "scores"), [(1, (3, 4)), (2, (2, 3)), (3, (3, 4)), (7, (3, 4)), (8, (2, 3))])
def test_fcn32s_rounds_the_size_down_for_any_kernel(kernel, scores):
    output, stages = sizes(MODELS["32s"].clone(kernel=kernel), (2, 97, 131, 1))
    assert stages["scores"] == (2, *scores, 3)
    assert output == (2, 96, 128, 3)


def test_fcn16s_sizes():
    output, stages = sizes(fcn16s.Model(), (2, 256, 271, 3))
    assert stages["scores"] == (2, 7, 7, 7)
    assert stages["fused"] == stages["pool4"] == (2, 16, 16, 512)
    assert output == stages["logits"] == (2, 256, 256, 7)


@pytest.mark.parametrize("skips", [True, False])
def test_fcn8s_sizes(skips):
    output, stages = sizes(fcn8s.Model(skips=skips), (2, 352, 487, 3))
    assert {name: stage for name, stage in stages.items() if name.startswith("up")} == {
        "up1": (2, 22, 30, 512),
        "up2": (2, 44, 60, 256),
        "up3": (2, 88, 120, 128),
        "up4": (2, 176, 240, 64),
        "up5": (2, 352, 480, 32),
    }
    assert output == stages["logits"] == (2, 352, 480, 11)


def test_fcn8s_without_skips_rounds_any_size_down():
    assert sizes(MODELS["8s"].clone(skips=False), (2, 97, 131, 1))[0] == (2, 96, 128, 3)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("32s", (63, 64), "at least 64 x 64 pixels, not 63 x 64"),
        ("16s", (64, 63), "at least 64 x 64 pixels .* not 64 x 63"),
        ("16s", (97, 112), "a multiple of 32 or up to 15 more, not 97 x 112"),
        ("8s", (97, 104), "a multiple of 32 or up to 7 more, not 97 x 104"),
        ("8s", (31, 32), "not 31 x 32"),
    ],
)
def test_sizes_that_do_not_work(name, size, message):
    with pytest.raises(UserError, match=message):
        sizes(MODELS[name], (1, *size, 3))


def test_dropout_is_of_whole_channels():
    classifier = fcn32s.Classifier(num_classes=3, kernel=1, hidden=16, dropout=0.5, dtype=jnp.float32)
    x = jax.random.uniform(jax.random.key(0), (2, 3, 4, 16), minval=1)
    identity = {"kernel": jnp.eye(16).reshape(1, 1, 16, 16), "bias": jnp.zeros(16)}
    last = {"kernel": jnp.ones((1, 1, 16, 3)), "bias": jnp.zeros(3)}
    variables = {"params": {"0": identity, "3": identity, "6": last}}

    apply = jax.jit(classifier.apply, static_argnames="train")
    scores, stages = apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_allclose(stages["conv6"], x, rtol=1e-6)  # dropout comes after it
    kept = stages["conv7"][:, :1, :1] > 0
    np.testing.assert_allclose(stages["conv7"], jnp.where(kept, 2 * x, 0), rtol=1e-6)
    assert 0 < kept.mean() < 1
    assert not np.allclose(scores[..., 0], stages["conv7"].sum(-1))  # dropout comes after it too

    scores, stages = apply(variables, x, train=False)
    np.testing.assert_allclose(stages["conv7"], x, rtol=1e-6)
    np.testing.assert_allclose(scores, jnp.broadcast_to(x.sum(-1, keepdims=True), scores.shape), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "in_float32"),
    [("32s", {"scores", "logits"}), ("16s", {"scores", "fused", "logits"}), ("8s", {"logits"})],
)
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32(name, in_float32):
    model = MODELS[name].clone(dtype="bfloat16")
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = abstract(Case(model, x.shape))
    rngs = {"dropout": jax.random.key(0)}
    (output, stages), moved = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, rngs=rngs, mutable=["batch_stats"]), variables, x
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, moved, output))} == {jnp.dtype("float32")}
    assert {name for name, stage in stages.items() if stage.dtype != jnp.bfloat16} == in_float32 | {"avgpool"}


@pytest.mark.parametrize("module", [fcn32s, fcn16s, fcn8s])
def test_a_depth_that_cannot_be_used(module):
    with pytest.raises(ConfigError, match="config.model.depth=12 is unknown; choose one of 11, 13"):
        call(module.Model, {"depth": 12}, group="model")


def test_a_kernel_of_fcn32s_that_cannot_be_used():
    with pytest.raises(ConfigError, match="config.model.kernel=0 must be 1 or more"):
        call(fcn32s.Model, {"kernel": 0}, group="model")
