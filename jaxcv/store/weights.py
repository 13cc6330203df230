"""Weights in torch's files, read and written, and the averaged weights in a saved state."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcv.errors import UserError
from jaxcv.task import Tree

TORCH_FILES = (".pth", ".pt", ".bin")


def read_file(path: Path) -> dict[str, np.ndarray]:
    """The state_dict in a .safetensors file or, if torch is installed, a .pth, .pt or .bin file; nothing is executed.

    Raises UserError if it cannot be read.
    """
    if not path.exists():
        raise UserError(f"there are no weights at {path}; name a .safetensors or .pth file, or the workdir of a run.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in TORCH_FILES:
        return _read_torch(path)
    raise UserError(f"{path} is none of .safetensors, {', '.join(TORCH_FILES)}, nor the workdir of a run.")


def write(path: str | os.PathLike, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a .safetensors file that torch loads with `strict=True`, atomically. Raises UserError if it cannot."""
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise UserError(f"cannot write {path}: weights are exported as .safetensors, so its name must end in that.")
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(state_dict), part, metadata={"format": "pt"})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            part.unlink()
        raise UserError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}.") from None


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable .safetensors file: {error}.") from None


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"reading {path} needs torch, which is not installed; install it, or save the weights as .safetensors."
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of torch's unpickler or zip reader
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is not a file of weights that torch can load safely: {reason}") from None
    for name in ("state_dict", "model"):  # timm, torchvision's references and MoCo wrap it
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"{path} holds no state_dict: tensors by name, or that under 'state_dict' or 'model'.")
    # DistributedDataParallel puts "module." before every name
    return {name.removeprefix("module."): _to_numpy(value) for name, value in content.items()}


def _to_numpy(tensor: Any) -> np.ndarray:  # bfloat16, which numpy lacks, and float16 as float32
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() and tensor.itemsize == 2 else tensor).numpy()


def overlay_average(params: Tree, opt_state: Tree) -> Tree:
    """The parameters of a saved state, in nested containers, replaced by their averages if its optimiser has them."""
    return _overlay(params, _find_average(opt_state))


def _find_average(tree: Tree) -> Tree | None:
    """The averaged parameters in the state of an optimiser of jaxcv/optim, if there are any."""
    if not isinstance(tree, Mapping | list | tuple):
        return None
    if isinstance(tree, Mapping) and tree.get("average") is not None:
        return tree["average"]
    averages = map(_find_average, tree.values() if isinstance(tree, Mapping) else tree)
    return next((average for average in averages if average is not None), None)


def _overlay(tree: Tree, average: Tree | None) -> Tree:
    """`tree` with the leaves of `average`, which has none for frozen parameters."""
    if isinstance(tree, Mapping):
        return {name: _overlay(child, (average or {}).get(name)) for name, child in tree.items()}
    return tree if average is None else average
