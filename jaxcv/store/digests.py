"""The record beside a checkpoint's arrays: the dtype, shape and SHA-256 of each, and a SHA-256 of the record itself.

Flipped bits in array data are still valid numbers; only the record shows them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcv.errors import UserError
from jaxcv.store.files import is_whole, sealed
from jaxcv.task import Tree


class Damaged(Exception):
    """A checkpoint that cannot be read, or differs from what was saved; names the file or array."""


def by_name(tree: Tree) -> dict[str, Any]:
    """The leaves as {"params/conv1/kernel": leaf}, named alike in named tuples, dictionaries and lists."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


def dotted(name: str) -> str:
    """The name in messages: params.layer1.0.conv1.kernel. The record's file format has slashes."""
    return name.replace("/", ".")


def make_record(step: int, arrays: Mapping[str, np.ndarray], **facts: Any) -> dict:
    """The record of `arrays`, for JSON: {"step", "arrays": {name: [dtype, shape, sha256]}, **facts, "sha256"}."""
    return sealed({"step": step, "arrays": {name: _entry(array) for name, array in arrays.items()}, **facts})


def read_record(file: Path, step: int) -> dict[str, Any]:
    """The record of `step` in `file`. Raises Damaged if it has changed since it was written."""
    record = read_json(file)
    if not isinstance(record, dict) or not is_whole(record):
        raise Damaged(f"{file.parent.name}/{file.name} is not what was saved")
    if record["step"] != step:
        raise Damaged(f"it is that of step {record['step']}")
    return record


def read_json(file: Path) -> Any:
    """The content of a JSON file of a checkpoint. Raises Damaged."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no JSON"
        raise Damaged(f"{file.parent.name}/{file.name} cannot be read: {reason}") from None


def check_arrays(arrays: Mapping[str, np.ndarray], record: Mapping[str, list]) -> None:
    """Raises Damaged for the first array that differs from the record."""
    for name in sorted(arrays.keys() | record.keys()):
        if name not in arrays or name not in record:
            raise Damaged(f"{dotted(name)} is {'missing' if name in record else 'not among what was saved'}")
        if _entry(arrays[name]) != record[name]:
            raise Damaged(f"{dotted(name)} is not what was saved: its SHA-256 differs")


def check_config(record: Mapping[str, list], wanted: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for the first array that only the record or only the config has, or that differs in shape.

    wanted: name -> an object with `shape` and `dtype`, for the arrays of the config's state.
    """
    remedy = "use the config saved in that workdir, or another --workdir."
    for verb, names, clause in (
        ("lacks", wanted.keys() - record.keys(), "that this config needs"),
        ("has", record.keys() - wanted.keys(), "that this config does not have"),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"checkpoint {path} {verb} {dotted(min(names))}{more}, {clause}; {remedy}")
    for name, x in wanted.items():
        dtype, shape, _ = record[name]
        if (dtype, shape) != (str(x.dtype), list(x.shape)):
            raise UserError(
                f"checkpoint {path}: {dotted(name)} is {dtype}{shape} there, "
                f"but {x.dtype}{list(x.shape)} in this config; {remedy}"
            )


def _entry(array: np.ndarray) -> list:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return [str(array.dtype), list(array.shape), hashlib.sha256(content.data).hexdigest()]
