"""Measures what training of a config costs: prints a table, and a line of JSON.

jaxcv bench --config=NAME[:VARIANT,...] [--steps=20] [--json=FILE] [--trace=DIR]
jaxcv bench --config=NAME --peer=torch                  the same step in torch, and the ratio
jaxcv bench --config=NAME --sweep=KEY=VALUE,VALUE,...   a row for each value, and how time grows with it
jaxcv bench --convolutions                              the forms of convolutions beside XLA's

The bare step is one on a batch that is on the device already; in the loop, batches are read ahead as in a run. FLOPs
are as counted by XLA; the peak is measured on this device, with products of large square matrices in the model's dtype.
The first step is timed from the start of the process, without what a run writes into its workdir. A sweep's KEY is a
key of the config, or `devices`, of a CPU. With --steps=2000 the growth of memory shows a leak. `--convolutions` takes a
few minutes: for shapes of this package's networks it times XLA's convolution and its gradients beside the forms of
jaxcv/models/convolutions.py, where they differ.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

try:
    from jaxcv.errors import UserError
    from jaxcv.tools import command, flags
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run `pip install -e .` in the checkout first.")


def add_flags(parser: ArgumentParser) -> None:
    flags.config(parser)
    flags.integer(parser, "--steps", 20, "steps to time", at_least=1)
    flags.text(parser, "--json", "FILE", "file for the numbers as JSON; by default they are printed")
    flags.text(parser, "--trace", "DIR", "folder for a profile of five steps, for TensorBoard or xprof")
    flags.text(parser, "--peer", "torch", "time the same step in torch, too")
    flags.text(parser, "--sweep", "KEY=VALUE,...", "repeat for each value of a key of the config, or of `devices`")
    flags.switch(parser, "--convolutions", "time the forms of convolutions, with no config")


def rows(numbers: dict[str, Any]) -> dict[str, str]:
    """The numbers as text, with units."""
    bare, step = numbers["time/bare_step"], numbers["time/step"]
    start, evaluations = numbers["start"], numbers["time/evaluation"]

    def milliseconds(seconds: float) -> str:
        return f"{1e3 * seconds:.1f} ms  {100 * seconds / step:3.0f} %"

    table = {
        "device": numbers["device"],
        "images/s": f"{numbers['images_per_second']:.1f}",
        "step in the loop": milliseconds(step),
        "  bare step": milliseconds(bare),
        "    of it augmentation": milliseconds(numbers["time/augmentation"]),
        "  data wait": milliseconds(numbers["time/data_wait"]),
        "loop / bare step": f"{step / bare:.3f}",
        "FLOPs a step": f"{numbers['flops_per_step'] / 1e9:.1f} G",
        "share of the peak (MFU)": f"{100 * numbers['flops_per_step'] / bare / numbers['matmul_peak_flops']:.1f} %",
        "first step after": f"{start['all']:.1f} s",
        **{f"  {name}": f"{seconds:.1f} s" for name, seconds in start.items() if name != "all"},
        **{f"evaluation: {name}": f"{seconds:.2f} s" for name, seconds in evaluations.items()},
        "evaluations' share of a run": f"{100 * numbers['evaluation_share']:.1f} %",
        "compilations before the timing": str(len(numbers["compilations"])),
        "compilations during it": ", ".join(numbers["recompilations"]) or "none",
        f"peak memory ({numbers['memory/peak_of']})": f"{numbers['memory/peak'] / 2**20:.0f} MiB",
        "temporaries of the step": f"{(numbers['memory/step_temporaries'] or 0) / 2**20:.0f} MiB",
        f"growth in {numbers['steps']} steps": f"{numbers['memory/growth'] / 2**20:.1f} MiB",
    }
    if "peer" in numbers:
        peer = numbers["peer"]
        table[f"torch {peer['torch']}, {peer['mode']}"] = f"{1e3 * peer['time/step']:.1f} ms, without augmentation"
        table["torch / bare step"] = f"{peer['time/step'] / bare:.2f}"
    return table


def sweep(args: Namespace) -> list[dict[str, Any]]:
    """The numbers for each value, each measured in a process of its own."""
    key, equals, values = args.sweep.partition("=")
    if not equals or not values:
        raise UserError(f"--sweep={args.sweep} must look like --sweep=train.batch_size=32,64,128.")
    found = []
    for value in values.split(","):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "numbers.json"
            overrides = [f"--config.{name}={text}" for name, text in args.overrides]
            call = ["bench", f"--config={args.config}", f"--steps={args.steps}", f"--json={file}", *overrides]
            environment = dict(os.environ)
            if key == "devices":
                environment["JAX_NUM_CPU_DEVICES"] = value
            else:
                call.append(f"--config.{key}={value}")
            done = subprocess.run(
                [sys.executable, "-m", "jaxcv", *call], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise UserError(f"{key}={value}: {done.stderr.strip().removeprefix('error: ')}")
            found.append({key: value, **json.loads(file.read_text())})
    return found


def sweep_table(key: str, found: Sequence[dict[str, Any]]) -> dict[str, dict[str, str]]:
    return {
        f"{key}={numbers[key]}": {
            "step": f"{1e3 * numbers['time/step']:.1f} ms",
            "images/s": f"{numbers['images_per_second']:.1f}",
            "peak memory": f"{numbers['memory/peak'] / 2**20:.0f} MiB",
            "first step after": f"{numbers['start']['all']:.1f} s",
        }
        for numbers in found
    }


def exponent(key: str, found: Sequence[dict[str, Any]]) -> float:
    """p of the fit: seconds of a step = c value ** p. Raises ValueError unless the values are two numbers or more."""
    values = [math.log(float(numbers[key])) for numbers in found]
    return statistics.linear_regression(values, [math.log(numbers["time/step"]) for numbers in found]).slope


def bench(args: Namespace) -> None:
    if args.convolutions:
        if args.config or args.json:
            raise UserError("--convolutions measures no config and writes no file; leave out --config and --json.")
        from jaxcv.tools.bench_convolutions import measure_convolutions

        return measure_convolutions()
    if args.peer not in ("", "torch"):
        raise UserError(f"--peer={args.peer} is unknown; it must be torch.")
    config = command.load_config(args)
    if args.sweep:
        return report_sweep(args)
    from jaxcv.report.tables import closing_table
    from jaxcv.store.files import write_json
    from jaxcv.tools import torch_peers
    from jaxcv.tools.bench import measure

    numbers = {"config": args.config, **measure(config, steps=args.steps, trace=args.trace)}
    if args.peer:
        numbers["peer"] = torch_peers.measure(config, steps=args.steps)
    closing_table(f"{args.config}, batch {numbers['batch_size']}", rows(numbers))
    if args.json:
        write_json(args.json, numbers)
    else:
        print(json.dumps(numbers))


def report_sweep(args: Namespace) -> None:
    from jaxcv.report.tables import closing_table
    from jaxcv.store.files import write_json

    found, key = sweep(args), args.sweep.partition("=")[0]
    closing_table(args.config, sweep_table(key, found))
    with suppress(ValueError):
        print(f"The time of a step grows with {key} to the power of {exponent(key, found):.2f}.")
    if args.json:
        write_json(args.json, found)


main = partial(command.run, bench, doc=__doc__, add_flags=add_flags)

if __name__ == "__main__":
    sys.exit(main())
