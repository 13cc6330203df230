"""Trains what a config describes, or goes on with the run that its workdir holds.

python launch/main.py --config=configs/byol.py[:VARIANT,...] [--config.KEY=VALUE ...] [--workdir=DIR] [--override]
"""

from pathlib import Path

from absl import flags

from jaxcv import command
from jaxcv.stop import on_signals

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: runs/, named after the command's config)")
OVERRIDE = flags.DEFINE_bool("override", False, "go on though config or data are not those that the run began with")


def workdir() -> Path:
    return Path(WORKDIR.value or command.default_workdir())


def main() -> None:
    asked = on_signals()
    from jaxcv import train  # not before the flags are known to be right: jax takes seconds to load

    train.run(command.config(), workdir(), asked=asked, override=OVERRIDE.value)


if __name__ == "__main__":
    command.define_config()
    command.run(main, workdir)
