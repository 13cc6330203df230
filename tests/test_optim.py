"""Optimisers against torch's steps and transcriptions of the published code; what patterns freeze, scale and except."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from goldens import make_optim
from jaxcv.errors import ConfigError
from jaxcv.optim.optimizers import averaged, make_optimizer
from jaxcv.optim.parameters import not_bias_or_norm

GOLDEN = np.load(make_optim.FILE, allow_pickle=False)
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


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("case", make_optim.OPTIMIZERS)
def test_steps_are_torchs(case, groups):
    """With the decay on all parameters; or with the bias's own learning rate, and none on it, as a group of torch's."""
    ours, _ = make_optim.OPTIMIZERS[case]
    own = {"lr_multipliers": (("bias", make_optim.GROUPS["lr"]),)} if groups else {"decay_all": True}
    with jax.enable_x64(True):
        tx = make_optimizer(schedule=lambda step: make_optim.LR, weight_decay=make_optim.DECAY, **own, **ours)
        params, x, y = make_optim.problem()
        params = jax.tree.map(jnp.asarray, params)
        grad = jax.grad(lambda p: jnp.mean((x @ p["kernel"] + p["bias"][None] - y) ** 2))

        @jax.jit
        def step(params, state):
            updates, state = tx.update(grad(params), state, params)
            return optax.apply_updates(params, updates), state

        state = tx.init(params)
        for _ in range(make_optim.STEPS):
            params, state = step(params, state)
    for name, value in params.items():
        expected = GOLDEN[f"optimizer/{case}{'/groups' if groups else ''}/{name}"]
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10)


def lars(p, grads, lrs, *, decay, trust_coefficient, momentum, clip_lr):
    """Momentum of trust-scaled, decayed gradients; the learning rate outside; 1-d parameters only by momentum."""
    mu = np.zeros_like(p)
    for g, lr in zip(grads, lrs):
        if p.ndim > 1:
            g = g + decay * p
            ratio = trust_coefficient * np.linalg.norm(p) / np.linalg.norm(g)
            g = g * (min(ratio / lr, 1) if clip_lr else ratio)
        mu = momentum * mu + g
        p = p - lr * mu
    return p


CLOSED_FORMS = {  # what torch does not have: name, options, and what becomes of an array, (p, grads, lrs) -> p
    "lars of BYOL's code": ("lars", {"trust_coefficient": 0.02, "momentum": 0.9, "clip_lr": False}, lars),
    "lars of solo-learn": ("lars", {"trust_coefficient": 0.02, "momentum": 0.9, "clip_lr": True}, lars),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_steps_are_those_of_the_formula(case):
    name, options, formula = CLOSED_FORMS[case]
    lrs, decay = [0.1, 0.4, 0.3, 0.2], 0.05
    schedule = optax.piecewise_interpolate_schedule("linear", lrs[0], {1: 4.0, 2: 0.75, 3: 2 / 3})
    assert np.allclose([schedule(i) for i in range(4)], lrs)
    actual, _ = follow(make_optimizer(name, schedule, weight_decay=decay, options=options))
    expected = {
        layer: {
            leaf: formula(p, [g[layer][leaf] for g in GRADS], lrs, decay=decay, **options) for leaf, p in own.items()
        }
        for layer, own in PARAMS.items()
    }
    close(actual, expected, 1e-5)


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
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = make_optimizer("sgd", lambda step: 0.1, ema_decay=0.9).init(params)
    averaged(params, state)["conv"]["kernel"].delete()  # what donation does; the parameters must live on
    assert not_bias_or_norm(params) == {"conv": {"kernel": True}, "bn": {"scale": False, "bias": False}}
    np.testing.assert_array_equal(params["conv"]["kernel"], PARAMS["conv"]["kernel"])


def test_no_decay_excepts_what_its_patterns_match():
    given = {"weight_decay": 0.5, "options": {"momentum": 0.0}}
    zeros = [jax.tree.map(np.zeros_like, PARAMS)]
    for own, shrunk in (
        ({}, [("conv", "kernel")]),
        ({"no_decay": ("conv.*",)}, []),
        ({"decay_all": True}, [("conv", "kernel"), ("bn", "scale")]),
        ({"decay_all": True, "no_decay": ("*.scale",)}, [("conv", "kernel")]),
    ):
        actual, _ = follow(make_optimizer("sgd", lambda step: 0.1, **given, **own), grads=zeros)
        expected = {layer: dict(leaves) for layer, leaves in PARAMS.items()}
        for layer, name in shrunk:
            expected[layer][name] = 0.95 * PARAMS[layer][name]
        close(actual, expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_optimizer("larz", None), "config.optim.name='larz' is unknown; did you mean 'lars'?"),
        (
            lambda: make_optimizer("sgd", None, options={"nestorov": True}),
            "config.optim.sgd has no key 'nestorov'; did you mean 'nesterov'?",
        ),
        (
            lambda: make_optimizer("sgd", None, lr_multipliers=("conv.*", 0.1)),
            'config.optim.lr_multipliers must be pairs, such as (("backbone.*", 0.1),).',
        ),
        (
            lambda: make_optimizer("sgd", None, freeze=("cnv.*",)).init(PARAMS),
            "config.optim.freeze has 'cnv.*', which matches no parameter; did you mean 'conv.*'?",
        ),
        (lambda: make_optimizer("sgd", None, freeze=("conv.*", "bn.*")).init(PARAMS), "leaves nothing to train."),
        (lambda: make_optimizer("sgd", None, no_decay=("x",)).init(PARAMS), "config.optim.no_decay has 'x'"),
        (
            lambda: make_optimizer("sgd", None, lr_multipliers=(("x", 2.0),)).init(PARAMS),
            "config.optim.lr_multipliers has 'x'",
        ),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ConfigError) as error:
        build()
    assert message in str(error.value)
