"""What a config costs, piece by piece, each measured on the functions that a run itself uses."""

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcv.contract import check_contract
from jaxcv.experiment import Experiment, build
from jaxcv.run.evaluate import make_evaluation
from jaxcv.run.train import read_ahead
from jaxcv.step import TrainState
from jaxcv.store.stop import never

Numbers = dict[str, Any]


def measure(config: ConfigDict, *, steps: int, trace: str = "") -> Numbers:
    """The numbers by name; times in seconds, sizes in bytes.

    steps: to time, after one that is not.  trace: a folder for a profile of five steps; empty: none.
    """
    compilations = count_compilations()
    marks = {"import": process_age()}
    experiment = build(config)
    check_contract(experiment, name=config.task.name)
    marks["build"] = process_age()
    with experiment.data.open_batches(start=0) as host_batches:
        batches = read_ahead(host_batches, experiment.mesh)
        batch = next(batches)
        marks["data"] = process_age()
        state = jax.block_until_ready(experiment.compiled.init(batch))
        marks["init"] = process_age()
        program = experiment.compiled.update.lower(state, batch).compile()
        marks["compile"] = process_age()
        state, _ = jax.block_until_ready(program(state, batch))
        marks["first step"] = process_age()

        state, _ = jax.block_until_ready(experiment.compiled.update(state, batch))
        before = len(compilations)
        bare, state = bare_step(experiment, state, batch, steps)
        memory = resident_memory()
        loop, waited, state = looped_step(experiment, state, batches, steps)
        growth = resident_memory() - memory
        recompiled = compilations[before:]
        if trace:
            with jax.profiler.trace(trace):
                looped_step(experiment, state, batches, 5)
    return {
        **facts(config, program),
        "steps": steps,
        "time/bare_step": bare,
        "time/step": loop,
        "time/data_wait": waited,
        "time/augmentation": augmentation(experiment, batch),
        **evaluation(experiment, state, loop),
        "images_per_second": config.train.batch_size / loop,
        "start": durations(marks),
        "compilations": compilations[:before],
        "recompilations": recompiled,
        "memory/growth": growth,
        "memory/step_temporaries": getattr(program.memory_analysis(), "temp_size_in_bytes", None),
        **peak_memory(),
    }


def facts(config: ConfigDict, program: jax.stages.Compiled) -> Numbers:
    """The device, and what XLA counts of the step."""
    device = jax.devices()[0]
    flops = (program.cost_analysis() or {}).get("flops", 0.0) * jax.device_count()
    peak = matmul_peak(config.model.get("dtype", "float32")) * jax.device_count()
    return {
        "device": f"{jax.device_count()} x {device.device_kind}",
        "jax": jax.__version__,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "batch_size": config.train.batch_size,
        "flops_per_step": flops,
        "matmul_peak_flops": peak,
    }


def bare_step(experiment: Experiment, state: TrainState, batch: dict, steps: int) -> tuple[float, TrainState]:
    """The median of the seconds of a step on a batch that is on the device, and the state after them."""
    times = []
    for _ in range(steps):
        before = time.perf_counter()
        state, _ = jax.block_until_ready(experiment.compiled.update(state, batch))
        times.append(time.perf_counter() - before)
    return statistics.median(times), state


def looped_step(experiment: Experiment, state: TrainState, batches: Any, steps: int) -> tuple[float, float, TrainState]:
    """The mean seconds of a step in a loop as that of a run, those of waiting for data, and the state after them."""
    waited, metrics = 0.0, None
    start = time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        previous = metrics
        state, metrics = experiment.compiled.update(state, batch)
        jax.block_until_ready(previous)  # a run reads a step's metrics while the next step is computed
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - start) / steps, waited / steps, state


def augmentation(experiment: Experiment, batch: dict) -> float:
    augment = jax.jit(experiment.task.augment or (lambda key, batch: dict(batch)))
    return best_time(lambda: augment(jax.random.key(0), batch))


def evaluation(experiment: Experiment, state: TrainState, step: float) -> Numbers:
    """Seconds of an evaluation of the split val by each evaluator, once compiled, and their share of a run."""
    run, total, times = make_evaluation(experiment, never), experiment.data.total_steps, {}
    for name in experiment.evaluators:
        run.evaluate(state, ("val",), [name])
        before = time.perf_counter()
        run.evaluate(state, ("val",), [name])
        times[name] = time.perf_counter() - before
    counts = {name: total // every + 1 if every else 2 for name, every in experiment.periods.items()}
    spent = sum(times[name] * counts[name] for name in times)
    return {"time/evaluation": times, "evaluation_share": spent / (spent + total * step)}


def count_compilations() -> list[str]:
    """A list to which the name of each function that XLA compiles from now on is appended."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **facts: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            names.append(str(facts.get("fun_name", "a function")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    return names


def process_age() -> float:
    """Seconds since this process was started, or where the system does not tell, since Python began to count."""
    with suppress(OSError, AttributeError, ValueError):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.perf_counter()


def durations(marks: dict[str, float]) -> dict[str, float]:
    """The seconds of each part of the start, and of all."""
    names, times = list(marks), [0.0, *marks.values()]
    return {name: after - before for name, before, after in zip(names, times, times[1:])} | {"all": times[-1]}


def resident_memory() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    gc.collect()
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def peak_memory() -> Numbers:
    """The peak of the device, or where it does not tell, as a CPU, of this process."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    peak = used or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"memory/peak": peak, "memory/peak_of": "device" if used else "process"}


def best_time(function: Callable[[], Any], tries: int = 5) -> float:
    """Seconds of the fastest of some calls, after one that compiles."""
    jax.block_until_ready(function())
    times = []
    for _ in range(tries):
        before = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - before)
    return min(times)


def matmul_peak(dtype: str) -> float:
    """FLOP/s of one device for products of large square matrices in `dtype`."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / best_time(lambda: product(matrix, matrix))
