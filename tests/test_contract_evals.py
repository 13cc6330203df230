"""Every file of jaxcv/evals keeps the contract of jaxcv/evals/evaluator.py: a new one is tested by being there."""

import numpy as np
import pytest
from ml_collections import ConfigDict

import runs
from jaxcv.config import load_part, part_names
from jaxcv.contract import check_values
from jaxcv.errors import ConfigError
from jaxcv.evals.evaluator import EvalSetup, LeftOut
from jaxcv.experiment import build, build_evaluators
from jaxcv.mesh import put
from jaxcv.run.evaluate import make_evaluation
from jaxcv.run.plan import make_plan
from jaxcv.store.stop import never

EVALS = part_names("evals", "make")


@pytest.fixture(scope="module")
def experiment():
    """A tiny BYOL run, on 4 devices, with all evaluators, of which each has a period of its own."""
    config = runs.load_config("byol", "tiny")
    periods = {name: {"every_steps": period} for period, name in enumerate(EVALS, 2)}
    config.evals = ConfigDict({"names": tuple(EVALS), **periods})
    return build(config)


def test_each_has_its_period(experiment):
    plan = make_plan(experiment)
    assert plan.periods == {name: period for period, name in enumerate(EVALS, 2)}
    assert plan.evaluators(0) == plan.evaluators(plan.total_steps) == EVALS
    assert plan.evaluators(1) == [] and EVALS[0] in plan.evaluators(2) and EVALS[1] not in plan.evaluators(2)


def test_numbers_of_whole_splits_by_name(experiment):
    with experiment.data.open_batches(start=0) as batches:
        state = experiment.compiled.init(put(experiment.mesh, next(batches)))
    evaluate = make_evaluation(experiment, never).evaluate
    seen = set()
    for name in EVALS:
        values, arrays = evaluate(state, ("val",), [name])
        again, _ = evaluate(state, ("val",), [name])
        assert values == again and values and all(np.isfinite(value) for value in values.values()), name
        assert all(key.startswith("val/") for key in [*values, *arrays]), name
        metrics = load_part("evals", name, "make", group="evals").METRICS
        assert {f"val/{metric}" for metric in metrics} <= values.keys(), name
        assert not seen & values.keys(), f"{name} gives a metric of another evaluator"
        seen |= values.keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "gives a NoneType, not a dictionary of metrics"),
        ({"accuracy": 0.5}, "gives 'accuracy'; a metric needs its split, as in 'val/accuracy'"),
        ({"val/accuracy": "0.5"}, "gives '0.5' as 'val/accuracy', which is no number"),
    ],
)
def test_what_an_evaluator_may_not_give_is_named(values, message):
    check_values({"val/accuracy": np.float32(0.5), "val/each": np.ones(2)}, ("val",), "mine")
    with pytest.raises(ConfigError, match=f"^the evaluator 'mine' {message}"):
        check_values(values, ("val",), "mine")


def test_nothing_that_measures_is_refused(experiment):
    setup = EvalSetup(experiment.task, experiment.info._replace(classes=()), experiment.mesh, experiment.compiled.batch)
    for names, why in (((), "it is empty"), (("knn",), "knn needs more, as the images have no labels")):
        with pytest.raises(ConfigError, match=f"config.evals.names must name what measures .*: {why}"):
            build_evaluators(ConfigDict({"names": names}), setup)


@pytest.mark.parametrize("name", EVALS)
def test_without_labels_it_measures_or_is_left_out(name, experiment):
    batch = {key: value for key, value in experiment.compiled.batch.items() if key != "label"}
    setup = EvalSetup(experiment.task, experiment.info._replace(classes=()), experiment.mesh, batch)
    module = load_part("evals", name, "make", group="evals")
    try:
        assert callable(module.make(setup))
    except LeftOut as reason:
        assert str(reason) == "the images have no labels"
        assert module.METRICS, "what is left out must be known by name"
