"""torch's state_dict to our variables and back: modules bear torch's names, so no model needs a table."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcv.errors import UserError

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def from_torch(state_dict: Mapping[str, np.ndarray], variables: Any) -> Any:
    """The tree `variables` (arrays, or shapes from `jax.eval_shape`) with the values of `state_dict`.

    The leaves are numpy arrays of the dtypes of `variables`. Each tensor must find its place by name and
    shape, and each place its tensor: if not, UserError names the first and counts the others. Only
    BatchNorm's `num_batches_tracked` has no use here and is dropped.
    """
    given = {k: np.asarray(v) for k, v in state_dict.items() if not k.endswith("num_batches_tracked")}
    wanted = {_torch_name(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(variables)}
    wanted = {name: tuple(shape[i] for i in _torch_order(len(shape))) for name, shape in wanted.items()}

    if missing := [name for name in wanted if name not in given]:
        raise UserError(f"The weights lack {missing[0]}{_more(missing)}; they must be those of this very model.")
    if unexpected := [name for name in given if name not in wanted]:
        raise UserError(f"The weights hold {unexpected[0]}{_more(unexpected)}, for which the model has no place.")
    if misfits := [name for name in wanted if given[name].shape != wanted[name]]:
        name = misfits[0]
        raise UserError(
            f"The weights hold {name} of shape {given[name].shape} where the model needs {wanted[name]}"
            f"{_more(misfits)}."
        )

    def convert(path, leaf):
        value = given[_torch_name(path)]
        return np.array(value.transpose(np.argsort(_torch_order(value.ndim))), leaf.dtype, order="C")

    return jax.tree.map_with_path(convert, variables)


def to_torch(variables: Any) -> dict[str, np.ndarray]:
    """`variables` as a state_dict of numpy arrays, torch's names and axes: the inverse of `from_torch`."""
    return {
        _torch_name(path): np.array(np.asarray(leaf).transpose(_torch_order(leaf.ndim)), order="C")
        for path, leaf in jax.tree.leaves_with_path(variables)
    }


def _torch_name(path):
    _, *modules, leaf = (entry.key for entry in path)  # the first is the collection, params or batch_stats
    return ".".join([*modules, _LEAVES[leaf]])


def _torch_order(ndim):
    """Our axes in torch's order: (h, w, in, out) -> (out, in, h, w), (in, out) -> (out, in)."""
    return (ndim - 1, ndim - 2, *range(ndim - 2)) if ndim > 1 else tuple(range(ndim))


def _more(names):
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
