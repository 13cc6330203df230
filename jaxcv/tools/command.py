"""What all commands share: their help, their config, and an exit code, with one line for an error."""

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

from absl import logging
from ml_collections import ConfigDict

from jaxcv.config import HARMLESS, flatten, origin
from jaxcv.errors import ConfigError, UserError, describe
from jaxcv.store import manifest
from jaxcv.store.folder import Folder
from jaxcv.tools import configs
from jaxcv.tools.flags import make_parser, parse

NAME_BYTES = 255  # of a folder, on all usual file systems


def run(
    work: Callable[[Namespace], None],
    arguments: Sequence[str] | None = None,
    *,
    doc: str,
    add_flags: Callable[[ArgumentParser], None],
    workdir: Callable[[Namespace], Path] | None = None,
) -> int:
    """Parses the flags and calls work(args). Returns the exit code: 0, or 1 after printing an error as one line.

    arguments: those of the command, by default this process's. doc: the text of --help. add_flags: adds the command's
    flags to a parser. workdir: the folder that work(args) writes to; its error.log gets the tracebacks, so that a bug
    too is printed as one line.
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
            say(load_config(args).to_json(indent=2))
        else:
            work(args)
    except UserError as error:
        _log_traceback(workdir, args)
        return fail(error)
    except Exception as error:
        file = _log_traceback(workdir, args)
        if file is None:
            raise
        return fail(f"{origin(error) or 'this is a bug'}: {describe(error)}, whose traceback is in {file}.")
    return 0


def load_config(args: Namespace) -> ConfigDict:
    """The config of the command line, locked."""
    config = configs.load_config(_config_name(args))
    configs.override(config, args.overrides)
    return config


def workdir(args: Namespace) -> Path:
    """--workdir, or runs/NAME-VARIANT-KEY=VALUE..., so that the same command resumes its run and others do not.

    NAME is the config's, followed by a digest of its path if the file is not one of this package's.
    """
    if args.workdir:
        return Path(args.workdir)
    file, variant = configs.split(_config_name(args))
    path = configs.find(file)
    parts = [path.stem]
    if path.resolve().parent != configs.FOLDER.resolve():
        full, here = path.resolve(), Path.cwd()
        parts.append(_digest(str(full.relative_to(here) if full.is_relative_to(here) else full))[:6])
    parts += filter(None, variant.split(","))
    parts += [f"{key}={'True' if text is None else text}" for key, text in args.overrides if key not in HARMLESS]
    name = re.sub(r"[^\w.=,+-]", "_", "-".join(parts))
    if len(name.encode()) > NAME_BYTES:
        name = f"{name.encode()[: NAME_BYTES - 9].decode(errors='ignore')}-{_digest('-'.join(parts))[:8]}"
    return Path("runs") / name


def quiet() -> None:
    """Silences what libraries log about errors that they also raise. When one array of a checkpoint fails, orbax closes
    the event loop of the others, which then complain too."""
    if sys.__stderr__ is not None:  # a notebook's sys.stderr is no file, and a program without a console has none
        faulthandler.enable(sys.__stderr__)  # shows where a library crashed
    logging.use_absl_handler()
    logging.set_verbosity(logging.FATAL)
    getLogger("asyncio").setLevel(CRITICAL)
    sys.unraisablehook = lambda args: str(args.exc_value) == "Event loop is closed" or sys.__unraisablehook__(args)


def say(text: str) -> None:
    """Prints, even to a reader such as `head` that has closed its end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes once more at exit


def fail(error: object) -> int:
    """Prints an error to stderr. Returns the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return 1


def version() -> str:
    """The versions of this package, of jax and of Python."""
    versions = manifest.versions()
    return ", ".join(f"{name} {versions[name]}" for name in ("jaxcv", "jax", "python"))


def table(lines: dict[str, str]) -> str:
    """Names and their descriptions, a line each."""
    width = max(map(len, lines), default=0)
    return "\n".join(f"  {name:<{width}}  {line}".rstrip() for name, line in lines.items())


def _help(parser: ArgumentParser, args: Namespace) -> str:
    """The help of a command, or of its config if it has one."""
    if getattr(args, "config", None):
        doc, variants = configs.describe(args.config)
        config = load_config(args)
        values = [f"  --config.{key}={_quoted(str(value))}" for key, value in flatten(config.to_dict()).items()]
        more = [f"  --config.{key}={_quoted(str(value))}" for key, value in configs.more_options(config)]
        parser.description = f"{doc}\n\nvariants:\n{table(variants)}" if variants else doc
        parser.epilog = "\n".join(
            ["keys and their values:", *values, "", "more options of these parts, and their defaults:", *more]
        )
    elif "config" in args:
        parser.epilog = f"configs, which --help --config=NAME explains:\n{table(configs.available())}"
    return parser.format_help().rstrip()


def _quoted(text: str) -> str:
    """The text quoted for a shell: in double quotes if it has single ones, as tuples of strings do."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def _config_name(args: Namespace) -> str:
    if not args.config:
        raise ConfigError("give the config to run as --config=NAME, or --config=NAME:VARIANT for one of its variants.")
    return args.config


def _log_traceback(workdir: Callable[[Namespace], Path] | None, args: Namespace | None) -> Path | None:
    """Appends the traceback of the current exception to error.log in the workdir; None if there is no such folder."""
    if workdir is None or args is None:
        return None
    when = datetime.now(UTC).isoformat(timespec="seconds")
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions().items())
    with suppress(UserError, OSError):  # no workdir in the command line; no such folder, a full or read-only disk
        file = Folder(workdir(args)).error_log
        with file.open("a") as log:
            log.write(f"{when}  {shlex.join(sys.orig_argv)}\n{versions}\n{traceback.format_exc()}\n")
        return file
    return None


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
