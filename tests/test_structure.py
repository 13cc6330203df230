"""Arrows point one way: who may import whom, that importing stays light, and that configs are data."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIBRARIES = {
    "absl",
    "flax",
    "grain",
    "jax",
    "matplotlib",
    "ml_collections",
    "numpy",
    "optax",
    "orbax",
    "PIL",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "torch",
}
# what every part may use
GROUND = {"config", "errors", "machine", "prng", "mesh", "ranges", "settings", "step", "task"}
ALLOWED = {  # file or folder -> what it may import, besides the standard library, GROUND and its own folder
    "errors": set(),
    "config": set(),
    "ranges": set(),
    "settings": {"ml_collections"},
    "prng": {"jax"},
    "machine": set(),
    "mesh": {"jax", "numpy"},
    "xla": {"jax"},
    "step": {"jax", "optax"},
    "task": {"jax", "numpy"},
    "ops": {"jax"},
    "models": {"jax", "flax", "numpy"},
    "data": {"numpy", "grain", "PIL", "absl", "scipy", "sklearn", "threadpoolctl"},
    "measure": {"jax", "numpy", "optax"},
    "evals": {"jax", "numpy", "optax"},
    "optim": {"jax", "flax", "numpy", "optax", "models"},
    "report": {"numpy", "PIL", "matplotlib", "rich", "sklearn", "threadpoolctl", "store"},
    "predict": {"numpy", "PIL", "data", "report", "store"},
    "tasks": {"jax", "flax", "optax", "numpy", "models", "measure", "ops", "predict", "report"},
    "store": {"jax", "numpy", "orbax", "safetensors", "torch"},  # torch, if there, for .pth
    "experiment": {"jax", "flax", "numpy", "optax", "data", "evals", "optim", "xla"},
    "contract": {"jax", "numpy", "experiment"},
    "run": {
        "contract",
        "jax",
        "numpy",
        "ml_collections",
        "data",
        "evals",
        "experiment",
        "measure",
        "models",
        "optim",
        "report",
        "store",
    },
    "__main__": {"store", "tools"},
    "tools": {
        *("absl", "flax", "jax", "ml_collections", "numpy", "optax", "torch"),  # torch for bench, if there
        *("contract", "experiment", "models", "optim", "predict", "report", "run", "store", "xla"),
    },
}
FILES = sorted((ROOT / "jaxcv").rglob("*.py"))


def imported(path):
    """First names of what a file imports; of jaxcv's own, the name behind `jaxcv.`"""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"jaxcv.{a.name}" for a in node.names] if node.module == "jaxcv" else [node.module]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            yield rest.split(".")[0] if first == "jaxcv" else first


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT / "jaxcv").parts[0].removesuffix(".py")
    own = {p.stem if p.suffix else p.name for p in (ROOT / "jaxcv").iterdir()}
    if part == "__init__":  # loads its functions when they are used; a type checker is told where they are
        tree = ast.parse(path.read_text())
        assert {node.module for node in tree.body if isinstance(node, ast.ImportFrom)} == {"pkgutil", "typing"}
        assert not any(isinstance(node, ast.Import) for node in tree.body)
        return
    for name in imported(path):
        if name in own or name in LIBRARIES:
            assert name in ALLOWED[part] | GROUND | {part}, f"{path} must not import {name}"
        else:
            assert name in sys.stdlib_module_names or name in ("", "__version__"), (
                f"{path} imports {name}, which is no dependency"
            )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("[!_]*.py")), ids=lambda path: path.name)
def test_configs_import_base_and_ml_collections_and_nothing_else(path):
    if path.name == "base.py":
        assert set(imported(path)) - sys.stdlib_module_names == {"ml_collections"}
        return
    assert set(imported(path)) == {"configs", "ml_collections"}
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    assert names == {"jaxcv.configs.base", "ml_collections.ConfigDict"}


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [file.parent.relative_to(ROOT) for file in (ROOT / "jaxcv").rglob("__init__.py")]
    found = [".".join(folder.parts) for folder in folders]
    assert sorted(listed) == sorted([*found, "jaxcv.configs", "jaxcv.launch"])


def test_commands_are_thin():
    own = {"errors", "experiment", "models", "report", "run", "store", "tools"}
    for path in (ROOT / "launch").glob("*.py"):
        assert set(imported(path)) <= own | {"jax", "ml_collections"} | sys.stdlib_module_names


def test_one_file_spells_the_names_of_a_runs_files():
    names = ("config.json", "manifest.json", "metrics.jsonl", "result.json", "result.npz", "error.log", "checkpoints")
    spelled = {path for path in FILES for name in names if f'"{name}"' in path.read_text()}
    assert spelled == {ROOT / "jaxcv" / "store" / "folder.py"}


def test_importing_everything_loads_no_other_framework():
    code = (
        "import sys, jaxcv.run.train, jaxcv.tasks.byol, jaxcv.models.resnet, jaxcv.data.image_folder\n"
        "assert not {'torch', 'tensorflow', 'tensorboardX'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
