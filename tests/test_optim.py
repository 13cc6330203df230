"""Schedules against closed forms, optimisers against transcriptions of the published code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.errors import ConfigError
from jaxcv.optim import averaged, make_optimizer, make_schedule, not_bias_or_norm

RNG = np.random.default_rng(0)
PARAMS = {
    "conv": {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)},
    "bn": {"scale": RNG.normal(size=4).astype(np.float32), "bias": np.zeros(4, np.float32)},
}
GRADS = [jax.tree.map(lambda x: RNG.normal(size=x.shape).astype(np.float32), PARAMS) for _ in range(4)]


def follow(tx, params=PARAMS, grads=GRADS):
    state = tx.init(params)
    for g in grads:
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def close(actual, expected, tolerance=1e-6):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance), actual, expected)


def test_cosine_warms_up_linearly_and_ends_at_zero():
    schedule = make_schedule("cosine", lr=2.0, total_steps=110, warmup_steps=10)
    steps = np.arange(111)
    expected = np.where(steps < 10, 0.2 * steps, 1 + np.cos(np.pi * (steps - 10) / 100))
    np.testing.assert_allclose([float(schedule(s)) for s in steps], expected, atol=1e-6)


def test_constant_warms_up_and_stays():
    schedule = make_schedule("constant", lr=0.5, total_steps=10, warmup_steps=2)
    np.testing.assert_allclose([float(schedule(s)) for s in (0, 1, 2, 9)], [0, 0.25, 0.5, 0.5])
    assert float(make_schedule("constant", lr=0.5, total_steps=10)(0)) == 0.5


@pytest.mark.parametrize("clip_lr", [False, True])
def test_lars_is_that_of_byols_code_and_clips_as_solo_learn(clip_lr):
    """Momentum of trust-scaled, decayed gradients; the learning rate outside; 1-d parameters only by momentum."""
    lrs, eta, decay, momentum = [0.1, 0.4, 0.3, 0.2], 0.02, 0.05, 0.9
    schedule = optax.piecewise_interpolate_schedule("linear", lrs[0], {1: 4.0, 2: 0.75, 3: 2 / 3})
    assert np.allclose([schedule(i) for i in range(4)], lrs)
    options = {"trust_coefficient": eta, "momentum": momentum, "clip_lr": clip_lr}
    actual, _ = follow(make_optimizer("lars", schedule, weight_decay=decay, options=options))
    expected = {}
    for layer, leaves in PARAMS.items():
        for name, p in leaves.items():
            mu = np.zeros_like(p)
            for g, lr in zip((g[layer][name] for g in GRADS), lrs):
                if p.ndim > 1:
                    g = g + decay * p
                    ratio = eta * np.linalg.norm(p) / np.linalg.norm(g)
                    g = g * (min(ratio / lr, 1) if clip_lr else ratio)
                mu = momentum * mu + g
                p = p - lr * mu
            expected.setdefault(layer, {})[name] = p
    close(actual, expected, 1e-5)


def test_sgd_adds_the_decay_to_the_gradient_of_kernels_only():
    actual, _ = follow(
        make_optimizer("sgd", lambda step: 0.1, weight_decay=0.5, options={"momentum": 0.0}), grads=GRADS[:1]
    )
    g = GRADS[0]
    close(
        actual["conv"]["kernel"],
        PARAMS["conv"]["kernel"] - 0.1 * (g["conv"]["kernel"] + 0.5 * PARAMS["conv"]["kernel"]),
    )
    close(actual["bn"]["scale"], PARAMS["bn"]["scale"] - 0.1 * g["bn"]["scale"])


def test_adam_couples_the_decay_and_adamw_does_not():
    """The first step of Adam is lr * sign(g), whatever the decay's share of g; AdamW adds lr * decay * p."""
    kernel, g = PARAMS["conv"]["kernel"], GRADS[0]["conv"]["kernel"]
    adam, _ = follow(make_optimizer("adam", lambda step: 0.1, weight_decay=0.5), grads=GRADS[:1])
    close(adam["conv"]["kernel"], kernel - 0.1 * np.sign(g + 0.5 * kernel), 1e-5)
    adamw, _ = follow(make_optimizer("adamw", lambda step: 0.1, weight_decay=0.5), grads=GRADS[:1])
    close(adamw["conv"]["kernel"], kernel - 0.1 * (np.sign(g) + 0.5 * kernel), 1e-5)


def test_global_norm_clipping():
    actual, _ = follow(
        make_optimizer("sgd", lambda step: 1.0, clip_norm=0.1, options={"momentum": 0.0}), grads=GRADS[:1]
    )
    moved = jax.tree.map(np.subtract, PARAMS, actual)
    assert float(optax.tree.norm(moved)) == pytest.approx(0.1, rel=1e-4)


def test_the_average_of_the_parameters_follows_them():
    tx = make_optimizer("sgd", lambda step: 0.1, ema_decay=0.75, options={"momentum": 0.0})
    params, state = follow(tx)
    p, average = PARAMS, PARAMS
    for g in GRADS:
        p = jax.tree.map(lambda x, y: x - 0.1 * y, p, g)
        average = jax.tree.map(lambda a, x: 0.75 * a + 0.25 * x, average, p)
    close(params, p)
    close(averaged(params, state), average)
    plain, state = follow(make_optimizer("sgd", lambda step: 0.1))
    assert averaged(plain, state) is plain


def test_the_average_has_buffers_of_its_own():
    state = make_optimizer("sgd", lambda step: 0.1, ema_decay=0.9).init(jax.tree.map(jnp.asarray, PARAMS))
    kernel = averaged(None, state)["conv"]["kernel"]
    kernel.delete()  # what donation does; the parameters must live on
    assert not_bias_or_norm(PARAMS) == {"conv": {"kernel": True}, "bn": {"scale": False, "bias": False}}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: make_schedule("cosin", lr=1.0, total_steps=2),
            "config.optim.schedule='cosin' is unknown; did you mean 'cosine'?",
        ),
        (lambda: make_optimizer("larz", None), "config.optim.name='larz' is unknown; did you mean 'lars'?"),
        (
            lambda: make_optimizer("sgd", None, options={"nestorov": True}),
            "config.optim.sgd has no key 'nestorov'; did you mean 'nesterov'?",
        ),
        (
            lambda: make_schedule("cosine", lr=1.0, total_steps=5, warmup_steps=5),
            "the warm-up (5 steps) must end before the run (5).",
        ),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ConfigError) as error:
        build()
    assert message in str(error.value)
