"""Options by name, durations, and changes between configs."""

import pytest
from ml_collections import ConfigDict

from jaxcv import config
from jaxcv.errors import ConfigError


def function(given, *, needed, size=3):
    return given, needed, size


def test_call_passes_options_and_what_is_given():
    assert config.call(function, {"needed": 1}, group="data", given=0) == (0, 1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"needed": 1, "sise": 2}, "config.data has no key 'sise'; did you mean 'size'?"),
        ({"needed": 1, "xyz": 2}, "config.data has no key 'xyz'; choose one of needed, size."),
        ({"needed": 1, "given": 2}, "config.data has no key 'given'; choose one of needed, size."),
        ({}, "config.data.needed is missing."),
    ],
)
def test_call_names_wrong_options(options, message):
    with pytest.raises(ConfigError) as error:
        config.call(function, options, group="data", given=0)
    assert str(error.value) == message


def test_steps():
    group = {"total_epochs": 2.5, "warmup_steps": 7, "save_steps": 1, "save_epochs": 1.0, "back_steps": -1}
    assert config.duration(group, "total", group="train", steps_per_epoch=10) == 25
    assert config.duration(group, "warmup", group="train", steps_per_epoch=10) == 7
    for name, message in [
        ("save", "config.train must have one of save_steps and save_epochs; it has 2."),
        ("eval", "config.train must have one of eval_steps and eval_epochs; it has 0."),
        ("back", "config.train.back_steps=-1 is negative."),
    ]:
        with pytest.raises(ConfigError) as error:
            config.duration(group, name, group="train", steps_per_epoch=10)
        assert str(error.value) == message


def test_load_finds_modules_by_name_and_suggests_the_nearest():
    assert config.load_part("data", "shapes", "source", group="data").__name__ == "jaxcv.data.shapes"
    with pytest.raises(ConfigError, match="config.data.name='shape' is not in jaxcv/data; did you mean 'shapes'?"):
        config.load_part("data", "shape", "source", group="data")
    names = "cifar10, coco, color_index, fashion_mnist, flowers17, image_folder, mask_folder, shapes"
    with pytest.raises(ConfigError, match=f"choose one of {names}"):
        config.load_part("data", "pipeline", "source", group="data")  # is there, but no data set


def test_changes_names_each_key_that_differs():
    old = {"seed": 0, "optim": {"lr": 0.1, "betas": [0.9, 0.99]}, "data": {"dir": "a", "size": 3}}
    new = {"seed": 0, "optim": {"lr": 0.2, "betas": (0.9, 0.99)}, "data": {"dir": "b"}}
    assert config.changes(old, new, but=("data.dir",)) == ["data.size: 3 -> absent", "optim.lr: 0.1 -> 0.2"]


def test_require_names_the_first_missing_key():
    config.require(ConfigDict({"a": {"b": 1}}), "a", "a.b")
    with pytest.raises(ConfigError, match="config.a.c is missing"):
        config.require(ConfigDict({"a": {"b": 1}}), "a.b", "a.c")
