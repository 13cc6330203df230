"""Settings outside of their range are refused in one sentence, before a folder is made."""

import math
from typing import Annotated

import pytest
from ml_collections import ConfigDict

import runs
from jaxcv.config import call, check_value
from jaxcv.errors import ConfigError
from jaxcv.ranges import Count, Decay, NonNegative, Positive, PositiveCount, Range, Share
from jaxcv.settings import read_settings, without_effect


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "text"),
    [
        (NonNegative, (0, 0.5, 1e9), (-0.1,), "0 or more"),
        (NonNegative, (), (math.nan, math.inf), "a finite number"),
        (Positive, (0.1, 3), (0, -1), "above 0"),
        (Share, (0, 1, 0.5), (-0.1, 1.1), "in [0, 1]"),
        (Decay, (0, 0.99), (1, 1.0), "in [0, 1)"),
        (Count, (0, 5), (-1,), "0 or more"),
        (PositiveCount, (1,), (0,), "1 or more"),
        (Annotated[float, Range(0, 1, "(")], (1, 0.5), (0,), "in (0, 1]"),
        (Annotated[tuple, Range(0)], ((0, 1), (), [2]), ((0, -1),), "0 or more"),
        (Count | None, (None, 1), (-1,), "0 or more"),
    ],
)
def test_ranges(annotation, good, bad, text):
    for value in good:
        check_value(value, annotation, "config.x")
    for value in bad:
        with pytest.raises(ConfigError) as error:
            check_value(value, annotation, "config.x")
        assert str(error.value) == f"config.x={value!r} must be {text}."


@pytest.mark.parametrize(
    ("annotation", "bad", "text"),
    [
        (int, 1.5, "a whole number"),
        (int, True, "a whole number"),
        (float, "fast", "a number"),
        (str, 3, "text"),
        (bool, 1, "True or False"),
        (float | None, "x", "a number"),
    ],
)
def test_types(annotation, bad, text):
    with pytest.raises(ConfigError, match=f"^config.x={bad!r} must be {text}.$"):
        check_value(bad, annotation, "config.x")


def test_a_part_brings_its_own_ranges():
    def optimizer(decay, *, momentum: Decay = 0.9):
        return decay, momentum

    assert call(optimizer, {"momentum": 0.5}, group="optim.mine", decay=1) == (1, 0.5)
    with pytest.raises(ConfigError, match=r"^config.optim.mine.momentum=7 must be in \[0, 1\)\.$"):
        call(optimizer, {"momentum": 7}, group="optim.mine", decay=1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "config.seed=-1 must be in [0, "),
        ("seed", 10**20, f"config.seed={10**20} must be in [0, "),
        ("optim.clip_norm", -1.0, "config.optim.clip_norm=-1.0 must be 0 or more."),
        ("optim.ema_decay", 1.5, "config.optim.ema_decay=1.5 must be in [0, 1)."),
        ("optim.weight_decay", -5.0, "config.optim.weight_decay=-5.0 must be 0 or more."),
        ("optim.lr", math.nan, "config.optim.lr=nan must be a finite number."),
        ("data.limit", -5, "config.data.limit=-5 must be 0 or more."),
        ("train.log_every_steps", 0, "config.train.log_every_steps=0 must be 1 or more."),
        ("train.batch_size", 0, "config.train.batch_size=0 must be 1 or more."),
        ("train.patience", -1, "config.train.patience=-1 must be 0 or more."),
        ("train.bacth_size", 3, "config.train has no key 'bacth_size'; did you mean 'batch_size'?"),
        ("eval.examples", 0, "config.eval.examples=0 must be 1 or more."),
        ("eval.report", "lst", "config.eval.report='lst' is unknown; did you mean 'last'?"),
        ("sed", 3, "config has no key 'sed'; did you mean 'seed'?"),
        ("optm", ConfigDict({"a": 1}), "config has no group 'optm'; did you mean 'optim'?"),
    ],
)
def test_settings_out_of_range(key, value, message):
    config = runs.load_config("unet", "tiny")
    group, _, name = key.rpartition(".")
    (config[group] if group else config)[name] = value
    with pytest.raises(ConfigError) as error:
        read_settings(config)
    assert str(error.value).startswith(message)


def test_keys_without_an_effect_are_told():
    config = runs.load_config("fashion_mnist", "tiny")
    keys = ["optim.lr", "optim.adam.b1", "optim.sgd.momentum", "init_allow", "eval.tile", "augment.flip.p"]
    optim = "config.optim.name is 'sgd', config.optim.schedule is 'cosine'"
    assert without_effect(config, keys) == [
        f"config.optim.adam.b1 has no effect: {optim}.",
        "config.init_allow has no effect: config.init_from is ''.",
        "config.eval.tile has no effect: config.task.name is 'classify'.",
    ]
    config.optim.name, config.init_from = "adam", "weights.pth"
    assert without_effect(config, ["optim.adam.b1", "init_allow"]) == []
