"""What XLA is told before it compiles: its flags, and where it keeps compiled programs for the next process."""

import os
from contextlib import suppress
from hashlib import sha256

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxcv.machine import cpu, user_cache


def prepare(*, deterministic: bool, cache: bool) -> None:
    """Sets $XLA_FLAGS and jax's compilation cache, without changing what the user has set.

    Must be called before jax uses a device, which is when XLA reads its flags.  deterministic: the same bits each time
    on a GPU too.  cache: compiled programs are kept in the user's cache directory.
    """
    if deterministic:  # no kernels that sum in a random order, or are chosen by their speed
        _add_flag("--xla_gpu_deterministic_ops", "true")
    if jax.__version_info__ >= (0, 12):  # YNNPACK's convolutions are slower than XLA's own
        _add_flag("--xla_cpu_experimental_ynn_fusion_type", "")
    if cache and not jax.config.values["jax_compilation_cache_dir"]:
        # A program is valid on this kind of CPU alone. jax trusts what it reads: only this user may write there.
        folder = user_cache() / f"xla-{jax.__version__}-{sha256(cpu().encode()).hexdigest()[:8]}"
        with suppress(OSError):  # such as a home that is read-only
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                jax.config.update("jax_compilation_cache_dir", str(folder))
                jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
                compilation_cache.reset_cache()  # jax looks for the setting once


def _add_flag(name: str, value: str) -> None:
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {name}={value}".strip()
