"""What a run was: versions, code, machine, command, seed and data, so that it can be told apart and
repeated."""

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

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def manifest(*, seed: int, data: Mapping, devices: Sequence[str], workdir: str | Path) -> dict:
    """The facts of a run that starts now, ready for `write_json`; what the wall clock says is under `time`.

    data: fingerprints of the data, kept as given. devices: names of the accelerators or CPUs in use.
    """
    return {
        "versions": versions(),
        "git": git(Path(jaxcv.__file__).parent.parent),
        "machine": {
            "hostname": platform.node(),
            "platform": platform.platform(),
            "cpu": _cpu(),
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


def program() -> list[str]:
    """The words that started this process, before its arguments: jaxcv, python -m jaxcv, or python launch/main.py."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return ["python", "-m", script.parent.name]
    if script.suffix == ".py":
        return ["python", sys.argv[0]]
    return [script.name if shutil.which(script.name) == sys.argv[0] else sys.argv[0]]


def command_line() -> str:
    """The command as the user has typed it, to be typed again."""
    return shlex.join([*program(), *sys.argv[1:]])


def versions() -> dict[str, str | None]:
    """Of Python, of this package and of those under it; None for what is not installed."""
    return {
        "python": platform.python_version(),
        "jaxcv": jaxcv.__version__,
        **{name: _version(name) for name in _PACKAGES},
    }


def git(root: Path) -> dict | None:
    """{"commit": hex, "dirty": bool} of the checkout `root` that the package runs from; None where there is
    no git, no commit, or a repository that only happens to surround an installed package."""
    if not _git(root, "ls-files", "--", "jaxcv"):
        return None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", "jaxcv", "configs", "launch")  # new files count: they may run
    return {"commit": commit, "dirty": bool(status)} if commit else None


def _git(root: Path, *args: str) -> str | None:
    """What git prints, or None if it fails or is not there."""
    # Neither a hook's GIT_DIR may point elsewhere, nor `status` write to the index.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(root), *args]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
