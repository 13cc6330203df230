"""Arrows point one way: who may import whom, that importing stays light, and that configs are data."""

import ast
import subprocess
import sys
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
BASIS = {"config", "errors", "prng"}  # know nothing of the rest; any file may use them
ALLOWED = {  # file or folder -> what it may import, besides the standard library, BASIS and its own folder
    "errors": set(),
    "config": {"ml_collections"},
    "prng": {"jax"},
    "mesh": {"jax", "numpy"},
    "processes": {"jax", "numpy"},
    "losses": {"jax", "optax"},
    "metrics": {"jax", "numpy", "optax"},
    "ops": {"jax"},
    "paths": {"jax", "numpy"},
    "schedules": {"jax", "optax"},
    "optim": {"jax", "optax", "paths", "schedules"},
    "freeze": {"jax", "flax", "models", "paths"},
    "step": {"jax", "optax"},
    "models": {"jax", "flax", "numpy"},
    "data": {"numpy", "grain", "PIL", "absl", "scipy", "sklearn", "threadpoolctl"},
    "tasks": {"jax", "flax", "optax", "numpy", "step", "models", "losses", "metrics", "ops"},
    "stop": set(),
    "workdir": set(),
    "digests": {"jax", "numpy"},
    "checkpoint": {"jax", "numpy", "orbax", "digests", "mesh", "processes", "workdir"},
    "pretrained": {
        "numpy",
        "ml_collections",
        "safetensors",
        "torch",
        "checkpoint",
        "models",
    },  # torch, if there, for .pth
    "report": {"numpy", "PIL", "matplotlib", "rich", "sklearn", "threadpoolctl"},
    "probe": {"jax", "numpy", "optax", "mesh"},
    "summary": {"jax", "flax", "optax", "models"},
    "experiment": {
        *("jax", "flax", "numpy", "optax"),
        *("data", "freeze", "mesh", "models", "optim", "pretrained", "schedules", "step"),
    },
    "evaluate": {"jax", "numpy", "data", "experiment", "mesh", "optim", "probe", "step", "stop"},
    "begin": {"jax", "numpy", "experiment", "mesh", "models", "paths", "processes", "report", "step"},
    "resume": {"begin", "experiment", "processes", "report"},
    "finish": {"numpy", "begin", "checkpoint", "data", "experiment", "processes", "report", "resume", "step"},
    "train": {
        *("jax", "begin", "checkpoint", "evaluate", "experiment", "finish", "mesh", "processes", "report", "resume"),
        *("step", "stop", "workdir"),
    },
    "verify": {
        *("jax", "begin", "checkpoint", "digests", "experiment", "mesh", "pretrained", "report", "resume"),
    },
    "predict": {"jax", "numpy", "ml_collections", "PIL", "data", "experiment", "mesh", "pretrained"},
    "sweep": {"jax", "ml_collections", "report", "stop", "train"},
    "command": {"absl", "ml_collections", "report"},
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
    if part == "__init__":
        assert not list(imported(path))
        return
    for name in imported(path):
        if name in own or name in LIBRARIES:
            assert name in ALLOWED[part] | BASIS | {part}, f"{path} must not import {name}"
        else:
            assert name in sys.stdlib_module_names or name in ("", "__version__"), (
                f"{path} imports {name}, which is no dependency"
            )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.name)
def test_configs_import_ml_collections_and_nothing_else(path):
    assert set(imported(path)) == {"ml_collections"}


def test_commands_are_thin():
    for path in (ROOT / "launch").glob("*.py"):
        assert (
            set(imported(path))
            <= {
                "absl",
                "jax",
                "begin",
                "command",
                "errors",
                "experiment",
                "models",
                "predict",
                "pretrained",
                "processes",
                "report",
                "stop",
                "summary",
                "sweep",
                "verify",
            }
            | {"train"}
            | sys.stdlib_module_names
        )


def test_importing_everything_loads_no_other_framework():
    code = (
        "import sys, jaxcv.train, jaxcv.tasks.byol, jaxcv.models.resnet, jaxcv.data.image_folder\n"
        "assert not {'torch', 'tensorflow', 'tensorboardX'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
