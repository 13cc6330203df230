"""Trains what a config describes, or resumes the run in its workdir.

jaxcv train --config=NAME[:VARIANT,...] [--config.KEY=VALUE ...] [--workdir=DIR] [--override]

Several processes, each with its own devices, form one run if each is started with this command in the same folder: as
it is by srun, mpirun or on the hosts of a TPU pod; otherwise with --coordinator=HOST:PORT --num_processes=N
--process_id=I. Under srun and mpirun jax gives each process one GPU, or those in $JAX_LOCAL_DEVICE_IDS.
"""

import sys
from argparse import ArgumentParser, Namespace
from functools import partial

try:
    from jaxcv.store.stop import on_signals
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.text(parser, "--workdir", "DIR", "folder of the run; by default in runs/, named after the config")
    flags.switch(parser, "--override", "resume even if config or data differ from those of the run")
    flags.text(parser, "--coordinator", "HOST:PORT", "address of process 0; auto: jax finds all three")
    flags.integer(parser, "--num_processes", 0, "number of processes, with --coordinator")
    flags.integer(parser, "--process_id", -1, "number of this process, from 0, with --coordinator")


def run(args: Namespace) -> None:
    should_stop = on_signals()
    config = command.load_config(args)
    from jaxcv.run import train  # only now, when the flags are valid: jax takes seconds to load
    from jaxcv.store import processes

    processes.join(args.coordinator, args.num_processes, args.process_id)
    chosen = [key for key, _ in args.overrides]
    train.run(config, command.workdir(args), should_stop=should_stop, override=args.override, chosen=chosen)


main = partial(command.run, run, doc=__doc__, add_flags=add_flags, workdir=command.workdir)

if __name__ == "__main__":
    sys.exit(main())
