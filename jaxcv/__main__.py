"""The command line, `jaxcv COMMAND` or `python -m jaxcv COMMAND`: a command is a file of launch/."""

import shlex
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from jaxcv.config import nearest
from jaxcv.store import manifest
from jaxcv.tools import command
from jaxcv.tools.configs import first_line

LAUNCH = Path(str(files("jaxcv.launch")))  # launch/ of a checkout


def main() -> int:
    """Runs the command that the first argument names. Returns the exit code."""
    name, *arguments = sys.argv[1:] or ["--help"]
    scripts = commands()
    if name in ("-h", "--help"):
        program = shlex.join(manifest.program())
        lines = command.table({name: first_line(path) for name, path in scripts.items()})
        command.say(f"{program} COMMAND [--FLAG=VALUE ...]\n\n{lines}\n\n{program} COMMAND --help explains one.")
    elif name == "--version":
        command.say(command.version())
    elif name in scripts:
        return import_module(f"jaxcv.launch.{scripts[name].stem}").main(arguments)
    else:
        return command.fail(f"there is no command {name!r}; {nearest(name, list(scripts))}")
    return 0


def commands() -> dict[str, Path]:
    """The files of the commands by name; main.py is `train`, inspect_.py (inspect.py would hide Python's) `inspect`."""
    paths = {"train" if path.stem == "main" else path.stem.rstrip("_"): path for path in LAUNCH.glob("[!_]*.py")}
    return dict(sorted(paths.items()))


if __name__ == "__main__":
    sys.exit(main())
