"""torch's state_dict to our variables and back: modules have torch's names, so no model needs a table.

A `kernel` is torch's `weight` with its axes reordered, the `scale` of a norm its `weight`, and the statistics `mean`
and `var` are `running_mean` and `running_var`. Any other array (`bias`, a class token, ConvNeXt's `gamma`) has the
same name and axes on both sides.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcv.errors import UserError
from jaxcv.task import Tree

StateDict = Mapping[str, np.ndarray]

_TORCH_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
_PREFIX = "backbone."  # of a network that another one has as its trunk


class Row(NamedTuple):
    """What became of one tensor; names and axes are torch's, a shape is None where there is no such tensor."""

    name: str  # in the model, or in the file if the model has no place for it
    file_shape: tuple[int, ...] | None
    model_shape: tuple[int, ...] | None
    outcome: str  # "matched", "RGB summed", "missing", "unexpected", "mismatch", or where allowed "fresh", "unused"


def to_torch(variables: Tree) -> dict[str, np.ndarray]:
    """`variables` as a state_dict of numpy arrays, with torch's names and axes: the inverse of `from_torch`."""
    return {
        _torch_name(path): np.array(np.asarray(leaf).transpose(_torch_axes(path, leaf)), order="C")
        for path, leaf in jax.tree.leaves_with_path(variables)
    }


def from_torch(state_dict: StateDict, variables: Tree) -> Tree:
    """A tree like `variables` (arrays, or shapes from `jax.eval_shape`) with the values of `state_dict`.

    The leaves are numpy arrays with the dtypes of `variables`. UserError unless each tensor has a place and each place
    a tensor of its shape, with the liberties of `match_torch`.
    """
    tree, rows = match_torch(state_dict, variables)
    check_rows(rows)
    return tree


def match_torch(
    state_dict: StateDict, variables: Tree, *, allow: Sequence[str] = (), fresh: Sequence[str] = ()
) -> tuple[Tree, list[Row]]:
    """What a network with variables like `variables` can take from `state_dict`, and a row for every tensor.

    The file may be of the network itself, of its trunk `backbone`, or of a network whose `backbone` it is: whichever
    matches most names. A convolution of one channel gets the sum of an RGB convolution's filters. BatchNorm's
    `num_batches_tracked` is dropped.

    allow: patterns such as "fc.*" of tensors that may be missing or of another shape, and so keep their initial values,
    or unexpected, and so are not used.  fresh: patterns of tensors that keep their initial values in any case.
    A pattern may use our name ("fc.kernel", as in config.optim.freeze) or torch's ("fc.weight"), in the network or in
    its trunk.

    Returns a tree like `variables`, None where nothing was taken, and the rows, which `check_rows` judges.
    """
    leaves = jax.tree.leaves_with_path(variables)
    model_shapes = {_torch_name(path): tuple(x.shape[i] for i in _torch_axes(path, x)) for path, x in leaves}
    flax_names = {_torch_name(path): _flax_name(path) for path, _ in leaves}

    tensors = {name: np.asarray(x) for name, x in state_dict.items() if not name.endswith("num_batches_tracked")}
    renamings = (
        tensors,
        {_PREFIX + name: x for name, x in tensors.items()},
        {name.removeprefix(_PREFIX): x for name, x in tensors.items()},
    )
    count = len(tensors)
    tensors = max(renamings, key=lambda renamed: len(model_shapes.keys() & renamed.keys()))
    if len(tensors) < count:
        raise UserError(f"The weights hold two tensors of one name, inside and outside of {_PREFIX}*; keep one.")

    def matches(name: str, patterns: Sequence[str]) -> bool:
        names = {n.removeprefix(prefix) for n in (name, flax_names.get(name, name)) for prefix in ("", _PREFIX)}
        return any(fnmatchcase(n, pattern) for n in names for pattern in patterns)

    rows, taken = [], {}
    for name, shape in model_shapes.items():
        value = tensors.get(name)
        if matches(name, fresh):
            outcome = "fresh"
        elif value is not None and value.shape == shape:
            outcome, taken[name] = "matched", value
        elif matches(name, allow):
            outcome = "fresh"
        elif value is None:
            outcome = "missing"
        elif flax_names[name].endswith(".kernel") and _is_gray_of_rgb(shape, value.shape):
            outcome, taken[name] = "RGB summed", value.sum(1, keepdims=True)
        else:
            outcome = "mismatch"
        rows.append(Row(name, None if value is None else value.shape, shape, outcome))
    for name, value in tensors.items():
        if name not in model_shapes:
            rows.append(Row(name, value.shape, None, "unused" if matches(name, (*allow, *fresh)) else "unexpected"))

    def place(path: tuple, leaf: Any) -> np.ndarray | None:
        value = taken.get(_torch_name(path))
        if value is None:
            return None
        return np.array(value.transpose(np.argsort(_torch_axes(path, value))), leaf.dtype, order="C")

    return jax.tree.map_with_path(place, variables), rows


def check_rows(rows: Sequence[Row], *, source: str = "The weights", remedy: str = "") -> None:
    """UserError for the first tensor that is missing, has no place or another shape; counts the others."""
    for outcome, text in (
        ("missing", "lack {0.name}{more}; they must be those of this very model."),
        ("unexpected", "hold {0.name}{more}, for which the model has no place."),
        ("mismatch", "hold {0.name} of shape {0.file_shape} where the model needs {0.model_shape}{more}."),
    ):
        if bad := [row for row in rows if row.outcome == outcome]:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise UserError(f"{source} {text.format(bad[0], more=more)}{remedy}")


def summarize(rows: Sequence[Row]) -> str:
    """One line: how many tensors were matched, and the names of those that were not."""
    parts = [f"{sum(row.outcome == 'matched' for row in rows)} matched"]
    for outcome in ("RGB summed", "fresh", "unused", "missing", "unexpected", "mismatch"):
        if names := [row.name for row in rows if row.outcome == outcome]:
            rest = f" and {len(names) - 4} more" if len(names) > 5 else ""
            parts.append(f"{outcome}: {', '.join(names[:4] if rest else names)}{rest}")
    return "; ".join(parts)


def _is_gray_of_rgb(gray: tuple[int, ...], rgb: tuple[int, ...]) -> bool:
    return len(gray) == 4 and gray[1] == 1 and rgb == (gray[0], 3, *gray[2:])


def _flax_name(path: tuple) -> str:
    """The parameter's name, see jaxcv/optim/parameters.py; the first entry is the collection, params or batch_stats."""
    return jax.tree_util.keystr(path[1:], simple=True, separator=".")


def _torch_name(path: tuple) -> str:
    *modules, leaf = _flax_name(path).split(".")
    return ".".join([*modules, _TORCH_LEAVES.get(leaf, leaf)])


def _torch_axes(path: tuple, x: Any) -> tuple[int, ...]:
    """Our axes in torch's order; those of a kernel are (h, w, in, out) -> (out, in, h, w), (in, out) -> (out, in).

    The kernel of a transposed convolution is (h, w, out, in) here and (in, out, h, w) in torch: the same rule.
    """
    axes = tuple(range(x.ndim))
    return (*axes[:-3:-1], *axes[:-2]) if path[-1].key == "kernel" else axes
