"""Measures the train step of a config: prints a short table, and a line of JSON.

jaxcv bench --config=NAME[:VARIANT,...] [--steps=20] [--json=FILE]
jaxcv bench --convolutions

Steps are timed after one warm-up step, on real batches that are read ahead as in training. `model` is the step without
data wait and augmentation. FLOPs are as counted by XLA. The peak is measured on this device, with products of large
square matrices in the model's dtype. `--convolutions` takes a few minutes: for shapes of this package's networks it
times XLA's convolution and its gradients beside the forms of jaxcv/models/convolutions.py, where they differ.
"""

import json
import resource
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from jaxcv.errors import UserError
from jaxcv.tools import command, flags


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.integer(parser, "--steps", 20, "steps to time", at_least=1)
    flags.switch(parser, "--convolutions", "time the forms of convolutions, with no config")
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


def best_time(function: Callable[[], Any], tries: int = 5) -> float:
    """Seconds of the fastest of some calls, after one that compiles."""
    import jax

    jax.block_until_ready(function())
    times = []
    for _ in range(tries):
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


CONVOLUTIONS = (  # batch, height, width, channels, features, kernel, stride, padding
    *((128, 28, 28, 1, 12, 5, 1, 0), (128, 12, 12, 12, 24, 5, 1, 0)),  # BaseNet
    *((128, 32, 32, 3, 16, 7, 2, 3), (128, 8, 8, 16, 16, 3, 1, 1), (128, 8, 8, 16, 32, 3, 2, 1)),  # ResNet-18, 32 px
    *((128, 4, 4, 32, 32, 3, 1, 1), (128, 4, 4, 32, 64, 3, 2, 1), (128, 4, 4, 32, 64, 1, 2, 0)),
    *((128, 2, 2, 64, 64, 3, 1, 1), (128, 2, 2, 64, 128, 3, 2, 1), (128, 1, 1, 128, 128, 3, 1, 1)),
    *((32, 128, 128, 3, 64, 7, 2, 3), (32, 32, 32, 64, 64, 3, 1, 1), (32, 32, 32, 64, 128, 3, 2, 1)),  # at 128 px
    *((32, 16, 16, 128, 128, 3, 1, 1), (32, 16, 16, 128, 256, 3, 2, 1), (32, 8, 8, 256, 256, 3, 1, 1)),
    *((32, 8, 8, 256, 512, 3, 2, 1), (32, 4, 4, 512, 512, 3, 1, 1), (32, 32, 32, 64, 128, 1, 2, 0)),
    *((32, 8, 8, 256, 512, 1, 2, 0), (32, 16, 16, 64, 256, 1, 1, 0)),
    *((8, 96, 128, 3, 16, 3, 1, 1), (8, 48, 64, 16, 32, 3, 1, 1), (8, 24, 32, 64, 64, 3, 1, 1)),  # VGG
    *((8, 12, 16, 128, 128, 3, 1, 1), (8, 6, 8, 128, 128, 3, 1, 1)),
    *((100, 32, 32, 1, 32, 3, 2, 1), (100, 16, 16, 32, 64, 3, 2, 1), (100, 32, 32, 25, 24, 3, 1, 1)),  # UNet
    *((1, 2, 2, 64, 64, 3, 1, 1), (8, 2, 2, 512, 512, 3, 1, 1), (512, 1, 1, 256, 256, 3, 1, 1)),  # other batches
    *((16, 28, 28, 128, 128, 3, 2, 1), (16, 56, 56, 24, 24, 3, 1, 1), (64, 32, 32, 16, 16, 4, 2, 1)),
)


def measure_convolutions() -> None:
    """Prints milliseconds of what is not XLA's own: a line for each shape and each of forward and the two gradients."""
    import jax

    from jaxcv.models.convolutions import XLA, Window, choose_forms

    print(f"{'b h w c':>16} {'kernel':>14} {'stride':>6} {'XLA ms':>8} {'ours ms':>8} {'ratio':>6}  form")
    for batch, height, width, channels, features, size, stride, padding in CONVOLUTIONS:
        window = Window((stride, stride), ((padding, padding), (padding, padding)))
        x = jax.random.normal(jax.random.key(0), (batch, height, width, channels))
        kernel = jax.random.normal(jax.random.key(1), (size, size, channels, features))
        dy = XLA.forward(x, kernel, window)
        for theirs, ours in zip(XLA, choose_forms(x.shape, kernel.shape, window), strict=True):
            if ours is theirs:
                continue
            arrays = (x, kernel) if theirs is XLA.forward else (x, kernel, dy)
            slow, fast = (1e3 * form_time(form, arrays, window) for form in (theirs, ours))
            print(
                f"{_times(x.shape):>16} {_times(kernel.shape):>14} {stride:>6} "
                f"{slow:8.2f} {fast:8.2f} {fast / slow:6.2f}  {ours.__name__}",
                flush=True,
            )


def form_time(form: Callable, arrays: tuple, window: Any) -> float:
    """Seconds of the fastest of some calls of one of the forms in jaxcv/models/convolutions.py."""
    import jax

    program = jax.jit(lambda *arrays: form(*arrays, window))
    return best_time(lambda: program(*arrays), tries=9)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def bench(args: Namespace) -> None:
    from jaxcv.report.tables import closing_table
    from jaxcv.store.files import write_json

    if args.convolutions:
        if args.config or args.json:
            raise UserError("--convolutions measures no config and writes no file; leave out --config and --json.")
        measure_convolutions()
        return
    numbers = {"config": args.config, **measure(command.load_config(args), args.steps)}
    closing_table(f"{numbers['config']}, batch {numbers['batch_size']}", rows(numbers))
    if args.json:
        write_json(args.json, numbers)
    else:
        print(json.dumps(numbers))


main = partial(command.run, bench, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
