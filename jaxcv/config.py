"""From a config's values to function calls: options checked by name, durations turned into steps."""

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from importlib import import_module
from operator import getitem
from pathlib import Path
from traceback import extract_tb
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jaxcv.errors import ConfigError, describe
from jaxcv.ranges import Range

PUBLIC = ("Model", "make", "source", "optimizer", "schedule")  # the function or class for which a file is a part
# Keys that change no bit of a run's parameters, nor of its metrics.jsonl.
HARMLESS = ("compilation_cache", "data.dir", "data.workers", "train.save_every_epochs", "train.save_every_steps")


def nearest(name: str, names: Sequence[str]) -> str:
    """The tail of an error message: the choice that is near, else all choices, or of many the nearest."""
    if near := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {near[0]!r}?"
    if len(names) > 20:
        return f"the nearest are {', '.join(difflib.get_close_matches(name, names, n=3, cutoff=0))}."
    return f"choose one of {', '.join(sorted(names)) or '(none)'}."


def call(function: Callable, options: Mapping[str, Any], *, group: str, **given: Any) -> Any:
    """function(**given, **options), after the options have been checked against its keyword arguments.

    Raises ConfigError naming the key of config.`group` that the function does not have or lacks, or whose value is not
    of the annotated type or outside of the annotated range (jaxcv/ranges.py). A function that takes any keyword checks
    those it does not name itself.
    """
    check_options(function, options, group=group, given=given)
    return function(**given, **options)


def check_options(function: Callable, options: Mapping[str, Any], *, group: str, given: Iterable[str] = ()) -> None:
    """The checks of `call`, for a function that is called later, with the options and the arguments `given`."""
    place = f"config.{group}" if group else "config"
    parameters = inspect.signature(function).parameters
    names = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD and name not in given]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in given:
        if name not in parameters and not open_ended:
            file = "/".join(Path(inspect.getfile(function)).parts[-3:])
            raise ConfigError(f"`{function.__name__}` in {file} must have the argument {name!r}.")
    for name, value in options.items():
        if name in names:
            check_value(value, parameters[name].annotation, f"{place}.{name}")
        elif not open_ended:
            raise ConfigError(f"{place} has no key {name!r}; {nearest(name, names)}")
    for name in names:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise ConfigError(f"{place}.{name} is missing.")


TYPES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}


def check_value(value: Any, annotation: Any, key: str) -> None:
    """Raises ConfigError unless the value of `key` is of the annotated type, if that is a simple one, and in the
    annotated range."""
    if wrong := _misfit(value, annotation):
        raise ConfigError(f"{key}={value!r} {wrong}")


def _misfit(value: Any, annotation: Any) -> str:
    """What is wrong with a value, as "must be 0 or more."; empty if nothing is."""
    kind, options = get_origin(annotation), get_args(annotation)
    if kind in (Union, UnionType):
        wrong = [_misfit(value, option) for option in options]
        return wrong[0] if all(wrong) else ""
    if kind is Annotated:
        endless = isinstance(value, float) and not math.isfinite(value)
        left = [each for each in options[1:] if isinstance(each, Range) and not each.holds(value)]
        return _misfit(value, options[0]) or (f"must be {'a finite number' if endless else left[0]}." if left else "")
    if kind is Literal:
        return "" if value in options else f"is unknown; {nearest(str(value), list(map(str, options)))}"
    wanted = (int, float) if annotation is float else annotation
    if annotation in TYPES and (not isinstance(value, wanted) or (isinstance(value, bool) and annotation is not bool)):
        return f"must be {TYPES[annotation]}."
    return ""


def part_names(package: str, public: str) -> list[str]:
    """The modules of jaxcv.`package` that have the function or class `public`: a folder is its own registry."""
    folders = map(Path, import_module(f"jaxcv.{package}").__path__)
    files = [path for folder in folders for path in folder.glob("*.py")]
    return sorted(path.stem for path in files if has_public(path, public))


def has_public(path: Path, *names: str) -> bool:
    """Whether a Python file has one of the functions or classes `names`; it is not run."""
    return bool(re.search(rf"^(def|class) ({'|'.join(names)})\b", path.read_text(), re.MULTILINE))


