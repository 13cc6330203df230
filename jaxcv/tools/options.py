"""The options of the parts that a config names, also those that it does not spell out."""

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin

import optax
import optax.contrib
from ml_collections import ConfigDict

from jaxcv.config import load_part, part_names
from jaxcv.settings import Eval, General, Optim, Reading, Train

REQUIRED = inspect.Parameter.empty
GIVEN = ("parent", "name", "learning_rate", "mask")  # by flax, and by jaxcv to the optimisers of optax


def part_options(config: ConfigDict) -> dict[str, tuple[Any, type]]:
    """Key ("data.test_folder") -> (default, or REQUIRED; type of its value), for every option of the parts in `config`.

    Keys that stand for several of one kind are not among them: operations of `augment`, a part inside a part.
    """
    found = {}
    for group, function in _functions(config):
        for name, parameter in inspect.signature(function).parameters.items():
            whole = inspect.isclass(function) or function.__module__.startswith("optax")
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
    for public, name in (("optimizer", config.optim.get("name")), ("schedule", config.optim.get("schedule"))):
        if name in part_names("optim", public):
            yield f"optim.{name}", getattr(load_part("optim", name, public, group="optim"), public)
        elif function := getattr(optax, str(name), getattr(optax.contrib, str(name), None)):
            yield f"optim.{name}", function
    for name in config.get("evals", {}).get("names", ()):
        yield f"evals.{name}", load_part("evals", name, "make", group="evals").make


def _type(parameter: inspect.Parameter) -> type:
    """The type of an option's value: that of its default, or the annotated one."""
    if parameter.default not in (None, REQUIRED):
        return str if parameter.name == "dtype" else type(parameter.default)
    hint = parameter.annotation
    for _ in range(3):  # Annotated[float, ...] | None, at most
        if get_origin(hint) is not None:
            hint = get_args(hint)[0] if get_origin(hint) is Annotated or type(None) in get_args(hint) else tuple
    return hint if isinstance(hint, type) and hint is not REQUIRED else str
