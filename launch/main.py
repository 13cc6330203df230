"""Trains what a config describes, or goes on with the run that its workdir holds.

python launch/main.py --config=configs/byol.py[:VARIANT,...] [--config.KEY=VALUE ...] [--workdir=DIR]
"""

from pathlib import Path

from absl import flags

from jaxcv import command

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: runs/, named after the command's config)")


def main() -> None:
    from jaxcv import train  # not before the flags are known to be right: jax takes seconds to load

    train.run(command.config(), Path(WORKDIR.value or command.default_workdir()))


if __name__ == "__main__":
    command.define_config()
    command.run(main)
