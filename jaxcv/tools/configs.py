"""Configs by name or file: found, loaded, overridden and described."""

import ast
import inspect
import re
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from jaxcv.config import TYPES, flatten, nearest, value_of
from jaxcv.errors import ConfigError

FOLDER = Path(str(files("jaxcv.configs")))  # configs/ of a checkout
GET_CONFIG = re.compile(r"^(def get_config\(|get_config =)", re.MULTILINE)  # makes a file a config


def load_config(name: str | Path, overrides: Mapping[str, Any] | None = None, /, **more: Any) -> ConfigDict:
    """The config `name`, locked: no key can be added.

    name: a config of this package or the path of a file, followed by :VARIANT,... unless it is the default: "byol",
    "byol:cifar10,small", "mine/byol.py:tiny". overrides: values by key, {"optim.lr": 1e-3} or {"optim": {"lr": 1e-3}},
    which leaves the group's other keys as they are; top-level keys may also be keywords: seed=1. Raises ConfigError for
    an unknown config, variant or key, naming the nearest, and for a value of another type than the one it replaces. An
    option of a part that the config does not spell out can be set, too; a duration in steps, NAME_steps, takes the
    place of NAME_epochs, and the other way round.
    """
    if not isinstance(name, str | Path):
        raise ConfigError(f"a config is named by text or a path, as in load_config('byol:tiny'), not by {name!r}.")
    config = _read(str(name))
    values = {key: value for key, value in flatten({**(overrides or {}), **more}).items() if value != {}}
    _add_options(config, {key: f"config.{key}" for key in values})
    for key, value in values.items():
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise _misfit(config, key, f"config.{key}={value!r}") from error
    return config


def override(config: ConfigDict, overrides: Sequence[tuple[str, str | None]]) -> None:
    """Sets (key, text) pairs of the command line; None sets a bool to True. Raises ConfigError like `load_config`."""
    names = [(key, text) for key, text in overrides if key.endswith((".name", ".names", "optim.schedule"))]
    if names and len(names) < len(overrides):  # they decide which other keys there are
        override(config, names)
    _add_options(config, {key: f"--config.{key}" for key, _ in overrides})
    for key, text in overrides:
        flag = f"--config.{key}"
        old = value_of(config, key)
        if text is None and not isinstance(old, bool):
            raise ConfigError(f"{flag} needs a value, as in {flag}={old}.")
        argument, flag_values = f"{flag}={'True' if text is None else text}", flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict("config", config, flag_values=flag_values, sys_argv=[argument])
            flag_values(["", argument])
        except (flags.Error, TypeError, ValueError) as error:
            raise _misfit(config, key, argument) from error


def available() -> dict[str, str]:
    """The names of this package's configs, and the first line of their docstrings."""
    paths = [path for path in sorted(FOLDER.glob("*.py")) if GET_CONFIG.search(path.read_text())]
    return {path.stem: first_line(path) for path in paths}


def split(name: str) -> tuple[str, str]:
    """("byol.py", "cifar10,small") of "byol.py:cifar10,small"."""
    file, _, variant = name.partition(":")
    return file, variant


def find(file: str) -> Path:
    """The config file of a name or a path. Raises ConfigError if it does not exist."""
    names, path = list(available()), Path(file)
    if file in names:
        return FOLDER / f"{file}.py"
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"--config={file} is a folder; name a config ({', '.join(names)}) or the file of one.")
    if path.name == file and path.suffix != ".py":
        hint = f"did you mean '{file}.py'?" if Path(f"{file}.py").is_file() else nearest(file, names)
        raise ConfigError(f"there is no config {file!r}; {hint}")
    if path.stem in names:
        hint = f"this package's own is --config={path.stem}."
    else:
        beside = [str(other) for other in sorted(path.parent.glob("[!_]*.py"))]
        hint = nearest(file, beside) if beside else nearest(path.stem, names)
    raise ConfigError(f"there is no config file {file} in {Path.cwd()}; {hint}")


def describe(name: str) -> tuple[str, dict[str, str]]:
    """The docstring of a config file, and the first line of that of each variant."""
    file, _ = split(name)
    module = _run(file, find(file))
    variants = module.get("VARIANTS", {})
    docs = {variant: (make.__doc__ or "" if callable(make) else "") for variant, make in variants.items()}
    return (module["__doc__"] or file).strip(), {variant: doc.partition("\n")[0] for variant, doc in docs.items()}


