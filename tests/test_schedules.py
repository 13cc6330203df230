"""Schedules against torch's, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import make_optim
from jaxcv.errors import ConfigError
from jaxcv.optim.schedules import make_schedule

GOLDEN = np.load(make_optim.FILE, allow_pickle=False)
GIVEN = {"lr": make_optim.LR, "total_steps": make_optim.TOTAL, "steps_per_epoch": make_optim.EPOCH}


@pytest.mark.parametrize("case", make_optim.SCHEDULES)
def test_rates_are_torchs(case):
    schedule = make_schedule(**make_optim.SCHEDULES[case], **GIVEN)
    rates = jax.jit(jax.vmap(schedule))(jnp.arange(make_optim.TOTAL))
    np.testing.assert_allclose(rates, GOLDEN[f"schedule/{case}"], rtol=1e-5, atol=1e-6 * make_optim.LR)
    for step in (0, 9, 10, make_optim.TOTAL - 1):
        assert float(schedule(step)) == pytest.approx(float(rates[step]), rel=1e-5, abs=1e-7)


def test_schedules_end_where_they_should():
    """The drawn curve has one point more than the run has steps."""
    for name, final in (("constant", 0.1), ("cosine", 0.0), ("poly", 0.0), ("one_cycle", 0.1 / 25e4)):
        assert float(make_schedule(name, **GIVEN)(make_optim.TOTAL)) == pytest.approx(final, abs=1e-12)


def test_step_falls_at_the_very_step_when_compiled():
    """Where a compiled quotient of floats, as in optax's staircase, is below the whole number."""
    for every in (41, 82, 107, 397):
        options = {"every_steps": every, "gamma": 0.5}
        schedule = make_schedule("step", lr=1.0, total_steps=1000, steps_per_epoch=10, options=options)
        rates = jax.jit(jax.vmap(schedule))(jnp.array([every - 1, every, 2 * every - 1, 2 * every]))
        np.testing.assert_array_equal(rates, [1, 0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cosin", {}, "config.optim.schedule='cosin' is unknown; did you mean 'cosine'?"),
        ("cosine", {"warmup_steps": 40}, "the warm-up (40 steps) must end before the run (40)."),
        ("step", {}, "config.optim.step.every_steps is missing."),
        ("step", {"options": {"every_epoch": 2}}, "config.optim.step has no key 'every_epoch'; did you mean 'every_"),
        ("step", {"options": {"every_epochs": 0.1}}, "config.optim.step.every_steps=0 must be 1 or more."),
        (
            "step",
            {"options": {"every_epochs": 2, "every_steps": 2}},
            "config.optim.step must have one of every_steps and every_epochs; it has 2.",
        ),
        (
            "multi_step",
            {"options": {"milestones_epochs": (2, -1)}},
            "config.optim.multi_step.milestones_epochs=-1 is negative.",
        ),
        ("multi_step", {"options": {"milestones_steps": (4, 4)}}, "the milestones must rise from step 1, not (4, 4)."),
        (
            "exponential_decay",
            {"options": {"decay_rate": 0.0}},
            "config.optim.exponential_decay.decay_rate=0.0 must be above 0.",
        ),
        ("one_cycle", {"warmup_steps": 1}, "one_cycle has a warm-up of its own; set the other to 0."),
        (
            "one_cycle",
            {"options": {"anneal": "cos"}},
            "config.optim.one_cycle.anneal='cos' is unknown; did you",
        ),
        (
            "one_cycle",
            {"options": {"pct_start": 0.02}},
            "config.optim.one_cycle.pct_start=0.02 must leave steps to rise and to fall in 40.",
        ),
    ],
)
def test_mistakes_are_named(name, arguments, message):
    with pytest.raises(ConfigError) as error:
        make_schedule(name, **arguments, **GIVEN)
    assert message in str(error.value)
