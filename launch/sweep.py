"""Runs every row of the table that a config declares, for every seed, and writes the table.

python launch/sweep.py --config=configs/fashion_mnist.py:ablation [--config.KEY=VALUE ...] [--workdir=DIR]

config.sweep has `rows`, each {"name", "set": what differs from the config}, `seeds`, `metrics`, and `reference`,
(row, value) pairs to be shown beside the first metric. Each run has its workdir DIR/ROW/SEED; those that are finished
are not run again, others go on where they stopped. DIR gets table.md, table.csv, table.tex and the figures; with
`epochs`, numbers of epochs, epochs.md, .csv and .tex with the first metric on the split val after each of them.
"""

from pathlib import Path

from absl import flags

from jaxcv.errors import ConfigError
from jaxcv.store.stop import on_signals
from jaxcv.tools import command

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep (default: runs/, named after the command's config)")


def workdir() -> Path:
    return Path(WORKDIR.value or command.default_workdir())


def main() -> None:
    should_stop = on_signals()
    from jaxcv.tools import sweep

    config = command.config()
    if "sweep" not in config:
        raise ConfigError("this config declares no sweep; run it with launch/main.py.")
    sweep.run(config, workdir(), should_stop=should_stop)


if __name__ == "__main__":
    command.define_config()
    command.run(main, workdir)
