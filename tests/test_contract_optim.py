"""What every optimiser and every schedule must do, a file of jaxcv/optim by being there, and those of optax."""

import inspect
import re
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from goldens import make_optim
from jaxcv.config import part_names
from jaxcv.errors import ConfigError
from jaxcv.optim.optimizers import averaged, make_optimizer
from jaxcv.optim.schedules import make_schedule
from test_optim import CLOSED_FORMS

OPTIMIZERS = part_names("optim", "optimizer")
SCHEDULES = part_names("optim", "schedule")
PARTS = [("optimizer", name) for name in OPTIMIZERS] + [("schedule", name) for name in SCHEDULES]

RNG = np.random.default_rng(0)
PARAMS = {
    "conv": {"kernel": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)},
    "bn": {"scale": RNG.normal(size=4).astype(np.float32), "bias": RNG.normal(size=4).astype(np.float32)},
    "fc": {"kernel": RNG.normal(size=(4, 3)).astype(np.float32)},
}
GRADS = [jax.tree.map(lambda x: RNG.normal(size=x.shape).astype(np.float32), PARAMS) for _ in range(3)]
RISING = optax.schedules.linear_schedule(0.1, 0.3, 2)


def follow(tx, params=PARAMS, grads=GRADS):
    """Parameters and state after a step for each of the gradients, compiled."""

    @jax.jit
    def step(g, state, params):
        updates, state = tx.update(g, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.jit(tx.init)(params)
    for g in grads:
        params, state = step(g, state, params)
    return params, state


def close(actual, expected, tolerance=1e-6):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance), actual, expected)


