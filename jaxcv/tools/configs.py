"""Configs by name or file: found, loaded, overridden and described."""

import ast
import inspect
import re
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxcv.config import nearest
from jaxcv.errors import ConfigError

FOLDER = Path(str(files("jaxcv.configs")))  # configs/ of a checkout
GET_CONFIG = re.compile(r"^(def get_config\(|get_config =)", re.MULTILINE)  # makes a file a config


def load_config(name: str, overrides: Mapping[str, Any] | None = None, /, **more: Any) -> ConfigDict:
    """The config `name`, locked: no key can be added.

    name: a config of this package or the path of a file, followed by :VARIANT,... unless it is the default: "byol",
    "byol:cifar10,small", "mine/byol.py:tiny". overrides: values by key, {"optim.lr": 1e-3}; top-level keys may also be
    keywords: seed=1. Raises ConfigError for an unknown config, variant or key, naming the nearest, and for a value of
    another type than the one it replaces.
    """
    config = _read(name)
    for key, value in {**(overrides or {}), **more}.items():
        _check(config, key, f"config.{key}")
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"config.{key}={value!r} does not fit: {error}.") from error
    return config


def override(config: ConfigDict, overrides: Sequence[tuple[str, str | None]]) -> None:
    """Sets (key, text) pairs of the command line; None sets a bool to True. Raises ConfigError like `load_config`."""
    arguments = []
    for key, text in overrides:
        flag = f"--config.{key}"
        old = _check(config, key, flag)
        if text is None and not isinstance(old, bool):
            raise ConfigError(f"{flag} needs a value, as in {flag}={old}.")
        arguments.append(f"{flag}={'True' if text is None else text}")
    flag_values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=flag_values, sys_argv=arguments)
        flag_values(["", *arguments])
    except (flags.Error, TypeError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


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
    names = list(available())
    if Path(file).name == file and not file.endswith(".py"):
        if file not in names:
            hint = f"did you mean '{file}.py'?" if Path(f"{file}.py").is_file() else nearest(file, names)
            raise ConfigError(f"there is no config {file!r}; {hint}")
        return FOLDER / f"{file}.py"
    path = Path(file)
    if path.is_file():
        return path
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


def items(group: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("optim.lr", 0.1), ... for all values of a config."""
    for name, value in group.items():
        if isinstance(value, ConfigDict) and len(value):
            yield from items(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value.to_dict() if isinstance(value, ConfigDict) else value


def first_line(path: Path) -> str:
    """The first line of a Python file's docstring; the file is not run."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def _read(name: str) -> ConfigDict:
    file, variant = split(name)
    path = find(file)
    module = _run(file, path)
    if "get_config" not in module:
        raise ConfigError(f"{file} has no function get_config; a config file has one, which returns a ConfigDict.")
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


def _check(config: ConfigDict, key: str, flag: str) -> Any:
    """The value of `key` ("optim.lr"). Raises ConfigError if it does not exist, naming it as in `flag`."""
    group = config
    for name in key.split("."):
        if not isinstance(group, ConfigDict) or name not in group:
            names = list(group) if isinstance(group, ConfigDict) else []
            raise ConfigError(f"unknown config key {flag}: there is no {name!r}; {nearest(name, names)}")
        group = group[name]
    return group
