"""Trains what a config describes, or goes on with the run that its workdir holds.

python launch/main.py --config=configs/byol.py[:VARIANT,...] [--config.KEY=VALUE ...] [--workdir=DIR] [--override]

Several processes, each with devices of its own, make one run if each is started with this command in the same folder:
by srun, mpirun, or on the hosts of a TPU pod as it is; by hand with --coordinator=HOST:PORT --num_processes=N
--process_id=I behind it. Under srun and mpirun jax gives each process one GPU, or those in $JAX_LOCAL_DEVICE_IDS.
"""

from pathlib import Path

from absl import flags

from jaxcv.store.stop import on_signals
from jaxcv.tools import command

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: runs/, named after the command's config)")
OVERRIDE = flags.DEFINE_bool("override", False, "go on though config or data are not those that the run began with")
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0; auto: jax finds it and the other two")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", 0, "processes of this run, with --coordinator")
PROCESS_ID = flags.DEFINE_integer("process_id", -1, "which of them this is, from 0, with --coordinator")


def workdir() -> Path:
    return Path(WORKDIR.value or command.default_workdir())


def main() -> None:
    should_stop = on_signals()
    config = command.config()
    from jaxcv.run import train  # not before the flags are known to be right: jax takes seconds to load
    from jaxcv.store import processes

    processes.join(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    train.run(config, workdir(), should_stop=should_stop, override=OVERRIDE.value)


if __name__ == "__main__":
    command.define_config()
    command.run(main, workdir)
