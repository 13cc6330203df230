"""The parts of docs/extend.md, taken out of the page: they train, resume and predict as it says."""

import re
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import data_files
import runs
import test_contract_tasks as contract
from jaxcv.data.check import check_source
from jaxcv.models.weights import to_torch
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.optim.schedules import make_schedule
from jaxcv.run import train
from jaxcv.tools.configs import load_config
from jaxcv.tools.predict import load_run

PAGE = (runs.ROOT / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"```python (\S+)\n(.*?)```", PAGE, re.DOTALL))
compiled = contract.compiled  # a fixture


@pytest.fixture(scope="module", autouse=True)
def parts(tmp_path_factory):
    """The folder in which the files of the page lie; those of packages are found as if they were there."""
    root, packages = tmp_path_factory.mktemp("extend"), set()
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if len(name.split("/")) == 3:
            packages.add(name.split("/")[1])
    rng = np.random.default_rng(0)
    image, label = rng.integers(0, 256, (80, 16, 16, 3), np.uint8), np.arange(80) % 4
    np.savez(root / "images.npz", image=image, label=label)
    np.savez(root / "several.npz", image=image, label=rng.integers(0, 2, (80, 3)).astype(np.uint8))
    modules = [import_module(f"jaxcv.{package}") for package in packages]
    for module in modules:
        module.__path__.append(str(root / "jaxcv" / module.__name__.rpartition(".")[2]))
    yield root
    for module in modules:
        module.__path__.pop()


def test_the_page_has_a_part_of_every_kind():
    kinds = {name.split("/")[1] for name in FILES if name.startswith("jaxcv/")}
    assert kinds == {"data", "models", "tasks", "optim", "evals"} and "my_convnext.py" in FILES


def test_a_model_arrays_lion_and_an_evaluator(parts, tmp_path):
    overrides = {"data.file": str(parts / "images.npz"), "evals.names": ("measure", "class_means")}
    config = load_config(str(parts / "my_convnext.py"), overrides)
    values = train.run(config, tmp_path / "run")
    assert {"val/accuracy", "test/class_means_accuracy"} <= values.keys()
    assert train.run(config, tmp_path / "run") == values  # resumes, and has nothing to do
    data_files.class_folders(tmp_path / "images", {"x": 2})
    trained = load_run(tmp_path / "run")
    trained.write(trained, tmp_path / "images", str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text().startswith("file,class,0,1,2,3\nx/000.png,")
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    model = import_module("jaxcv.models.convnext").Model()
    variables = jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)
    assert sum(x.size for x in jax.tree.leaves(variables)) == 28_589_128  # timm's and torchvision's convnext_tiny
    names = to_torch(jax.tree.map(lambda x: np.zeros(x.shape, np.float32), variables)).keys()
    assert {"stem.0.weight", "stages.0.blocks.0.gamma", "stages.1.downsample.1.bias", "head.fc.weight"} <= names


def test_an_optimiser_and_schedules():
    params = {"conv": {"kernel": jnp.array([[1.0, -2.0]])}}
    tx = make_optimizer("signum", lambda step: 0.1, options={"momentum": 0.5})
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["conv"]["kernel"], [[-0.1, 0.1]], rtol=1e-6)
    shared = {"lr": 2.0, "total_steps": 100, "steps_per_epoch": 10, "warmup_steps": 10}
    for name, options, expected in (
        ("wsd", {"decay_share": 0.2}, [0.0, 1.0, 2.0, 2.0, 2.0, 1.0, 0.0]),
        ("linear", {"end_value": 0.2}, [0.0, 1.0, 2.0, 1.4, 0.6, 0.4, 0.2]),
    ):
        schedule = make_schedule(name, **shared, options=options)
        np.testing.assert_allclose([float(schedule(step)) for step in (0, 5, 10, 40, 80, 90, 100)], expected, rtol=1e-6)


def test_simclr_keeps_the_contract(tmp_path):
    contract.test_a_task_keeps_its_contract("simclr", tmp_path)


def test_arrays_may_have_several_labels(parts):
    source = import_module("jaxcv.data.npz").source("train", file=str(parts / "several.npz"))
    check_source(source, "npz")
    assert set(source[0]) == {"image", "labels"} and source.info.classes == ("0", "1", "2")
