"""The record beside a checkpoint's arrays: name, dtype, shape and SHA-256 of each, and a seal on the record itself.

What reads checkpoints takes flipped bits in array data for numbers; the record is how they are noticed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcv.errors import UserError


class Damaged(Exception):
    """A checkpoint that cannot be read, or is not what was saved; says which file or array."""


def by_name(tree: Any) -> dict[str, Any]:
    """The leaves as {"params/conv1/kernel": leaf}; named tuples, dictionaries and lists give the same names."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


def dotted(name: str) -> str:
    """The name in messages, as everywhere: params.layer1.0.conv1.kernel. The record has slashes, as it always had."""
    return name.replace("/", ".")


def make_record(step: int, arrays: Mapping[str, np.ndarray]) -> dict:
    """What is to be kept beside `arrays`, as JSON: {"step", "arrays": {name: [dtype, shape, sha256]}, "sha256"}."""
    body = {"step": step, "arrays": {name: _facts(array) for name, array in arrays.items()}}
    return {**body, "sha256": _seal(body)}


def read_record(file: Path, step: int) -> dict[str, list]:
    """The `arrays` of the record of `step` in `file`. Raises Damaged unless it is as it was written."""
    record = read_json(file)
    seal = record.pop("sha256", None) if isinstance(record, dict) else None
    if seal is None or seal != _seal(record):
        raise Damaged(f"{file.parent.name}/{file.name} is not what was saved")
    if record["step"] != step:
        raise Damaged(f"it is that of step {record['step']}")
    return record["arrays"]


def read_json(file: Path) -> Any:
    """What a JSON file of a checkpoint holds. Raises Damaged that names the file."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise Damaged(f"{file.parent.name}/{file.name} cannot be read: {reason}") from None


def check_arrays(arrays: Mapping[str, np.ndarray], record: Mapping[str, list]) -> None:
    """Raises Damaged for the first array that is not what the record says."""
    for name in sorted(arrays.keys() | record.keys()):
        if name not in arrays or name not in record:
            raise Damaged(f"{dotted(name)} is {'missing' if name in record else 'not among what was saved'}")
        if _facts(arrays[name]) != record[name]:
            raise Damaged(f"{dotted(name)} is not what was saved: its SHA-256 differs")


def check_config(record: Mapping[str, list], wanted: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for the first array that this config lacks, or needs and does not find or in another shape.

    wanted: {name: what has `shape` and `dtype`}.
    """
    remedy = "use the config saved in that workdir, or another --workdir."
    for kind, names in (("lacks", wanted.keys() - record.keys()), ("has", record.keys() - wanted.keys())):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            whose = "that this config needs" if kind == "lacks" else "that this config does not have"
            raise UserError(f"checkpoint {path} {kind} {dotted(min(names))}{more}, {whose}; {remedy}")
    for name, x in wanted.items():
        dtype, shape, _ = record[name]
        if (dtype, shape) != (str(x.dtype), list(x.shape)):
            raise UserError(
                f"checkpoint {path}: {dotted(name)} is {dtype}{shape} there, "
                f"but {x.dtype}{list(x.shape)} in this config; {remedy}"
            )


def _facts(array: np.ndarray) -> list:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return [str(array.dtype), list(array.shape), hashlib.sha256(content).hexdigest()]


def _seal(body: Mapping) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
