"""The content of files, as digests that are computed once: they are cached in the user's cache directory."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from jaxcv.errors import DataError
from jaxcv.machine import user_cache

_SETTLED = 2.0  # s; a file that changed less than this ago may change again without another mtime


def digests(root: Path, files: Iterable[Path]) -> dict[Path, str]:
    """16 hex digits of SHA-256 over the bytes of each file of the data set in `root`. A file is read only if no earlier
    process of this user has read one of the same path, size and time of modification."""
    cache = _cache_file(root)
    known, now = _load(cache), time.time()
    stats = {file: _stat(file) for file in files}
    states = {file: f"{stat.st_size} {stat.st_mtime_ns} " for file, stat in stats.items()}
    cached = {file: known.get(str(file.absolute()), "") for file in stats}
    unknown = [file for file in stats if not cached[file].startswith(states[file])]
    with ThreadPoolExecutor(4) as pool:  # reading and hashing release the interpreter's lock
        found = dict(zip(unknown, pool.map(_digest, unknown)))
    settled = [file for file in unknown if now - stats[file].st_mtime > _SETTLED]
    if settled:
        _save(cache, {**_load(cache), **{str(file.absolute()): states[file] + found[file] for file in settled}})
    return {file: found[file] if file in found else cached[file].rpartition(" ")[2] for file in stats}


def identities(root: Path, files: Iterable[Path], digest: Mapping[Path, str]) -> list[str]:
    """For each file its path below `root` and its digest, as "a/b.png 0123456789abcdef": for the fingerprint."""
    return [f"{file.relative_to(root).as_posix()} {digest[file]}" for file in files]


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _cache_file(root: Path) -> Path:
    """The cache of the files below `root`: a file for each data set."""
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return user_cache() / f"contents-{name}.json"


def _load(cache: Path) -> dict[str, str]:
    """{path: "size mtime digest"}; empty where there is no cache, or a damaged one."""
    try:
        content = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    good = isinstance(content, dict) and all(isinstance(value, str) for value in content.values())
    return content if good else {}


def _save(cache: Path, content: Mapping[str, str]) -> None:
    """Replaces the cache at once, so other processes see the old or the new one; of two that write, the last wins. A
    cache that cannot be written is done without."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content))
        temporary.replace(cache)
