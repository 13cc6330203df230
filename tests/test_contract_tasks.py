"""Every file of jaxcv/tasks keeps the contract of jaxcv/task.py: a new one is tested by being there."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from ml_collections import ConfigDict

import data_files
import jaxcv.tasks
import runs
from jaxcv.config import load_part, origin
from jaxcv.contract import check_contract
from jaxcv.data import shapes
from jaxcv.errors import ConfigError, describe
from jaxcv.experiment import build, build_task
from jaxcv.models import basenet, unet
from jaxcv.models.weights import from_torch, to_torch
from jaxcv.run import train
from jaxcv.run.pretrained import read_weights
from jaxcv.store.folder import Folder
from jaxcv.task import Task, check_functions
from jaxcv.tasks import classify
from jaxcv.tools.predict import load_run

TASKS = sorted(path.stem for path in (runs.ROOT / "jaxcv" / "tasks").glob("*.py") if "\ndef make(" in path.read_text())
SHAPES = {"name": "shapes", "size": 16, "count": 32}
BACKBONE = {"name": "basenet", "channels": (4, 8), "hidden": (8,), "batch_norm": True, "dtype": "float32"}
UNET = {"name": "unet", "depth": 1, "width": 4, "dtype": "float32"}
GROUPS = (  # what a task is tried with until it builds; a task that none of them fits adds its own here
    {"data": SHAPES, "augment": {"view1": {"order": ()}, "view2": {"order": ()}}, "model": BACKBONE},
    {"data": SHAPES, "augment": {"order": ()}, "model": BACKBONE},
    {"data": SHAPES | {"target": "mask"}, "augment": {"order": ()}, "model": UNET},
    {
        "data": {"name": "image_folder", "folder": "several", "size": 16, "labels": "{folder}.csv", "separator": " "},
        "augment": {"order": ()},
        "model": BACKBONE,
    },
    {"data": {"name": "color_index", "base": "shapes", "colors": 4, "count": 32}, "augment": {}, "model": UNET},
)


def tiny(task):
    """The config of a run of 2 steps of `task`, and its experiment."""
    config = runs.load_config("unet", "tiny")
    config.task = ConfigDict({"name": task})
    config.optim.update({"warmup_epochs": 0.0})
    config.train.update({"batch_size": 8, "log_every_steps": 1})
    config.eval.update({"batch_size": 8, "examples": 4, "best": ""})
    for group, name in ((config.train, "total"), (config.train, "save_every"), (config.eval, "every")):
        del group[f"{name}_epochs"]
        group[f"{name}_steps"] = 2 if name == "total" else 1
    refused = []
    for groups in GROUPS:
        for name, options in groups.items():
            config[name] = ConfigDict(options)
        config.data.update({"workers": 0, "limit": 0})
        try:
            experiment = build(config)
            jax.eval_shape(experiment.compiled.update, experiment.compiled.abstract, experiment.compiled.batch)
            return config, experiment
        except (ConfigError, TypeError, KeyError, ValueError) as error:
            refused.append(f"{type(error).__name__}: {error}")
    raise AssertionError(f"none of GROUPS in {__file__} fits the task {task!r}; add one that does: {refused}")


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """What is compiled for one run is there for the next."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()


