"""Trains every row of a config's sweep for every seed, and writes a table of the results.

jaxcv sweep --config=fashion_mnist:ablation [--config.KEY=VALUE ...] [--workdir=DIR]

config.sweep has `rows`, each {"name", "set": values by key}, `seeds`, `metrics`, and `reference`, (row, value) pairs to
show beside the first metric. The workdir of a run is DIR/ROW/SEED; finished runs are skipped, others are resumed, and a
run of another config there stops the sweep before anything is trained. DIR gets table.md, table.csv, table.tex and the
figures, and if the sweep has `epochs`, a list of numbers, also epochs.md, epochs.csv and epochs.tex with the first
metric on the split val after each of them.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

try:
    from jaxcv.errors import ConfigError
    from jaxcv.store.stop import on_signals
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--workdir", "DIR", "folder of the sweep; by default in runs/, named after the config")


def run(args: Namespace) -> None:
    should_stop = on_signals()
    config = command.load_config(args)
    if "sweep" not in config:
        raise ConfigError("this config has no sweep; run it with jaxcv train.")
    from jaxcv.tools import sweep

    workdir = command.workdir(args)
    sweep.run(config, workdir, should_stop=should_stop)
    if (workdir / "table.md").exists():
        print(f"Table of the finished runs: {workdir / 'table.md'}")


main = partial(command.run, run, doc=__doc__, add_flags=add_flags, workdir=command.workdir)

if __name__ == "__main__":
    sys.exit(main())