# ---------------------------------------------------------------------------------------------------- every file's part


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_is_compared_with_another_source(name):
    compared = {ours["name"] for ours, _ in make_optim.OPTIMIZERS.values()} | {
        name for name, *_ in CLOSED_FORMS.values()
    }
    assert name in compared, (
        f"nothing says what the steps of jaxcv/optim/{name}.py must be: add a case to OPTIMIZERS of "
        "tests/goldens/make_optim.py, where torch has it, or to CLOSED_FORMS of tests/test_optim.py"
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_compared_with_another_source(name):
    assert name in {case["name"] for case in make_optim.SCHEDULES.values()}, (
        f"nothing says what the rates of jaxcv/optim/{name}.py must be: add a case to SCHEDULES and torch_rates of "
        "tests/goldens/make_optim.py, and make its file anew"
    )


@pytest.mark.parametrize(("public", "name"), PARTS)
def test_what_a_part_takes_is_documented(public, name):
    function = getattr(import_module(f"jaxcv.optim.{name}"), public)
    parameters = inspect.signature(function).parameters.values()
    given = [x.name for x in parameters if x.kind is x.POSITIONAL_OR_KEYWORD]
    assert given == {"optimizer": ["schedule", "decay"], "schedule": ["lr", "total_steps", "warmup_steps"]}[public]
    options = [x.name for x in parameters if x.kind is x.KEYWORD_ONLY]
    assert len(given) + len(options) == len(parameters)
    described = set(re.findall(r"\w+", function.__doc__))
    assert not set(options) - described, f"the docstring does not say what these are: {set(options) - described}"


@pytest.mark.parametrize(("public", "name"), PARTS)
def test_an_unknown_option_is_refused(public, name):
    with pytest.raises(ConfigError, match=f"^config.optim.{name} has no key 'anneall'"):
        if public == "optimizer":
            make_optimizer(name, RISING, options={"anneall": 1})
        else:
            make_schedule(name, lr=0.1, total_steps=9, steps_per_epoch=3, options={"anneall": 1})


# ----------------------------------------------------------------------------------------------------------- optimisers


@pytest.mark.parametrize("name", [*OPTIMIZERS, "lion", "muon"])
def test_training_is_as_if_the_frozen_were_not_there(name):
    """Clipping, decay, state and average; and the frozen parameters stay bit for bit, -0.0 too."""
    frozen = {"kernel": np.full((5, 7), -0.0, np.float32), "bias": RNG.normal(size=7).astype(np.float32)}
    given = {"schedule": RISING, "weight_decay": 0.1, "clip_norm": 0.5, "ema_decay": 0.9}
    factors = (("bn.*", 0.5),)
    patterns = {"freeze": ("stem.*",), "no_decay": ("stem.kernel",), "lr_multipliers": (("stem.*", 9.0), *factors)}
    huge = {"stem": jax.tree.map(lambda x: np.full_like(x, 1e3), frozen)}
    params, state = follow(
        make_optimizer(name, **given, **patterns), {**PARAMS, "stem": frozen}, [g | huge for g in GRADS]
    )
    alone, alone_state = follow(make_optimizer(name, lr_multipliers=factors, **given))
    close({layer: params[layer] for layer in PARAMS}, alone)
    close(jax.tree.leaves(state), jax.tree.leaves(alone_state))
    for leaf, value in params["stem"].items():
        assert np.asarray(value).tobytes() == frozen[leaf].tobytes()
    mean = averaged(params, state)
    close({layer: mean[layer] for layer in PARAMS}, averaged(alone, alone_state))
    assert mean["stem"]["kernel"] is params["stem"]["kernel"]


@pytest.mark.parametrize("name", [*OPTIMIZERS, "lion", "adagrad"])
def test_weight_decay_is_where_it_should_be(name):
    """Without gradients only what decays moves, towards zero."""
    zeros = [jax.tree.map(np.zeros_like, PARAMS)]
    for own, shrunk in (
        ({}, ["conv.kernel", "fc.kernel"]),
        ({"no_decay": ("fc.*",)}, ["conv.kernel"]),
        ({"decay_all": True, "no_decay": ("*.scale",)}, ["conv.kernel", "bn.bias", "fc.kernel"]),
    ):
        tx = make_optimizer(name, lambda step: 1e-3, weight_decay=0.1, **own)
        updates, _ = tx.update(zeros[0], tx.init(PARAMS), PARAMS)
        for layer, leaves in updates.items():
            for leaf, update in leaves.items():
                if f"{layer}.{leaf}" in shrunk:
                    np.testing.assert_array_equal(np.sign(update), -np.sign(PARAMS[layer][leaf]))
                else:
                    assert not np.any(update)


def check_steps(tx):
    """Its steps move all parameters, to finite values, and the state is of arrays of numbers, as it was before them."""
    before = jax.eval_shape(tx.init, PARAMS)
    params, state = follow(tx, grads=GRADS[:2])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((params, state)))
    assert all(np.any(x != y) for x, y in zip(jax.tree.leaves(params), jax.tree.leaves(PARAMS)))
    assert all(leaf.dtype.kind in "iufb" and leaf.size for leaf in jax.tree.leaves(state))  # can be saved
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps(name):
    check_steps(make_optimizer(name, RISING, weight_decay=0.1, clip_norm=1.0, ema_decay=0.9))


# -------------------------------------------------------------------------------------------------- optimisers of optax

USABLE = {  # these at least
    *("adabelief", "adadelta", "adafactor", "adagrad", "adamax", "adamaxw", "adan", "amsgrad", "fromage", "lamb"),
    *("lion", "nadam", "nadamw", "novograd", "optimistic_gradient_descent", "radam", "sign_sgd", "yogi"),
    *("acprop", "ademamix", "adopt", "cocob", "dadapt_adamw", "madgrad", "muon", "prodigy"),
}
OTHERS = sorted({*dir(optax), *dir(optax.contrib)} - {*OPTIMIZERS, *USABLE})


@pytest.mark.parametrize("name", sorted(USABLE))
def test_optimisers_of_optax(name):
    check_steps(make_optimizer(name, RISING, clip_norm=1.0))


def test_whatever_else_optax_has_works_or_is_refused():
    works = []
    for name in OTHERS:
        try:
            tx = make_optimizer(name, RISING)
        except ConfigError as error:
            assert str(error).startswith(f"config.optim.name={name!r} ") and "\n" not in str(error)
        else:
            check_steps(tx)
            works.append(name)
    assert len(works) < len(OTHERS) / 4


