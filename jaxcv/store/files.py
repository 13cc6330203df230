"""Files that are either complete or absent: bytes, JSON, named arrays."""

import io
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.errors import DataError


def write_atomic(path: str | Path, data: bytes) -> None:
    """Writes `data`; at any moment `path` has all the old bytes or all the new ones."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder, of which a kill leaves no half under its name."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    shutil.rmtree(path.rename(path.with_name(f".{path.name}.tmp")))


def numbered(folder: Path, suffix: str = "") -> dict[int, Path]:
    """Step -> the entry of `folder` that is called by it and `suffix`, in order; others, such as 020, are left out."""
    entries = {path.name.removesuffix(suffix): path for path in folder.glob(f"*{suffix}")}
    steps = sorted(int(name) for name in entries if re.fullmatch("0|[1-9][0-9]*", name))
    return {step: entries[str(step)] for step in steps}


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays atomically as a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for allow_pickle
    write_atomic(path, buffer.getvalue())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays in a .npz, by name. Raises DataError if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except MemoryError:
        raise
    except Exception as error:  # a broken file can raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(
            f"{path} cannot be read ({reason}): restore or delete it, and run the same command again."
        ) from error


def write_json(path: str | Path, obj: object) -> None:
    """Writes `obj` atomically as strict JSON, see `plain`, with sorted keys."""
    text = json.dumps(plain(obj), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def sealed(body: Mapping) -> dict:
    """`body`, which is plain JSON, with its SHA-256."""
    body = {name: value for name, value in body.items() if name != "sha256"}
    return {**body, "sha256": json_digest(body)}


def is_whole(content: Mapping) -> bool:
    """Whether `content` is what `sealed` gave."""
    return content == sealed(content)


def json_digest(content: object) -> str:
    """The SHA-256 of plain JSON, whatever the order of its keys."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain(obj: object) -> Any:
    """`obj` in the types of strict JSON: NaN, infinities and paths become strings, numpy values numbers and lists."""
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [plain(value) for value in obj]
    if isinstance(obj, np.ndarray | np.generic):
        return plain(obj.tolist())
    if isinstance(obj, Path):
        return str(obj)
    if isinstance(obj, float) and not math.isfinite(obj):
        return str(obj)
    return obj
