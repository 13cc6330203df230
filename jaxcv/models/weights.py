"""torch's state_dict to our variables and back: modules bear torch's names, so no model needs a table.

Of the arrays a `kernel` is torch's `weight` with other axes, the `scale` of a norm its `weight`, and the statistics
`mean` and `var` are its `running_mean` and `running_var`. Any other array (`bias`, a class token, ConvNeXt's `gamma`)
has the same name and the same axes on both sides.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcv.errors import UserError

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_PREFIX = "backbone."  # under which a network holds another one as its trunk


class Row(NamedTuple):
    """What became of one tensor; torch's names and axes, a shape is None where there is no such tensor."""

    name: str  # in the model, or in the file if the model has no place for it
    given: tuple[int, ...] | None
    wanted: tuple[int, ...] | None
    outcome: str  # "matched", "RGB summed", "missing", "unexpected", "mismatch", and "fresh", "unused" where allowed


def to_torch(variables: Any) -> dict[str, np.ndarray]:
    """`variables` as a state_dict of numpy arrays, torch's names and axes: the inverse of `from_torch`."""
    return {
        _torch_name(path): np.array(np.asarray(leaf).transpose(_torch_order(path, leaf)), order="C")
        for path, leaf in jax.tree.leaves_with_path(variables)
    }


def from_torch(state_dict: Mapping[str, np.ndarray], variables: Any) -> Any:
    """The tree `variables` (arrays, or shapes from `jax.eval_shape`) with the values of `state_dict`.

    The leaves are numpy arrays of the dtypes of `variables`. Each tensor must find its place by name and
    shape, and each place its tensor: if not, UserError names the first and counts the others. Only
    BatchNorm's `num_batches_tracked` has no use here and is dropped.
    """
    rows, place = _match(state_dict, variables, allow=(), fresh=(), rename=lambda name: name)
    check_rows(rows)
    return jax.tree.map_with_path(place, variables)


def fit(
    state_dict: Mapping[str, np.ndarray], variables: Any, *, allow: Sequence[str] = (), fresh: Sequence[str] = ()
) -> tuple[Any, list[Row]]:
    """What a network whose shapes are `variables` can take from a foreign `state_dict`, and a row for every tensor.

    The file may be the network's own, or that of its trunk `backbone`, or hold the network as its `backbone`: whichever
    fits most names. A convolution of one channel gets the sum of the filters of an RGB one. Tensors that match one of
    the patterns `allow` ("fc.*") may be missing or of another shape, these keep their initial values; or be unexpected,
    these are not used. Those that match one of `fresh` keep their initial values in any case. A pattern may be of our
    name ("fc.kernel", as in config.optim.freeze) or of torch's ("fc.weight"), in the network or in its trunk. Returns a
    tree like `variables` with None where nothing was taken; for the rows see `check_rows`.
    """
    renames = (
        lambda name: name,
        lambda name: _PREFIX + name,
        lambda name: name.removeprefix(_PREFIX),
    )
    wanted = set(_wanted(variables))
    rename = max(renames, key=lambda rename: len(wanted & {rename(name) for name in state_dict}))
    rows, place = _match(state_dict, variables, allow=allow, fresh=fresh, rename=rename)
    return jax.tree.map_with_path(place, variables), rows


def check_rows(rows: list[Row], *, source: str = "The weights", remedy: str = "") -> None:
    """UserError for the first tensor that is missing, has no place or another shape; counts the others."""
    for outcome, text in (
        ("missing", "lack {0.name}{more}; they must be those of this very model."),
        ("unexpected", "hold {0.name}{more}, for which the model has no place."),
        ("mismatch", "hold {0.name} of shape {0.given} where the model needs {0.wanted}{more}."),
    ):
        if bad := [row for row in rows if row.outcome == outcome]:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise UserError(f"{source} {text.format(bad[0], more=more)}{remedy}")


def summarize(rows: list[Row]) -> str:
    """One line: how many tensors were matched, and by name those that were not."""
    parts = [f"{sum(row.outcome == 'matched' for row in rows)} matched"]
    for outcome in ("RGB summed", "fresh", "unused", "missing", "unexpected", "mismatch"):
        if names := [row.name for row in rows if row.outcome == outcome]:
            rest = f" and {len(names) - 4} more" if len(names) > 5 else ""
            parts.append(f"{outcome}: {', '.join(names[:4] if rest else names)}{rest}")
    return "; ".join(parts)


def _match(state_dict, variables, *, allow, fresh, rename):
    """A row for every tensor, and the function (path, leaf) -> value or None."""
    kept = {k: np.asarray(v) for k, v in state_dict.items() if not k.endswith("num_batches_tracked")}
    given = {rename(k): v for k, v in kept.items()}
    if len(given) < len(kept):
        raise UserError(f"The weights hold two tensors of one name, inside and outside of {_PREFIX}*; keep one.")
    wanted = _wanted(variables)
    own = {_torch_name(path): _own_name(path) for path, _ in jax.tree.leaves_with_path(variables)}

    def matches(name, patterns):
        names = {n.removeprefix(prefix) for n in (name, own.get(name, name)) for prefix in ("", _PREFIX)}
        return any(fnmatchcase(n, pattern) for n in names for pattern in patterns)

    allowed = {name for name in (*given, *wanted) if matches(name, (*allow, *fresh))}
    rows, taken = [], {}
    for name, shape in wanted.items():
        value = given.get(name)
        if matches(name, fresh):
            outcome = "fresh"
        elif value is None:
            outcome = "fresh" if name in allowed else "missing"
        elif value.shape == shape:
            outcome, taken[name] = "matched", value
        elif name in allowed:
            outcome = "fresh"
        elif _is_one_channel_of(shape, value.shape) and own[name].endswith(".kernel"):
            outcome, taken[name] = "RGB summed", value.sum(1, keepdims=True)
        else:
            outcome = "mismatch"
        rows.append(Row(name, None if value is None else value.shape, shape, outcome))
    for name, value in given.items():
        if name not in wanted:
            rows.append(Row(name, value.shape, None, "unused" if name in allowed else "unexpected"))

    def place(path, leaf):
        value = taken.get(_torch_name(path))
        if value is None:
            return None
        return np.array(value.transpose(np.argsort(_torch_order(path, value))), leaf.dtype, order="C")

    return rows, place


def _is_one_channel_of(shape, rgb):
    return len(shape) == 4 and shape[1] == 1 and rgb == (shape[0], 3, *shape[2:])


def _wanted(variables):
    """{torch's name: torch's shape} of a tree of arrays or shapes."""
    leaves = jax.tree.leaves_with_path(variables)
    return {_torch_name(path): tuple(x.shape[i] for i in _torch_order(path, x)) for path, x in leaves}


def _own_name(path):
    """The parameter's name, see jaxcv/optim/parameters.py: the first entry is the collection, params or batch_stats."""
    return jax.tree_util.keystr(path[1:], simple=True, separator=".")


def _torch_name(path):
    *modules, leaf = _own_name(path).split(".")
    return ".".join([*modules, _LEAVES.get(leaf, leaf)])


def _torch_order(path, x):
    """Our axes in torch's order; those of a kernel are (h, w, in, out) -> (out, in, h, w), (in, out) -> (out, in).

    The kernel of a transposed convolution is (h, w, out, in) here and (in, out, h, w) there, so it needs no other rule.
    """
    axes = tuple(range(x.ndim))
    return (*axes[:-3:-1], *axes[:-2]) if path[-1].key == "kernel" else axes