def load_part(package: str, name: str, public: str, *, group: str) -> Any:
    """The module jaxcv.`package`.`name`, which has the function or class `public`.

    Raises ConfigError for a name that is not there, and for a file that Python cannot load.
    """
    names = part_names(package, public)
    if name not in names:
        key = "evals.names: " if package == "evals" else f"{group}.name="
        raise ConfigError(f"config.{key}{name!r} is not in jaxcv/{package}; {nearest(name, names)}")
    try:
        return import_module(f"jaxcv.{package}.{name}")
    except Exception as error:
        raise ConfigError(f"jaxcv/{package}/{name}.py cannot be loaded: {describe(error)}.") from error


def make_part(package: str, name: str, public: str, options: Mapping[str, Any], *, group: str, kind: Any, **given: Any):
    """What the function `public` of jaxcv.`package`.`name` returns, given its `options`, those of config.`group`.

    Raises ConfigError as `load_part` and `call` do, and for what is not of the class, or the Callable, `kind`.
    """
    module = load_part(package, name, public, group=group.partition(".")[0])
    part = call(getattr(module, public), options, group=group, **given)
    what = f"what `{public}` in jaxcv/{package}/{name}.py returns"
    if get_origin(kind) is Callable:
        check_function(part, kind, what)
    elif not isinstance(part, kind):
        raise ConfigError(f"{what} must be a {kind.__name__}, not a {type(part).__name__}.")
    return part


def check_function(function: Any, kind: Any, what: str) -> None:
    """Raises ConfigError, saying `what` it is, unless it can be called as the annotation `kind`, a Callable, says."""
    if not callable(function):
        raise ConfigError(f"{what} is {function!r}, not a function.")
    given = get_args(kind)[0]
    with suppress(ValueError):  # a function of C may not say what it takes
        takes = inspect.signature(function)
        try:
            given is ... or takes.bind(*given)
        except TypeError:
            raise ConfigError(f"{what} takes {takes}, but is given {len(given)} arguments.") from None


def origin(error: BaseException) -> str:
    """The line of a part's file from which an error comes, as "jaxcv/tasks/mine.py, line 31, in loss"; empty: none."""
    for frame in reversed(extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.parent.parent.name == "jaxcv" and path.is_file() and has_public(path, *PUBLIC):
            return f"{'/'.join(path.parts[-3:])}, line {frame.lineno}, in {frame.name}"
    return ""


def duration(options: Mapping[str, Any], name: str, *, group: str, steps_per_epoch: int) -> int:
    """The duration `name` of config.`group` in steps, from its key `name`_steps or `name`_epochs (may be a fraction).

    Raises ConfigError unless exactly one of the two is there, and is not negative.
    """
    found = [key for key in (f"{name}_steps", f"{name}_epochs") if options.get(key) is not None]
    if len(found) != 1:
        raise ConfigError(f"config.{group} must have one of {name}_steps and {name}_epochs; it has {len(found)}.")
    value = options[found[0]]
    if value < 0:
        raise ConfigError(f"config.{group}.{found[0]}={value} is negative.")
    return round(value * steps_per_epoch) if found[0].endswith("_epochs") else int(value)


def without(group: Any, *names: str) -> dict[str, Any]:
    """The keys of a config group but for `names`, as a plain dictionary."""
    return {name: value for name, value in group.to_dict().items() if name not in names}


def require(config: Any, *keys: str) -> None:
    """Raises ConfigError for the first of `keys` ("group.name") that the config lacks."""
    for key in keys:
        try:
            value_of(config, key)
        except KeyError:
            raise ConfigError(f"config.{key} is missing; every config of this kind has it.") from None


def value_of(config: Any, key: str) -> Any:
    """The value of `key` ("optim.lr"), which may be a group. Raises KeyError if there is none."""
    try:
        return reduce(getitem, key.split("."), config)
    except TypeError:  # what has no keys
        raise KeyError(key) from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim.lr": 0.1, ...} of nested mappings."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def changes(old: Mapping[str, Any], new: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> list[str]:
    """What differs between two configs, a line each ("optim.lr: 0.1 -> 0.2"), but for the keys `but`."""

    def plain(config: Mapping[str, Any]) -> dict[str, Any]:  # with lists for tuples, as JSON has them
        return {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(config).items()}

    old, new, absent = plain(old), plain(new), "absent"
    differ = [key for key in sorted(old.keys() | new.keys()) if old.get(key, absent) != new.get(key, absent)]
    return [f"{key}: {old.get(key, absent)} -> {new.get(key, absent)}" for key in differ if key not in but]
