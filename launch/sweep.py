"""Runs every row of the table that a config declares, for every seed, and writes the table.

jaxcv sweep --config=fashion_mnist:ablation [--config.KEY=VALUE ...] [--workdir=DIR]

config.sweep has `rows`, each {"name", "set": what differs from the config}, `seeds`, `metrics`, and `reference`,
(row, value) pairs to be shown beside the first metric. Each run has its workdir DIR/ROW/SEED; those that are finished
are not run again, others go on where they stopped. DIR gets table.md, table.csv, table.tex and the figures; with
`epochs`, numbers of epochs, epochs.md, .csv and .tex with the first metric on the split val after each of them.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from jaxcv.errors import ConfigError
from jaxcv.store.stop import on_signals
from jaxcv.tools import command, flags


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--workdir", "DIR", "folder of the sweep; without it one in runs/, named after the config")


def workdir(args: Namespace) -> Path:
    return Path(args.workdir or command.default_workdir(args))


def run(args: Namespace) -> None:
    should_stop = on_signals()
    config = command.config(args)
    if "sweep" not in config:
        raise ConfigError("this config declares no sweep; run it with jaxcv train.")
    from jaxcv.tools import sweep

    sweep.run(config, workdir(args), should_stop=should_stop)


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(run, arguments, doc=__doc__, add_flags=add_flags, workdir=workdir)


if __name__ == "__main__":
    sys.exit(main())