def decayed(params):
    return {"conv": {"kernel": True}, "bn": {"scale": False, "bias": False}, "fc": {"kernel": True}}


MASKED = {"weight_decay": 0.1, "mask": decayed}
DECAY = optax.add_decayed_weights(0.1, decayed)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lion", {"b1": 0.8}, optax.lion(RISING, b1=0.8, **MASKED)),
        ("nadamw", {}, optax.nadamw(RISING, **MASKED)),
        ("adagrad", {"eps": 1e-3}, optax.chain(DECAY, optax.adagrad(RISING, eps=1e-3))),
        ("nadam", {}, optax.chain(DECAY, optax.nadam(RISING))),
        ("adafactor", {}, optax.adafactor(RISING, weight_decay_rate=0.1, weight_decay_mask=decayed)),
        (
            "muon",
            {"ns_steps": 3, "adam_weight_decay": 0.2},
            optax.contrib.muon(
                RISING, ns_steps=3, weight_decay=0.1, weight_decay_mask=lambda p: True, adam_weight_decay=0.2
            ),
        ),
    ],
    ids=["lion", "nadamw", "adagrad", "nadam", "adafactor", "muon"],
)
def test_schedule_and_decay_reach_an_optimiser_of_optax_once(name, options, expected):
    actual, _ = follow(make_optimizer(name, RISING, weight_decay=0.1, options=options))
    close(actual, follow(expected)[0])


def test_lion_by_hand():
    """The sign of a mean of gradients, and the decay, both times the learning rate."""
    actual, _ = follow(make_optimizer("lion", lambda step: 0.1, weight_decay=0.2), grads=GRADS[:1])
    kernel = PARAMS["fc"]["kernel"]
    close(actual["fc"]["kernel"], kernel - 0.1 * (np.sign(GRADS[0]["fc"]["kernel"]) + 0.2 * kernel))
    close(actual["bn"]["bias"], PARAMS["bn"]["bias"] - 0.1 * np.sign(GRADS[0]["bn"]["bias"]))


def test_what_cannot_leave_out_biases_decays_all_or_nothing():
    with pytest.raises(ConfigError, match="'madgrad' decays all parameters or none: set config.optim.weight_decay=0.0"):
        make_optimizer("madgrad", RISING, weight_decay=0.1)
    actual, _ = follow(make_optimizer("madgrad", RISING, weight_decay=0.1, decay_all=True))
    close(actual, follow(optax.contrib.madgrad(RISING, weight_decay=0.1))[0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lionn", {}, "config.optim.name='lionn' is unknown; did you mean 'lion'?"),
        ("lion", {"b3": 0.1}, "config.optim.lion has no key 'b3'; choose one of b1, b2, mu_dtype."),
        ("lion", {"weight_decay": 0.1}, "config.optim.lion has no key 'weight_decay'; choose one of"),
        ("lion", {"b1": "high"}, "config.optim.lion.b1='high' must be a number."),
        ("lbfgs", {}, 'optax says "scale_by_zoom_linesearch.<locals>.update_fn() missing 3 required keyword-only'),
        ("dpsgd", {}, "optax's function of that name needs l2_norm_clip, noise_multiplier, seed too."),
        ("sm3", {}, "optax's function of that name takes a number as its learning rate, but no schedule."),
        ("noisy_sgd", {}, "optax's function of that name has a random key in its state, which is not saved."),
        ("galore", {}, "config.optim.name='galore' cannot be used: its state has empty arrays, which are not saved."),
        ("scale_by_adam", {}, "optax's function of that name is no optimiser that takes a learning rate."),
    ],
)
def test_what_optax_cannot_do_is_said(name, options, message):
    with pytest.raises(ConfigError) as error:
        make_optimizer(name, RISING, options=options)
    assert message in str(error.value)


# ------------------------------------------------------------------------------------------------------------ schedules

