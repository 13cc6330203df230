"""BYOL against the paper's formulas, on a backbone small enough to compute by hand."""

from types import SimpleNamespace
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.models.layers import BatchNorm, conv, global_avg_pool
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.step import make_init, make_update
from jaxcv.task import Setup
from jaxcv.tasks import byol

INFO = SimpleNamespace(mean=(0.5,) * 3, std=(0.25,) * 3)
BATCH = {
    "image": np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8),
    "label": np.arange(16, dtype=np.int32) % 4,
}


class Backbone(nn.Module):
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(BatchNorm(name="bn")(conv(8, 3, 2, 1, name="conv")(x), train=train))
        return global_avg_pool(x), {"conv": x}


def brighter(key, batch):
    """A stand-in for augmentation whose views can be told apart and recomputed."""
    x = (jnp.asarray(batch["image"], jnp.float32) / 255 - 0.5) / 0.25
    noise = jax.random.normal(key, x.shape)
    return {"view1": x + 0.1 * noise, "view2": 1.5 * x - 0.1 * noise, "label": batch["label"]}


def make(augment=brighter, total_steps=10, **options):
    setup = Setup(lambda num_classes: Backbone(), INFO, {}, total_steps)
    with mock.patch.object(byol, "make_augment", lambda info: augment):
        return call(byol.make, {"hidden": 16, "features": 6} | options, group="task", setup=setup)


def started(task, seed=0):
    return jax.jit(task.init)(jax.random.key(seed), BATCH)


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_the_targets_decay_rises_from_tau_to_one_by_a_cosine():
    decay = byol.make_decay(100, tau=0.9)
    expected = [1 - 0.1 * (np.cos(np.pi * k / 100) + 1) / 2 for k in range(101)]
    np.testing.assert_allclose([float(decay(k)) for k in range(101)], expected, rtol=1e-6)
    assert float(decay(0)) == pytest.approx(0.9) and float(decay(100)) == 1
    assert float(byol.make_decay(100, tau=0.99, tau_schedule="constant")(70)) == pytest.approx(0.99)


