"""Several processes as one run: how they find each other, which one writes and prints, how they agree.

All run the same program, each on its share of every batch. All write checkpoints; only the first writes other files
and prints. If one fails, the others wait for it until jax ends them, within five minutes.
"""

import os
import signal
import sys
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxcv.errors import UserError


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Makes this process one of the run's, before jax uses a device; does nothing if it is the only one.

    coordinator: "HOST:PORT", a free port on the host of process 0; "auto": jax finds all three values from the cluster;
    "": the same if SLURM, Open MPI or a TPU pod has started several processes. Raises UserError for values that do not
    fit together, and if jax finds none.
    """
    if coordinator not in ("", "auto"):
        if not 0 <= process_id < num_processes:
            raise UserError(
                f"--process_id={process_id} must be one of 0 to N - 1, where N is --num_processes={num_processes}."
            )
        jax.distributed.initialize(coordinator, num_processes, process_id, cluster_detection_method="deactivate")
    elif num_processes or process_id >= 0:
        raise UserError("--num_processes and --process_id need a --coordinator=HOST:PORT.")
    elif coordinator == "auto" or launched(os.environ):
        try:
            jax.distributed.initialize()
        except ValueError as error:
            remedy = "give --coordinator=HOST:PORT --num_processes=N --process_id=I."
            raise UserError(f"jax cannot tell how the processes find each other ({error}); {remedy}") from None
    if not is_alone():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # jax handles SIGTERM now, and stops all
    if not is_first():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it would repeat what the first prints


def launched(environment: Mapping[str, str]) -> bool:
    """Whether a launcher that `jax.distributed.initialize` knows has started several processes."""
    slurm = environment.get("SLURM_NTASKS", "1") if "SLURM_STEP_NODELIST" in environment else "1"  # 1: without srun
    mpi = environment.get("OMPI_COMM_WORLD_SIZE", "1")
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    return int(slurm) > 1 or int(mpi) > 1 or "," in hosts


def is_first() -> bool:
    """Whether this is the process that writes the run's files and prints."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether the run has only this process."""
    return jax.process_count() == 1


def broadcast_from_first(value: int | None) -> int | None:
    """The `value` of the first process, a bool, a step or None, on all of them; all must call this."""
    value = int(multihost_utils.broadcast_one_to_all(np.asarray(-1 if value is None else int(value))))
    return None if value < 0 else value


def anywhere(value: bool) -> bool:
    """Whether `value` is true on any process; all must call this."""
    return bool(np.any(multihost_utils.process_allgather(np.asarray(value))))


def wait(place: str) -> None:
    """Waits until all processes have reached this `place`."""
    multihost_utils.sync_global_devices(place)


def stop_at(step: int) -> bool:
    """Whether all processes stop at `step`, because one has received SIGTERM; all must call this at every step.

    Always False if the run has only this process.
    """
    return multihost_utils.reached_preemption_sync_point(step)
