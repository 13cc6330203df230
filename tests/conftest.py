"""One strict session: 4 CPU devices, no silent broadcasting, no reused or legacy keys, warnings are errors."""

import fcntl
import mmap
import os
import shutil
from pathlib import Path

import jax
import jaxlib
import matplotlib
import pytest
from absl import flags

import runs


def xla_knows(flag):
    """XLA ends a process for a flag that it does not know, so it is looked for in its library."""
    for library in Path(jaxlib.__file__).parent.glob("libjax_common*"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(flag.encode() + b"\0") >= 0
    return False


# With these XLA compiles in two thirds of the time.
for flag in ("xla_cpu_use_fusion_emitters=false", "xla_cpu_parallel_codegen_split_count=1"):
    if xla_knows(flag.partition("=")[0]):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{flag}"
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_enable_compilation_cache", False)  # keeping a program costs more than compiling it again
jax.config.update("jax_disable_most_optimizations", True)  # compiled for one or two calls
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory):
    """Nothing is written to the user's own cache directory; matplotlib alone finds its fonts there."""
    os.environ["MPLCONFIGDIR"] = matplotlib.get_cachedir()
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("user_cache"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder in which the commands' processes leave what they have compiled for each other."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def whole(tmp_path_factory, cache, worker_id):
    """The workdir and the output of an uninterrupted run of the tiny BYOL config; nobody changes or locks it.

    The worker that needs it first makes it for all, and each gets a copy of what was compiled.
    """
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "whole"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "out").exists():
            code, out, err = runs.run("main.py", runs.TINY, f"--workdir={shared / 'run'}", cache=shared / "cache")
            assert code == 0, err
            (shared / "out").write_text(out)
    shutil.copytree(shared / "cache", cache, dirs_exist_ok=True)
    return shared / "run", (shared / "out").read_text()