LR, TOTAL, WARMUP = 0.1, 40, 7
NEEDED = {  # options without a default
    "step": {"every_steps": 20},
    "multi_step": {"milestones_steps": (20, 30)},
    "exponential_decay": {"decay_rate": 0.5},
    "warmup_exponential_decay": {"decay_rate": 0.5},
    "linear": {"end_value": 0.0},
    "polynomial": {"end_value": 0.0, "power": 2},
}
OF_OPTAX = ("cosine_decay", "cosine_decay_schedule", "exponential_decay", "linear", "polynomial", "cosine_onecycle")
OF_OPTAX += ("linear_onecycle", "warmup_constant", "warmup_cosine_decay", "warmup_exponential_decay")


def make(name, warmup_steps=0, options=()):
    options = NEEDED.get(name, {}) | dict(options)
    return make_schedule(name, lr=LR, total_steps=TOTAL, steps_per_epoch=5, warmup_steps=warmup_steps, options=options)


def curve(schedule, start=0):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(start, TOTAL + 1)))


@pytest.mark.parametrize("name", [*SCHEDULES, *OF_OPTAX])
def test_rates(name):
    """Finite, positive until the end, the same when compiled; the highest is `lr`, where the warm-up ends."""
    schedule = make(name)
    rates = curve(schedule)
    assert np.isfinite(rates).all() and (rates[:-1] > 0).all() and rates[-1] > -1e-8
    for step in (0, 1, TOTAL // 2, TOTAL - 1, TOTAL):
        assert float(schedule(step)) == pytest.approx(float(rates[step]), rel=1e-5, abs=1e-8)
    if "cycle" in name:  # it has a warm-up of its own
        assert rates[0] == pytest.approx(LR / 25) and rates[1:].max() == pytest.approx(LR, rel=0.05)
        with pytest.raises(ConfigError, match=f"{name} has a warm-up of its own; set the other to 0"):
            make(name, WARMUP)
        return
    assert rates[0] == pytest.approx(LR) == rates.max()
    warm = curve(make(name, WARMUP))
    np.testing.assert_allclose(warm[: WARMUP + 1], LR * np.arange(WARMUP + 1) / WARMUP, rtol=1e-5)
    assert (np.diff(warm[WARMUP:]) <= 1e-8).all()


def test_schedules_of_optax_begin_where_the_warm_up_ends_and_last_as_long_as_the_run():
    s, left = optax.schedules, TOTAL - WARMUP
    for name, expected in (
        ("cosine_decay", s.cosine_decay_schedule(LR, left)),
        ("polynomial", s.polynomial_schedule(LR, 0.0, 2, left)),
        ("warmup_exponential_decay", s.exponential_decay(LR, left, 0.5)),
        ("warmup_cosine_decay", s.cosine_decay_schedule(LR, left)),
    ):
        np.testing.assert_allclose(curve(make(name, WARMUP), WARMUP), curve(expected)[: left + 1], rtol=1e-5, atol=1e-8)


def test_the_length_of_a_schedule_of_optax_can_be_given_in_steps_or_epochs():
    in_steps, in_epochs = make("cosine_decay", 0, {"decay_steps": 10}), make("cosine_decay", 0, {"decay_epochs": 2})
    np.testing.assert_array_equal(curve(in_steps), curve(in_epochs))
    assert float(in_steps(5)) == pytest.approx(LR / 2) and float(in_steps(10)) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosine_deca", {}, "config.optim.schedule='cosine_deca' is unknown; did you mean 'cosine_decay'?"),
        ("cosine_decay", {"alfa": 1}, "config.optim.cosine_decay has no key 'alfa'; did you mean 'alpha'?"),
        (
            "cosine_decay",
            {"decay_steps": 0},
            "config.optim.cosine_decay cannot be used: optax says 'The cosine_decay_sch",
        ),
        ("warmup_cosine_decay", {"warmup_steps": 3}, "config.optim.warmup_cosine_decay has no key 'warmup_steps'"),
        (
            "piecewise_constant",
            {},
            "config.optim.schedule='piecewise_constant' cannot be used: optax's function of that",
        ),
        (
            "sgdr",
            {},
            "takes no learning rate (init_value, peak_value), or no number of steps (decay_steps, transition_",
        ),
    ],
)
def test_schedules_that_optax_cannot_give_are_refused(name, options, message):
    with pytest.raises(ConfigError) as error:
        make(name, 0, options)
    assert message in str(error.value)
