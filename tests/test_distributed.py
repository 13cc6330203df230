"""The same run on any number of devices and processes. The processes are real ones, on this machine."""

import json
import os
import signal
import socket

import jax
import numpy as np
import pytest

import runs
from jaxcv.errors import UserError
from jaxcv.mesh import local_rows, make_mesh
from jaxcv.store import processes

COLORIZE = "--config=configs/colorize.py:tiny"
# XLA shares a sum out to as many threads as a process has cores, or devices if those are more.
two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one process with two devices is to equal two")


def start_pair(*flags, cache):
    """Two processes of main.py with one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    who = (f"--coordinator=127.0.0.1:{port}", "--num_processes=2")
    return [runs.start("main.py", *flags, *who, f"--process_id={i}", cache=cache) for i in range(2)]


def finish_pair(pair):
    """What the first printed; both must have exited with 0, and the second said nothing."""
    (code0, out0, err0), (code1, out1, err1) = map(runs.finish, pair)
    assert (code0, code1) == (0, 0), err0 + err1
    assert "step" not in out1
    return out0


def same_run(a, b, step):
    assert runs.lines(a / "metrics.jsonl") == runs.lines(b / "metrics.jsonl")
    assert runs.digest(a, step) == runs.digest(b, step)
    assert json.loads((a / "result.json").read_text()) == json.loads((b / "result.json").read_text())


@two_cores
def test_two_processes_are_one_with_two_devices(tmp_path, cache):
    """Bit for bit, as the sum of two numbers does not depend on their order; and every line and file is there once."""
    code, _, err = runs.run("main.py", COLORIZE, f"--workdir={tmp_path / 'one'}", cache=cache, devices=2)
    assert code == 0, err
    out = finish_pair(start_pair(COLORIZE, f"--workdir={tmp_path / 'two'}", cache=cache))
    assert "at initialisation" in out
    same_run(tmp_path / "one", tmp_path / "two", 4)
    files = [
        {path.relative_to(run) for path in run.rglob("*") if "state" not in path.parts}
        for run in (tmp_path / "one", tmp_path / "two")
    ]
    assert files[0] == files[1]


@two_cores
@pytest.mark.slow
def test_sigterm_to_one_saves_both_and_the_run_moves_between_two_processes_and_one(tmp_path, cache):
    flags = [runs.TINY, "--config.train.total_steps=60", "--config.eval.every_steps=30"]
    code, _, err = runs.run("main.py", *flags, f"--workdir={tmp_path / 'whole'}", cache=cache, devices=2)
    assert code == 0, err

    workdir = tmp_path / "moved"
    flags.append(f"--workdir={workdir}")
    pair = start_pair(*flags, cache=cache)
    runs.until(pair[0], workdir, 1)
    pair[1].send_signal(signal.SIGTERM)
    assert "which is saved" in finish_pair(pair)
    steps = [runs.lines(workdir / "metrics.jsonl")[-1]["step"]]

    one = runs.start("main.py", *flags, cache=cache, devices=2)
    runs.until(one, workdir, steps[0] + 1)
    one.send_signal(signal.SIGTERM)
    code, out, err = runs.finish(one)
    assert code == 0 and "Resumed at step" in out and "which is saved" in out, err
    steps.append(runs.lines(workdir / "metrics.jsonl")[-1]["step"])
    assert 1 <= steps[0] < steps[1] < 60

    assert f"Resumed at step {steps[1]}" in finish_pair(start_pair(*flags, cache=cache))
    same_run(tmp_path / "whole", workdir, 60)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(tmp_path, cache):
    flags = [COLORIZE, "--config.train.total_epochs=20.0", f"--workdir={tmp_path}"]
    for devices in (4, 1):
        process = runs.start("main.py", *flags, cache=cache, devices=devices)
        rows = runs.lines(tmp_path / "metrics.jsonl") if devices == 1 else [{"step": 0}]
        runs.until(process, tmp_path, rows[-1]["step"] + 2)
        process.send_signal(signal.SIGTERM)
        code, _, err = runs.finish(process)
        assert code == 0, err
    code, out, err = runs.run("main.py", *flags, cache=cache, devices=8)
    assert code == 0 and "Resumed at step" in out, err
    rows = runs.lines(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 41))


TRAIN = """if True:
    import sys
    import jax, jax.numpy as jnp, numpy as np, runs
    from jax.sharding import Mesh
    from ml_collections import ConfigDict
    from jaxcv import experiment
    from jaxcv.mesh import put

    name, steps, out, *counts = sys.argv[1:]
    wide = jax.config.jax_enable_x64
    config = runs.load_config(*{"classify": ("fashion_mnist", "batch_norm,tiny")}.get(name, (name, "tiny")))
    if name == "classify":
        config.data = ConfigDict({"name": "shapes", "workers": 0, "limit": 64})
    config.optim.name, config.optim.lr = "sgd", 0.1
    if wide:
        config.model.dtype = "float64"
        for view in config.augment if name == "byol" else ():
            config.augment[view] = ConfigDict({"order": ("crop",), "crop": config.augment[view].crop})
    for count in map(int, counts):
        experiment.make_mesh = lambda: Mesh(np.array(jax.devices()[:count]), ("data",))
        built, losses = experiment.build(config), []
        with built.data.open_batches(start=0) as batches:
            state = built.compiled.init(put(built.mesh, next(batches)))
            if wide:
                state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)
        with built.data.open_batches(start=0) as batches:
            for _ in range(int(steps)):
                state, metrics = built.compiled.update(state, put(built.mesh, next(batches)))
                losses.append(metrics["loss"])
        arrays = jax.device_get((losses, jax.tree.leaves((state.params, state.model_state))))
        assert {x.dtype for x in jax.tree.leaves(arrays)} == {np.dtype(np.float64 if wide else np.float32)}
        np.savez(f"{out}/{count}.npz", losses=arrays[0], params=np.concatenate([x.ravel() for x in arrays[1]]))
