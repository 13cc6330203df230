"""Measures the train step of a config: prints a short table, and a line of JSON.

jaxcv bench --config=NAME[:VARIANT,...] [--steps=20] [--json=FILE]

Steps are timed after one warm-up step, on real batches that are read ahead as in training. `model` is the step without
data wait and augmentation. FLOPs are as counted by XLA. The peak is measured on this device, with products of large
square matrices in the model's dtype.
"""

import json
import resource
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

try:
    from ml_collections import ConfigDict

    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.integer(parser, "--steps", 20, "steps to time", at_least=1)
    flags.text(parser, "--json", "FILE", "file for the numbers as JSON; by default they are printed")


def measure(config: ConfigDict, steps: int) -> dict[str, Any]:
    """The numbers by name; times in seconds, sizes in bytes."""
    import jax

    from jaxcv.experiment import build
    from jaxcv.run.train import read_ahead

    compiled = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    experiment = build(config)
    with experiment.data.open_batches(start=0) as host_batches:
        batches = read_ahead(host_batches, experiment.mesh)
        batch = next(batches)
        state = jax.block_until_ready(experiment.compiled.init(batch))
        before = time.perf_counter()
        program = experiment.compiled.update.lower(state, batch).compile()
        compile_time = time.perf_counter() - before
        flops = (program.cost_analysis() or {}).get("flops", 0.0)
        memory = program.memory_analysis()

        state, _ = jax.block_until_ready(experiment.compiled.update(state, batch))
        compilations, waited = len(compiled), 0.0
        before = time.perf_counter()
        for _ in range(steps):
            requested = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - requested
            state, metrics = experiment.compiled.update(state, batch)
        jax.block_until_ready((state, metrics))
        step_time = (time.perf_counter() - before) / steps
        recompilations = len(compiled) - compilations

        augment = jax.jit(experiment.task.augment or (lambda key, batch: dict(batch)))
        augmentation = best_time(lambda: augment(jax.random.key(0), batch))
    device = jax.devices()[0]
    peak = matmul_peak(config.model.get("dtype", "float32"))
    used = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "device": f"{jax.device_count()} x {device.device_kind}",
        "jax": jax.__version__,
        "batch_size": config.train.batch_size,
        "steps_per_second": 1 / step_time,
        "images_per_second": config.train.batch_size / step_time,
        "time/step": step_time,
        "time/data_wait": waited / steps,
        "time/augmentation": augmentation,
        "time/model": max(step_time - waited / steps - augmentation, 0.0),
        "time/compile": compile_time,
        "flops_per_step": flops * jax.device_count(),
        "matmul_peak_flops": peak * jax.device_count(),
        "mfu": flops / step_time / peak,
        "compilations": compilations,
        "recompilations": recompilations,
        "memory/step_temporaries": memory.temp_size_in_bytes if memory else None,
        "memory/peak": used or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "memory/peak_of": "device" if used else "process",
    }


def best_time(function: Callable[[], Any]) -> float:
    """Seconds of the fastest of five calls, after one that compiles."""
    import jax

    jax.block_until_ready(function())
    times = []
    for _ in range(5):
        before = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - before)
    return min(times)


def matmul_peak(dtype: str) -> float:
    """FLOP/s of one device for products of large square matrices in `dtype`."""
    import jax
    import jax.numpy as jnp

    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / best_time(lambda: product(matrix, matrix))


def rows(numbers: dict[str, Any]) -> dict[str, str]:
    """The numbers as text, with units."""
    step = numbers["time/step"]

    def share(name: str) -> str:
        return f"{1e3 * numbers[name]:.1f} ms  {100 * numbers[name] / step:3.0f} %"

    return {
        "device": numbers["device"],
        "images/s": f"{numbers['images_per_second']:.1f}",
        "steps/s": f"{numbers['steps_per_second']:.3f}",
        "step": share("time/step"),
        "  data wait": share("time/data_wait"),
        "  augmentation": share("time/augmentation"),
        "  model": share("time/model"),
        "FLOPs a step": f"{numbers['flops_per_step'] / 1e9:.1f} G",
        "matmul peak": f"{numbers['matmul_peak_flops'] / 1e9:.0f} GFLOP/s",
        "share of the peak (MFU)": f"{100 * numbers['mfu']:.1f} %",
        "compile time of the step": f"{numbers['time/compile']:.1f} s",
        "compilations, during the timing": f"{numbers['compilations']}, {numbers['recompilations']}",
        f"peak memory ({numbers['memory/peak_of']})": f"{numbers['memory/peak'] / 2**20:.0f} MiB",
        "temporaries of the step": f"{(numbers['memory/step_temporaries'] or 0) / 2**20:.0f} MiB",
    }


def bench(args: Namespace) -> None:
    from jaxcv.report.tables import closing_table
    from jaxcv.store.files import write_json

    numbers = {"config": args.config, **measure(command.load_config(args), args.steps)}
    closing_table(f"{numbers['config']}, batch {numbers['batch_size']}", rows(numbers))
    if args.json:
        write_json(args.json, numbers)
    else:
        print(json.dumps(numbers))


main = partial(command.run, bench, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