def more_options(config: ConfigDict) -> Iterator[tuple[str, Any]]:
    """("data.test_folder", "val"), ... of the options that the config does not spell out, and their defaults."""
    from jaxcv.tools.options import REQUIRED, part_options  # loads jax

    spelled = flatten(config.to_dict())
    for key, (default, kind) in part_options(config).items():
        if key not in spelled and "name" not in key.split("."):
            yield key, kind.__name__ if default is REQUIRED else default


def first_line(path: Path) -> str:
    """The first line of a Python file's docstring; the file is not run."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def _read(name: str) -> ConfigDict:
    file, variant = split(name)
    path = find(file)
    module = _run(file, path)
    if "get_config" not in module:
        raise ConfigError(f"{file} has no function get_config; a config file has one, which returns a ConfigDict.")
    if ":" in variant:
        raise ConfigError(f"variants are joined by commas; write --config={file}:{variant.replace(':', ',')}.")
    if variant and not inspect.signature(module["get_config"]).parameters:
        raise ConfigError(f"{file} has no variants; write --config={file}.")
    variants = list(module.get("VARIANTS", ()))
    for name in filter(None, variant.split(",")) if "VARIANTS" in module else ():
        if name not in variants:
            raise ConfigError(f"{file} has no variant {name!r}; {nearest(name, variants)}")
    config = _guarded(file, path, lambda: module["get_config"](*filter(None, [variant])))
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"get_config in {file} must return a ConfigDict, not {type(config).__name__}.")
    return config.lock()


def _run(file: str, path: Path) -> dict[str, Any]:
    return _guarded(file, path, lambda: runpy.run_path(str(path)))


def _guarded(file: str, path: Path, function: Callable[[], Any]) -> Any:
    """function(), which runs code of a config file; any exception becomes a ConfigError that names the line."""
    try:
        return function()
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{file}, line {lines[-1]}" if lines else file
        raise ConfigError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _misfit(config: ConfigDict, key: str, written: str) -> ConfigError:
    """The error of a value of the wrong type. written: key and value as the user has written them."""
    group, _, name = key.rpartition(".")
    place = value_of(config, group) if group else config
    if isinstance(place[name], ConfigDict):
        first = next((each for each, value in place[name].items() if not isinstance(value, ConfigDict)), "KEY")
        return ConfigError(f"{written}: config.{key} is a group of keys; set them one by one, as in {key}.{first}.")
    kind = TYPES.get(place.get_type(name), "a tuple, such as ('a', 'b')")
    now = "" if place[name] is None else f"; it is {place[name]!r} now"
    return ConfigError(f"{written} must be {kind}{now}.")


def _add_options(config: ConfigDict, keys: Mapping[str, str]) -> None:
    """Adds those of `keys` that the config does not spell out, with the defaults of the parts whose options they are.

    keys: key -> how the user has written it. Raises ConfigError for one that is no option, with the nearest that is.
    """
    for key, written in keys.items():
        with suppress(KeyError):
            value_of(config, key)
            continue
        from jaxcv.tools.options import REQUIRED, part_options  # loads jax

        options, (group, _, name) = part_options(config), key.rpartition(".")
        if key not in options:
            known = [tuple(other.split(".")) for other in (*options, *flatten(config.to_dict()))]
            raise ConfigError(f"unknown config key {written}: {_suggestion(tuple(key.split('.')), known)}")
        default, kind = options[key]
        with config.unlocked():
            place = config
            for each in filter(None, group.split(".")):
                if each not in place:
                    place[each] = ConfigDict()
                place = place[each]
            place[name] = placeholder(kind) if default in (None, REQUIRED) else default
            other = name.replace("_steps", "_epochs") if "_steps" in name else name.replace("_epochs", "_steps")
            if other != name and other in place and f"{group}.{other}" not in keys:
                del place[other]  # a duration in steps takes the place of that in epochs


def _suggestion(key: tuple[str, ...], known: Sequence[tuple[str, ...]]) -> str:
    """Which part of a key is not among the `known` keys, and what may be there instead."""
    for place, name in enumerate(key):
        names = {other[place] for other in known if other[:place] == key[:place] and len(other) > place}
        if name not in names:
            break
    return f"there is no {name!r}; {nearest(name, sorted(names))}"