"""


def trained(folder, name, counts, steps, **settings):
    """{number of devices: its losses, its parameters and statistics} of a short training of a tiny config.

    With SGD: Adam makes whole steps of gradients that are nothing but rounding, those of biases before a BatchNorm.
    """
    arguments = [name, steps, folder, *counts]
    code = f"import sys; sys.argv[1:] = {list(map(str, arguments))}\n{TRAIN}"
    runs.python(code, devices=max(counts), **settings)
    return {count: np.load(folder / f"{count}.npz") for count in counts}


@pytest.mark.parametrize("name", ["colorize", *(pytest.param(x, marks=pytest.mark.slow) for x in ("classify", "byol"))])
def test_any_number_of_devices_gives_the_losses_and_parameters_of_one(tmp_path, name):
    """20 steps in float64 throughout, parameters too. BYOL's views are crops alone: its other ops compute in float32,
    whose last bit depends on how many images a device has."""
    one, *others = trained(tmp_path, name, (1, 2, 4, 8), 20, JAX_ENABLE_X64="1").values()
    assert len(set(one["losses"])) == 20
    for other in others:
        np.testing.assert_allclose(other["losses"], one["losses"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(other["params"], one["params"], rtol=1e-11, atol=1e-10 if name == "byol" else 1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colorize", "classify", "byol"])
def test_any_number_of_devices_takes_the_first_step_of_one(tmp_path, name):
    """In float32, with the config's whole augmentation."""
    one, *others = trained(tmp_path, name, (1, 2, 4, 8), 1).values()
    for other in others:
        np.testing.assert_allclose(other["losses"], one["losses"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(other["params"], one["params"], rtol=0, atol=1e-6)


def test_a_process_alone_has_all_rows():
    np.testing.assert_array_equal(local_rows(make_mesh(), 8), np.arange(8))


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}, False),  # inside a batch script, not started by srun
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "a"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "a[1-4]"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
    ],
)
def test_launchers_are_recognised_where_they_have_started_several_processes(environment, several):
    assert processes.launched(environment) == several


def test_flags_that_do_not_go_together():
    with pytest.raises(UserError, match="--process_id=2 must be one of 0 to N - 1, where N is --num_processes=2"):
        processes.join("localhost:1", 2, 2)
    with pytest.raises(UserError, match="need a --coordinator=HOST:PORT"):
        processes.join("", 2, 0)


def test_a_cluster_that_jax_does_not_find(monkeypatch):
    def initialize():
        raise ValueError("no address")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"jax cannot tell .* find each other \(no address\); give --coordinator=HOST"):
        processes.join("auto", 0, -1)
