"""The flags of a command: --FLAG=VALUE or --FLAG VALUE, and --config.KEY=VALUE for the values of its config."""

from argparse import SUPPRESS, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from jaxcv.config import nearest
from jaxcv.errors import UserError

KEY = "--config."


def make_parser(doc: str) -> ArgumentParser:
    """A parser with the flags of every command. doc: the text of --help."""
    parser = ArgumentParser(
        usage=SUPPRESS,  # it is in the docstring
        description=doc,
        formatter_class=partial(RawDescriptionHelpFormatter, max_help_position=32, width=120),
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="print this help")
    parser.add_argument("--version", action="store_true", help="print versions")
    return parser


def config(parser: ArgumentParser) -> None:
    """Adds --config=NAME[:VARIANT,...], and with it --config.KEY=VALUE and --print_config."""
    text(parser, "--config", "NAME[:VARIANT,...]", "config by name, or path of a config file; --help explains it, too")
    parser.add_argument(f"{KEY}KEY", dest=SUPPRESS, metavar="VALUE", help="new value for a key of the config")
    switch(parser, "--print_config", "print the config with all its values as JSON and do nothing else")


def text(parser: ArgumentParser, name: str, metavar: str, help: str, *, default: str = "") -> None:
    """Adds a flag with a string value. metavar: the name of the value in --help."""
    parser.add_argument(name, default=default, metavar=metavar, help=_with_default(help, default))


def integer(parser: ArgumentParser, name: str, default: int | None, help: str, *, at_least: int | None = None) -> None:
    """Adds a flag with an integer value."""

    def convert(text: str) -> int:
        with suppress(ValueError):
            if at_least is None or int(text) >= at_least:
                return int(text)
        bound = "" if at_least is None else f", {at_least} or more"
        raise ArgumentTypeError(f"={text} must be a whole number{bound}")

    parser.add_argument(name, type=convert, default=default, metavar="N", help=_with_default(help, default))


def switch(parser: ArgumentParser, name: str, help: str) -> None:
    """Adds a flag that is True as --NAME or --NAME=True, by default False."""

    def convert(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise ArgumentTypeError(f"={text} must be True or False")
        return text.lower() == "true"

    parser.add_argument(name, nargs="?", const=True, default=False, type=convert, metavar="True", help=help)


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The flags by name, and as `overrides` the (key, text or None) of each --config.KEY, in order.

    Raises UserError for an unknown flag, naming the nearest, and for an invalid value.
    """
    overrides, others = _take_overrides(arguments)
    try:
        args, unknown = parser.parse_known_args(others)
    except ArgumentError as error:
        message = f"{error.argument_name} {error.message}.".replace(" =", "=")
        raise UserError(message.replace("expected one argument", "needs a value")) from None
    if "config" not in args:
        unknown += [KEY + key for key, _ in overrides]
    if unknown and not args.help:
        word, flag = unknown[0], unknown[0].partition("=")[0]
        if not word.startswith("-"):
            start = "--" if "=" in word else "--config=" if getattr(args, "config", None) == "" else ""
            hint = f"write {start}{word}" if start else "flags look like --name=value"
            raise UserError(f"{word!r} is no flag; {hint}.")
        names = [name for action in parser._actions for name in action.option_strings]
        raise UserError(f"there is no flag {flag}; {nearest('--' + flag.lstrip('-'), names)}")
    args.overrides = overrides
    return args


def _take_overrides(arguments: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """(key, text) of each --config.KEY=TEXT or --config.KEY TEXT, with None for no text; and the other arguments."""
    overrides: list[tuple[str, str | None]] = []
    others, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, text = argument.removeprefix(KEY).partition("=")
        if not argument.startswith(KEY):
            others.append(_with_underscores(argument))
        elif equals:
            overrides.append((key, text))
        else:
            overrides.append((key, rest.pop(0) if rest and not rest[0].startswith("--") else None))
    return overrides, others


def _with_underscores(argument: str) -> str:
    """--dry_run for --dry-run: both are accepted."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


def _with_default(help: str, default: str | int | None) -> str:
    return help if default in ("", None) else f"{help} (default: {default})"
