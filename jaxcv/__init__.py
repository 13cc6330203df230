"""jaxcv: pure-functional JAX/Flax research code for computer vision.

The functions named here are imported when they are first used, so that importing jaxcv does not import jax.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcv.experiment import build
    from jaxcv.run.train import run as train
    from jaxcv.tools.configs import load_config
    from jaxcv.tools.predict import load_run

__all__ = ["__version__", "build", "load_config", "load_run", "train"]
__version__ = "0.1.0"

_FUNCTIONS = {
    "build": "jaxcv.experiment.build",
    "load_config": "jaxcv.tools.configs.load_config",
    "load_run": "jaxcv.tools.predict.load_run",
    "train": "jaxcv.run.train.run",
}


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'jaxcv' has no attribute {name!r}")
    return resolve_name(_FUNCTIONS[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
