"""Trains what a config describes, or goes on with the run that its workdir holds.

jaxcv train --config=NAME[:VARIANT,...] [--config.KEY=VALUE ...] [--workdir=DIR] [--override]

Several processes, each with devices of its own, make one run if each is started with this command in the same folder:
by srun, mpirun, or on the hosts of a TPU pod as it is; by hand with --coordinator=HOST:PORT --num_processes=N
--process_id=I behind it. Under srun and mpirun jax gives each process one GPU, or those in $JAX_LOCAL_DEVICE_IDS.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from jaxcv.store.stop import on_signals
from jaxcv.tools import command, flags


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--workdir", "DIR", "folder of the run; without it one in runs/, named after the config")
    flags.switch(parser, "--override", "go on though config or data are not those that the run began with")
    flags.text(parser, "--coordinator", "HOST:PORT", "of process 0; auto: jax finds it and the other two")
    flags.integer(parser, "--num_processes", 0, "processes of this run, with --coordinator")
    flags.integer(parser, "--process_id", -1, "which of them this is, from 0, with --coordinator")


def workdir(args: Namespace) -> Path:
    return Path(args.workdir or command.default_workdir(args))


def run(args: Namespace) -> None:
    should_stop = on_signals()
    config = command.config(args)
    from jaxcv.run import train  # not before the flags are known to be right: jax takes seconds to load
    from jaxcv.store import processes

    processes.join(args.coordinator, args.num_processes, args.process_id)
    train.run(config, workdir(args), should_stop=should_stop, override=args.override)


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(run, arguments, doc=__doc__, add_flags=add_flags, workdir=workdir)


if __name__ == "__main__":
    sys.exit(main())
