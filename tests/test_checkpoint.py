"""Checkpoints: what is saved comes back, the best is kept, mismatches are named, a workdir has one run."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.checkpoint import Checkpoints, locked
from jaxcv.errors import UserError
from jaxcv.mesh import make_mesh, replicated
from jaxcv.optim import make_optimizer
from jaxcv.step import TrainState

TX = make_optimizer("adam", lambda step: 0.1, ema_decay=0.9)


def state(step=0, *, classes=3, names=("kernel", "gain")):
    layout = replicated(make_mesh())
    params = {"layer1.0": {name: jnp.full((4, classes), step + 0.5) for name in names}}
    return jax.device_put(TrainState(jnp.int32(step), params, {"seen": jnp.ones(2)}, TX.init(params)), layout)


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def saved(folder, scores):
    checkpoints = Checkpoints(folder)
    for step, score in scores.items():
        checkpoints.save(step, state(step), score=score)
    checkpoints.close()
    return Checkpoints(folder)


def test_a_state_comes_back_bit_for_bit_in_its_own_types(tmp_path):
    checkpoints = saved(tmp_path, {3: None})
    old, new = state(3), checkpoints.restore(3, abstract(state()))
    assert jax.tree.structure(old) == jax.tree.structure(new)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, old, new)))
    checkpoints.close()


def test_the_latest_two_and_the_best_are_kept(tmp_path):
    checkpoints = saved(tmp_path, {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.5, 5: None, 6: 0.3})
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()) == [2, 5, 6]
    assert checkpoints.best() == (2, 0.9)
    assert checkpoints.latest() == 6
    checkpoints.close()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"classes": 7},
            r"3: params/layer1.0/\w+ is float32\[4, 3\] there, but float32\[4, 7\] in this config; use the config",
        ),
        (
            {"names": ("kernel", "gain", "bias")},
            "3 lacks opt_state/.*/bias and 3 more, that this config needs; use the config",
        ),
        (
            {"names": ("kernel",)},
            "3 has opt_state/.*/gain and 3 more, that this config does not have; use the config",
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_named(tmp_path, other, message):
    checkpoints = saved(tmp_path, {3: None})
    with pytest.raises(UserError, match=message):
        checkpoints.restore(3, abstract(state(**other)))
    assert checkpoints.latest() == 3
    checkpoints.close()


def test_a_workdir_has_one_run_at_a_time(tmp_path):
    code = f"from pathlib import Path; from jaxcv.checkpoint import locked\nwith locked(Path({str(tmp_path)!r})): pass"
    with locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "is in use by another run (process " in other.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_workdir_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write to --workdir=.*file/run: Not a directory"),
        locked(tmp_path / "file" / "run"),
    ):
        pass
