"""One strict session: 4 CPU devices, no silent broadcasting, no reused or legacy keys, warnings are errors."""

import jax
import pytest
from absl import flags

import runs

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_disable_most_optimizations", True)  # compiled for one or two calls
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder in which the commands' processes leave what they have compiled for each other."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def whole(tmp_path_factory, cache):
    """The workdir and the output of an uninterrupted run of the tiny BYOL config; nobody changes it."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    code, out, err = runs.run("main.py", runs.TINY, f"--workdir={workdir}", cache=cache)
    assert code == 0, err
    return workdir, out
