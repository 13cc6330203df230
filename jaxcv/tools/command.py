"""What all commands under launch/ share: their help, their config, and errors as one line with a non-zero exit."""

import faulthandler
import os
import re
import shlex
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from logging import CRITICAL, getLogger
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from jaxcv.config import HARMLESS
from jaxcv.errors import ConfigError, UserError
from jaxcv.store import manifest
from jaxcv.store.folder import Folder
from jaxcv.tools import configs
from jaxcv.tools.flags import make_parser, parse

NAME_BYTES = 255  # of a folder, on all usual file systems


def run(
    work: Callable[[Namespace], Any],
    arguments: Sequence[str] | None = None,
    *,
    doc: str,
    add_flags: Callable[[ArgumentParser], Any],
    workdir: Callable[[Namespace], Path] | None = None,
) -> int:
    """Parses the flags and calls work(args). Returns the exit code: 0, or 1 after one line on what the user can mend.

    arguments: what stands behind the command, by default this process's. doc: what --help says of the command.
    add_flags: adds the command's flags to a parser. With `workdir`, the folder that work(args) writes to, tracebacks
    are kept there in error.log, and one line is all that is said of a bug too.
    """
    quiet()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    args = None
    try:
        program = shlex.join([*manifest.program(), *sys.argv[1 : len(sys.argv) - len(arguments)]])
        parser = make_parser(re.sub(r"^jaxcv \w+", lambda _: program, doc.strip(), flags=re.MULTILINE))
        add_flags(parser)
        args = parse(parser, arguments)
        if args.version:
            say(version())
        elif args.help:
            say(_help(parser, args))
        elif getattr(args, "print_config", False):
            say(config(args).to_json(indent=2))
        else:
            work(args)
    except UserError as error:
        _record(workdir, args)
        return tell(error)
    except Exception as error:
        file = _record(workdir, args)
        if file is None:
            raise
        return tell(f"this is a bug: {type(error).__name__}, whose traceback is in {file}.")
    return 0


def config(args: Namespace) -> ConfigDict:
    """The config of the command line, locked. To be asked for before jax uses a device: see config.deterministic."""
    value = configs.load_config(_named(args))
    configs.override(value, args.overrides)
    if value.get("deterministic", False):
        # On a GPU: no kernels whose sums come in any order, none chosen by how long it took just now.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    return value


def default_workdir(args: Namespace) -> Path:
    """runs/NAME-VARIANT-KEY=VALUE...: the same command finds its run again, another has a folder of its own.

    NAME is the config's; behind that of a file which is not one of this package's stands a digest of its path.
    """
    file, variant = configs.split(_named(args))
    path = configs.find(file)
    parts = [path.stem]
    if path.resolve().parent != configs.FOLDER.resolve():
        place, here = path.resolve(), Path.cwd()
        parts.append(_digest(str(place.relative_to(here) if place.is_relative_to(here) else place))[:6])
    parts += filter(None, variant.split(","))
    parts += [f"{key}={'True' if text is None else text}" for key, text in args.overrides if key not in HARMLESS]
    name = re.sub(r"[^\w.=,+-]", "_", "-".join(parts))
    if len(name.encode()) > NAME_BYTES:
        name = f"{name.encode()[: NAME_BYTES - 9].decode(errors='ignore')}-{_digest('-'.join(parts))[:8]}"
    return Path("runs") / name


def quiet() -> None:
    """Silences what libraries log of an error that they also raise. Where one array of a checkpoint fails, orbax ends
    the event loop of the others, which tell it in ways of their own. Only a crash inside a library is told: where."""
    faulthandler.enable()
    logging.use_absl_handler()
    logging.set_verbosity(logging.FATAL)
    getLogger("asyncio").setLevel(CRITICAL)
    sys.unraisablehook = lambda what: str(what.exc_value) == "Event loop is closed" or sys.__unraisablehook__(what)


def say(text: str) -> None:
    """Prints. It is no error if the reader, such as `head`, has had enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at exit


def tell(error: object) -> int:
    """Says on stderr what is wrong. Returns the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return 1


def version() -> str:
    """The versions of this package, of jax and of Python."""
    versions = manifest.versions()
    return ", ".join(f"{name} {versions[name]}" for name in ("jaxcv", "jax", "python"))


def table(lines: dict[str, str]) -> str:
    """Names, and what is said of each, a line each."""
    width = max(map(len, lines), default=0)
    return "\n".join(f"  {name:<{width}}  {line}".rstrip() for name, line in lines.items())


def _help(parser: ArgumentParser, args: Namespace) -> str:
    """The help of a command; with a config, what that has to say."""
    if getattr(args, "config", None):
        doc, variants = configs.describe(args.config)
        values = [f"  --config.{key}={_quoted(str(value))}" for key, value in configs.items(config(args))]
        parser.description = f"{doc}\n\nvariants:\n{table(variants)}" if variants else doc
        parser.epilog = "\n".join(["keys and their values:", *values])
    elif "config" in args:
        parser.epilog = f"configs; --help --config=NAME says more of one:\n{table(configs.available())}"
    return parser.format_help().rstrip()


def _quoted(text: str) -> str:
    """The text as a shell takes it, in double quotes where it has single ones, as tuples of strings do."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def _named(args: Namespace) -> str:
    """The --config of the command line."""
    if not args.config:
        raise ConfigError("say what to run: --config=NAME, with :VARIANT behind it for another than the default.")
    return args.config


def _record(workdir: Callable[[Namespace], Path] | None, args: Namespace | None) -> Path | None:
    """Adds the traceback of the exception at hand to error.log in the workdir; None if there is no such folder."""
    folder = None
    with suppress(UserError):  # a command line that names no folder
        folder = workdir(args) if workdir and args else None
    if folder is None or not folder.is_dir():
        return None
    when, file = datetime.now(UTC).isoformat(timespec="seconds"), Folder(folder).error_log
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions().items())
    try:
        with file.open("a") as log:
            log.write(f"{when}  {shlex.join(sys.orig_argv)}\n{versions}\n{traceback.format_exc()}\n")
    except OSError:  # a full disk, a folder that may only be read
        return None
    return file


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
