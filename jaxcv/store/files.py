"""Files that are either complete or absent: bytes, JSON, named arrays."""

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np


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


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays atomically as a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for allow_pickle
    write_atomic(path, buffer.getvalue())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays in a .npz, by name."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def write_json(path: str | Path, obj: object) -> None:
    """Writes `obj` atomically as strict JSON, see `plain`, with sorted keys."""
    text = json.dumps(plain(obj), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def plain(obj: object) -> object:
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
