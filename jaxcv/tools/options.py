"""The options of the parts that a config names, also those that it does not spell out."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from ml_collections import ConfigDict

from jaxcv.config import load_part, part_names
from jaxcv.errors import ConfigError
from jaxcv.optim.from_optax import RATES, find_optimizer, find_schedule
from jaxcv.settings import Eval, General, Optim, Reading, Train

REQUIRED = inspect.Parameter.empty
GIVEN = ("parent", "name", "learning_rate", "mask", *RATES)  # by flax, and by jaxcv to functions of optax


def part_options(config: ConfigDict) -> dict[str, tuple[Any, type]]:
    """Key ("data.test_folder") -> (default, or REQUIRED; type of its value), for every option of the parts in `config`.

    Keys that stand for several of one kind are not among them: operations of `augment`, a part inside a part.
    """
    found = {}
    for group, function in _functions(config):
        for name, parameter in inspect.signature(function).parameters.items():
            whole = inspect.isclass(function) or not function.__module__.startswith("jaxcv.")
            if (whole or parameter.kind is parameter.KEYWORD_ONLY) and name not in GIVEN:
                found[f"{group}.{name}" if group else name] = (parameter.default, _type(parameter))
                if group == f"optim.{config.optim.get('schedule')}" and name.endswith("_steps"):
                    kind = tuple if _type(parameter) is tuple else float
                    found[f"{group}.{name.removesuffix('_steps')}_epochs"] = (REQUIRED, kind)
    return found


def _functions(config: ConfigDict) -> Iterator[tuple[str, Callable]]:
    """(group of the config, function whose keyword arguments are its keys)"""
    yield from (("", General), ("data", Reading), ("train", Train), ("optim", Optim), ("eval", Eval))
    for package, public in (("data", "source"), ("models", "Model"), ("tasks", "make")):
        group = {"models": "model", "tasks": "task"}.get(package, package)
        if "name" in config.get(group, {}):
            yield group, getattr(load_part(package, config[group].name, public, group=group), public)
    for public, key, find in (("optimizer", "name", find_optimizer), ("schedule", "schedule", find_schedule)):
        name = config.optim.get(key, "")
        if name in part_names("optim", public):
            yield f"optim.{name}", getattr(load_part("optim", name, public, group="optim"), public)
        else:
            with suppress(ConfigError):  # the run will say what is wrong with the name
                yield f"optim.{name}", find(name)
    for name in config.get("evals", {}).get("names", ()):
        yield f"evals.{name}", load_part("evals", name, "make", group="evals").make


def _type(parameter: inspect.Parameter) -> type:
    """The type of an option's value: that of its default, or the annotated one."""
    if parameter.default not in (None, REQUIRED):
        return str if parameter.name == "dtype" else type(parameter.default)
    hint = parameter.annotation
    for _ in range(3):  # Annotated[float, ...] | None, at most
        if get_origin(hint) is not None:
            args = get_args(hint)
            hint = float if float in args else args[0] if get_origin(hint) is Annotated or NoneType in args else tuple
    return hint if isinstance(hint, type) and hint is not REQUIRED else str
