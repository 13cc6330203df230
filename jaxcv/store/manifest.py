"""The facts of a run by which it can be identified and repeated: versions, code, machine, command, seed and data."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import jaxcv
from jaxcv.config import HARMLESS, flatten
from jaxcv.machine import cpu
from jaxcv.store.files import json_digest

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def manifest(*, seed: int, data: Mapping, devices: Sequence[str], workdir: str | Path) -> dict:
    """The facts of a run that starts now, for `write_json`; those that depend on the wall clock are under `time`.

    data: fingerprints of the data. devices: names of the accelerators or CPUs in use.
    """
    return {
        "versions": versions(),
        "git": git(Path(jaxcv.__file__).parent.parent),
        "machine": {
            "hostname": platform.node(),
            "platform": platform.platform(),
            "cpu": cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "devices": list(devices),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
        },
        "command": shlex.join(sys.orig_argv),
        "workdir": str(Path(workdir).absolute()),
        "seed": seed,
        "data": dict(data),
        "time": {"start": datetime.now(UTC).isoformat(timespec="seconds")},
    }


def identity(config: Mapping, data: Mapping[str, str]) -> str:
    """The SHA-256 of what makes a run's results: its config, but for keys without an effect, and its data's
    fingerprints by split."""
    values = {key: value for key, value in flatten(config).items() if key not in HARMLESS}
    return json_digest({"config": values, "data": data})


def program() -> list[str]:
    """The command that started this process, without its arguments: jaxcv, python -m jaxcv or python launch/main.py."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return ["python", "-m", script.parent.name]
    if script.suffix == ".py":
        return ["python", sys.argv[0]]
    return [script.name if shutil.which(script.name) == sys.argv[0] else sys.argv[0]]


def command_line() -> str:
    """The command line as the user typed it, to be repeated."""
    return shlex.join([*program(), *sys.argv[1:]])


def versions() -> dict[str, str | None]:
    """The versions of Python, of this package and of its main dependencies; None for one that is not installed."""
    own = {"python": platform.python_version(), "jaxcv": jaxcv.__version__}
    return own | {name: _version(name) for name in _PACKAGES}


def git(root: Path) -> dict | None:
    """{"commit": hex, "dirty": bool} of the checkout `root` that the package runs from; None without git or a commit,
    or if the package is installed inside another repository."""
    if not _git(root, "ls-files", "--", "jaxcv"):
        return None
    commit = _git(root, "rev-parse", "HEAD")
    # new files count: they may be used
    status = _git(root, "status", "--porcelain", "--", "jaxcv", "configs", "launch")
    return {"commit": commit, "dirty": bool(status)} if commit else None


def _git(root: Path, *args: str) -> str | None:
    """The output of git, or None if it fails or is not installed."""
    # Not the GIT_DIR of a hook, and no writes to the index by `status`.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(root), *args]
    try:
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