def test_the_loss_is_the_papers():
    """Eq. 2, symmetric: each view alone through both networks in train mode, the prediction of one against the
    projection of the other."""
    task = make()
    params, model_state = started(task)
    loss, (new, metrics) = jax.jit(task.loss)(params, model_state, BATCH, jax.random.key(3))

    def mlp(p, x):
        x = x @ p["linear1"]["kernel"] + p["linear1"]["bias"]
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * p["bn1"]["scale"] + p["bn1"]["bias"]
        return np.maximum(x, 0) @ p["linear2"]["kernel"]

    def backbone(p, x):
        y = jax.lax.conv_general_dilated(
            x, p["conv"]["kernel"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = np.asarray(y, np.float64)
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5) * p["bn"]["scale"] + p["bn"]["bias"]
        return np.maximum(y, 0).mean((1, 2)), y

    views = brighter(jax.random.key(3), BATCH)
    online, target = jax.device_get((params, model_state["target"]["params"]))
    total = 0
    for a, b in (("view1", "view2"), ("view2", "view1")):
        q = mlp(online["predictor"], mlp(online["projector"], backbone(online["backbone"], views[a])[0]))
        z = mlp(target["projector"], backbone(target["backbone"], views[b])[0])
        q, z = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, z))
        total += (((q - z) ** 2).sum(1)).mean()
    assert float(loss) == pytest.approx(total, rel=1e-4)
    assert float(metrics["online_target_cosine"]) == pytest.approx(1 - total / 4, abs=1e-4)

    # Running statistics saw view 1, then view 2, each with its own moments; the target has its own.
    for stats, p in ((new["batch_stats"], online), (new["target"]["batch_stats"], target)):
        mean = np.zeros(8)
        for name in ("view1", "view2"):
            y = jax.lax.conv_general_dilated(
                views[name],
                p["backbone"]["conv"]["kernel"],
                (2, 2),
                ((1, 1), (1, 1)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
            mean = 0.9 * mean + 0.1 * np.asarray(y).mean((0, 1, 2))
        np.testing.assert_allclose(stats["backbone"]["bn"]["mean"], mean, atol=1e-5)


def test_no_gradient_reaches_the_target():
    task = make()
    params, model_state = started(task)

    def loss(target):
        state = {**model_state, "target": {**model_state["target"], "params": target}}
        return task.loss(params, state, BATCH, jax.random.key(0))[0]

    grads = jax.jit(jax.grad(loss))(model_state["target"]["params"])
    assert all(float(jnp.abs(g).max()) == 0 for g in jax.tree.leaves(grads))


def test_the_target_starts_apart_or_as_a_copy():
    params, model_state = started(make())
    assert set(model_state["target"]["params"]) == {"backbone", "projector"}
    assert not same(params["backbone"], model_state["target"]["params"]["backbone"])
    params, model_state = started(make(target_init="copy"))
    assert same({name: params[name] for name in ("backbone", "projector")}, model_state["target"]["params"])
    assert same(started(make())[0], started(make())[0])


def test_the_target_moves_towards_the_new_online_parameters_after_the_step():
    task, tx = make(tau=0.8), make_optimizer("sgd", lambda step: 0.1)
    state = jax.jit(make_init(task, tx, seed=0))(BATCH)
    update = jax.jit(make_update(task, tx, seed=0))
    for k in range(3):
        new, _ = update(state, BATCH)
        tau = 1 - 0.2 * (np.cos(np.pi * k / 10) + 1) / 2
        expected = jax.tree.map(
            lambda t, p, tau=tau: tau * t + (1 - tau) * p,
            state.model_state["target"]["params"],
            {name: new.params[name] for name in ("backbone", "projector")},
        )
        jax.tree.map(
            lambda a, e: np.testing.assert_allclose(a, e, atol=1e-6), new.model_state["target"]["params"], expected
        )
        state = new


def test_predict_gives_the_online_backbones_features_by_running_statistics():
    predict = jax.jit(byol.make_predict(Backbone(), INFO, crop=6))
    params, model_state = started(make())
    feature = predict(params, model_state, BATCH["image"])["feature"]
    x = (BATCH["image"][:, 1:7, 1:7] / np.float32(255) - 0.5) / 0.25
    variables = {"params": params["backbone"], "batch_stats": model_state["batch_stats"]["backbone"]}
    np.testing.assert_allclose(feature, Backbone().apply(variables, x, train=False)[0], atol=1e-5)


def train(steps, **options):
    view = {
        "crop": {"size": 8, "area": (0.5, 1.0)},
        "flip": {"p": 0.5},
        "jitter": {"brightness": 0.4, "p": 1.0},
    }
    task = make(byol.make_augment(INFO, view1=view, view2=view), total_steps=steps, **options)
    tx = make_optimizer("sgd", lambda step: 0.3)
    state = jax.jit(make_init(task, tx, seed=0))(BATCH)
    update = jax.jit(make_update(task, tx, seed=0), donate_argnums=0)
    warnings = []
    for _ in range(steps):
        state, metrics = update(state, BATCH)
        warnings.append(byol.diagnose(jax.device_get(metrics)))
    return metrics, warnings


def test_without_predictor_and_norm_it_collapses_and_says_so():
    metrics, warnings = train(60, predictor=False, head_norm=False)
    assert "collapsed" in warnings[-1] and "feature_std" in warnings[-1]
    assert float(metrics["loss"]) < 0.01  # which is why the loss alone cannot be trusted


def test_as_published_it_learns_and_does_not_collapse():
    metrics, warnings = train(60)
    assert set(warnings) == {""}
    assert 0 < float(metrics["loss"]) < 2.5
    assert float(metrics["effective_rank"]) > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_init": "clone"}, "config.task.target_init='clone' is unknown; choose one of copy, separate."),
        (
            {"tau_schedule": "linear"},
            "config.task.tau_schedule='linear' is unknown; choose one of constant, cosine.",
        ),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)
