"""What all commands under launch/ share: the flags, and errors as one line on stderr with a non-zero exit."""

import os
import re
import runpy
import shlex
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging import CRITICAL, getLogger
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from jaxcv.config import HARMLESS, nearest
from jaxcv.errors import ConfigError, UserError
from jaxcv.store import manifest


def define_config() -> None:
    """Defines --config=FILE[:VARIANT] and with it --config.KEY=VALUE."""
    config_flags.DEFINE_config_file("config", None, "config file, with :variant,... behind it", lock_config=True)


def config() -> ConfigDict:
    """The config of this command line, locked. To be asked for before jax uses a device: see config.deterministic."""
    value = flags.FLAGS.config
    if value is None:
        raise ConfigError(
            "say what to run: --config=configs/NAME.py, with :VARIANT behind it for another than the default."
        )
    if value.get("deterministic", False):
        # On a GPU: no kernels whose sums come in any order, none chosen by how long it took just now.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    return value


def default_workdir() -> Path:
    """runs/NAME-VARIANT-KEY=VALUE...: the same command finds its run again, another has a folder of its own."""
    parts, overrides = "", []
    for argument in sys.argv[1:]:
        flag, _, value = argument.lstrip("-").partition("=")
        if flag == "config":
            file, _, variant = value.partition(":")
            parts = "-".join([Path(file).stem, *filter(None, variant.split(","))])
        elif flag.startswith("config.") and flag.removeprefix("config.") not in HARMLESS:
            overrides.append(f"{flag.removeprefix('config.')}={value}")
    return Path("runs") / re.sub(r"[^\w.=,+-]", "_", "-".join([parts, *overrides]))


def run(main: Callable[[], Any], workdir: Callable[[], Path] | None = None) -> None:
    """Parses the flags, calls main() and exits: 0, or 1 after one line if the user can mend what went wrong.

    With `workdir`, the folder that main() writes to, tracebacks are kept there in error.log, and one line is all that
    is said of a bug too.
    """

    def guarded(arguments: list[str]) -> int:
        quiet()
        try:
            if len(arguments) > 1:
                raise UserError(f"{arguments[1]!r} is no flag; flags look like --name=value.")
            main()
        except UserError as error:
            _record(workdir)
            return _tell(error)
        except Exception as error:
            file = _record(workdir)
            if file is None:
                raise
            return _tell(f"this is a bug: {type(error).__name__}, whose traceback is in {file}.")
        return 0

    app.run(guarded, flags_parser=_parse)


def _parse(arguments: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(arguments)
        if "config" in flags.FLAGS and flags.FLAGS.config is not None:
            flags.FLAGS.config.keys()  # a config file that could not be loaded says so when it is used
        return rest
    except (AttributeError, KeyError) as error:  # ml_collections: an override of a key that is not there
        sys.exit(_tell(_unknown_key(arguments) or error))
    except (flags.Error, OSError, TypeError, ValueError) as error:
        # A config that fails comes with its traceback; what it says is in the last line.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.exit(_tell(re.sub(r"^\w+(Error|Exception): ", "", lines[-1] if lines else repr(error))))


def _unknown_key(arguments: list[str]) -> str:
    """Names the first --config.KEY that the config file does not have, and what it may have meant."""
    overrides = dict(argument.lstrip("-").partition("=")[::2] for argument in arguments[1:])
    file, _, variant = overrides.get("config", "").partition(":")
    for flag in overrides:
        group = runpy.run_path(file)["get_config"](*filter(None, [variant])) if flag.startswith("config.") else {}
        for name in flag.split(".")[1:]:
            if not isinstance(group, ConfigDict) or name not in group:
                keys = list(group) if isinstance(group, ConfigDict) else []
                return f"unknown config key --{flag}: there is no {name!r}; {nearest(name, keys)}"
            group = group[name]
    return ""


def quiet() -> None:
    """Silences what libraries log of an error that they also raise. Where one array of a checkpoint fails, orbax ends
    the event loop of the others, which tell it in ways of their own."""
    logging.set_verbosity(logging.FATAL)
    getLogger("asyncio").setLevel(CRITICAL)
    sys.unraisablehook = lambda what: str(what.exc_value) == "Event loop is closed" or sys.__unraisablehook__(what)


def _record(workdir: Callable[[], Path] | None) -> Path | None:
    """Adds the traceback of the exception at hand to error.log in the workdir; None if there is no such folder."""
    folder = workdir() if workdir else None
    if folder is None or not folder.is_dir():
        return None
    when, file = datetime.now(UTC).isoformat(timespec="seconds"), folder / "error.log"
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions().items())
    try:
        with file.open("a") as log:
            log.write(f"{when}  {shlex.join(sys.orig_argv)}\n{versions}\n{traceback.format_exc()}\n")
    except OSError:  # a full disk, a folder that may only be read
        return None
    return file


def _tell(error: object) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1
