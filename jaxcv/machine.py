"""What is known of this machine: its CPU, and the user's folder for what can be computed again."""

import os
import platform
from pathlib import Path


def cpu() -> str:
    """The name of the CPU; empty if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def user_cache() -> Path:
    """$XDG_CACHE_HOME/jaxcv, or ~/.cache/jaxcv. It need not exist, and may not be writable."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "jaxcv")  # noqa: PTH111 (never raises)