@pytest.fixture(scope="module", autouse=True)
def several_labels(tmp_path_factory):
    """Images of which some have several labels, for GROUPS."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 8), ("val", 2)):
        data_files.csv_labels(root / "several" / split, ["cat", "dog", "cat dog", ""] * count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCV_DATA", str(root))
        yield


@pytest.mark.parametrize("name", TASKS)
def test_a_task_keeps_its_contract(name, tmp_path):
    config, experiment = tiny(name)
    task, abstract = experiment.task, experiment.compiled.abstract
    check_contract(experiment, name=name)  # a step keeps the form of the state, metrics are numbers

    # what is exported finds its way back
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), experiment.compiled.network)
    counted = jax.tree.map(lambda x: np.arange(x.size, dtype=x.dtype).reshape(x.shape), zeros)
    back = from_torch(to_torch(counted), zeros)
    jax.tree.map(np.testing.assert_array_equal, back, counted)
    params, model_state = task.set_network(abstract.params, abstract.model_state, back)
    jax.tree.map(np.testing.assert_array_equal, task.get_network(params, model_state), counted)
    assert jax.tree.structure((params, model_state)) == jax.tree.structure((abstract.params, abstract.model_state))

    # a run that is stopped and goes on ends as one that is not; its predictions need its workdir alone
    values = train.run(config, tmp_path / "whole")
    assert values and all(key.startswith(("test/", "val/")) for key in values)
    assert train.run(config, tmp_path / "again", should_stop=lambda: 1 in runs.steps(tmp_path / "again")) == {}
    assert not Folder(tmp_path / "again").read_result()
    assert train.run(config, tmp_path / "again") == values
    runs.assert_same_run(tmp_path / "whole", tmp_path / "again")
    assert read_weights(tmp_path / "whole").keys() == to_torch(counted).keys()
    if task.draw:
        assert {path.name for path in Folder(tmp_path / "whole").figures.glob("*.png")} > {"curves.png", "views.png"}
    if task.write:
        data_files.class_folders(tmp_path / "images", {"x": 3})
        trained = load_run(tmp_path / "whole")
        for out in (tmp_path / "out.json", tmp_path / "out"):  # rows, or masks
            try:
                task.write(trained, tmp_path / "images", str(out), batch_size=4, tile=0)
                break
            except Exception as error:
                assert "--out" in str(error), error
        assert len(json.loads(out.read_text()) if out.is_file() else list(out.rglob("*_overlay.png"))) == 3


def refused(monkeypatch, make):
    config, _ = tiny("classify")
    with monkeypatch.context() as patch:
        patch.setattr(classify, "make", make)
        with pytest.raises(ConfigError) as error:
            check_contract(build(config), name="classify")
    return str(error.value)


def test_what_breaks_the_contract_is_named(monkeypatch):
    whole = classify.make

    def incomplete(setup):
        task = whole(setup)
        return Task(task.model, task.init, loss=task.loss)

    with pytest.raises(TypeError, match=r"Task.__new__.* missing 2 required .*: 'measure' and 'summarize'"):
        refused(monkeypatch, incomplete)

    def forgetful(setup):
        task = whole(setup)

        def loss(*args):
            value, (_, metrics) = task.loss(*args)
            return value, ({"batch_stats": {}}, metrics)

        return task._replace(loss=loss)

    message = refused(monkeypatch, forgetful)
    assert "the task 'classify': model_state.batch_stats." in message and "absent after it" in message

    def wordy(setup):
        task = whole(setup)

        def loss(*args):
            value, (model_state, metrics) = task.loss(*args)
            return value, (model_state, {**metrics, "each": args[2]["label"]})

        return task._replace(loss=loss)

    assert "the metric 'each' of `loss` is int32[8]; it must be one number" in refused(monkeypatch, wordy)

    message = refused(monkeypatch, lambda setup: None)
    assert message == "what `make` in jaxcv/tasks/classify.py returns must be a Task, not a NoneType."
    assert "`predict` gives 'feature' as float32[] for 8 images" in refused(
        monkeypatch, lambda setup: whole(setup)._replace(predict=lambda *args: {"feature": jnp.zeros(())})
    )
    narrow = basenet.Model(2, (4, 8), (8,))
    message = refused(monkeypatch, lambda setup: whole(setup._replace(make_model=lambda num_classes: narrow)))
    assert message == "the network has 2 outputs; with num_classes=10 it must have 10."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": lambda params, batch: 0}, r"`loss` takes \(params, batch\), but is given 4 arguments"),
        ({"measure": None}, "`measure` is None, not a function"),
        ({"schedules": {"tau": 0.99}}, r"`schedules\['tau'\]` is 0.99, not a function"),
        ({"draw": lambda results: None}, r"`draw` takes \(results\), but is given 2 arguments"),
    ],
)
def test_a_function_that_takes_something_else_is_named(fields, message):
    task = Task(None, lambda key, batch: 0, lambda *args: 0, lambda params, state, batch: {}, dict)
    check_functions(task, "mine")
    with pytest.raises(ConfigError, match=f"^the task 'mine': {message}"):
        check_functions(task._replace(**fields), "mine")


def test_a_crop_and_a_model_that_cannot_be_are_named(monkeypatch):
    config, info = runs.load_config("unet", "tiny"), shapes.outline(size=16, target="mask")
    config.eval.crop = 17
    with pytest.raises(ConfigError, match="^config.eval.crop=17 is larger than the images .* 16 x 16 pixels"):
        build_task(config, info, total_steps=1)
    config.eval.crop = 0
    monkeypatch.setattr(unet.Model, "__call__", lambda self, x: x)
    with pytest.raises(ConfigError, match="`__call__` of Model in jaxcv/models/unet.py must have the argument 'train'"):
        build_task(config, info, total_steps=1)
    monkeypatch.setattr(unet, "Model", lambda depth, dtype, width=4: None)
    with pytest.raises(ConfigError, match="tests/test_contract_tasks.py must have the argument 'num_classes'"):
        build_task(config, info, total_steps=1)


def test_the_line_of_a_part_from_which_an_error_comes_is_named(monkeypatch, tmp_path):
    file = tmp_path / "jaxcv/tasks/faulty.py"
    file.parent.mkdir(parents=True)
    file.write_text("def make(setup):\n    def loss(x):\n        return {}['view1']\n    return loss\n")
    monkeypatch.setattr(jaxcv.tasks, "__path__", [*jaxcv.tasks.__path__, str(file.parent)])
    loss = load_part("tasks", "faulty", "make", group="task").make(None)
    with pytest.raises(KeyError) as error:
        jax.eval_shape(jax.grad(loss), 0.0)
    assert origin(error.value) == "jaxcv/tasks/faulty.py, line 3, in loss"
    assert describe(error.value) == "KeyError: 'view1'"
    with pytest.raises(ZeroDivisionError) as error:
        1 / 0  # noqa: B018
    assert origin(error.value) == ""


def test_a_part_that_cannot_be_loaded_is_named(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n\n\ndef make(setup):\n    pass\n")
    monkeypatch.setattr(jaxcv.tasks, "__path__", [*jaxcv.tasks.__path__, str(tmp_path)])
    with pytest.raises(ConfigError, match="jaxcv/tasks/broken.py cannot be loaded: ModuleNotFoundError: No module"):
        load_part("tasks", "broken", "make", group="task")
