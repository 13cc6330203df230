"""torch's state_dict to our variables and back: modules bear torch's names, so no model needs a table."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

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
        _torch_name(path): np.array(np.asarray(leaf).transpose(_torch_order(leaf.ndim)), order="C")
        for path, leaf in jax.tree.leaves_with_path(variables)
    }


def from_torch(state_dict: Mapping[str, np.ndarray], variables: Any) -> Any:
    """The tree `variables` (arrays, or shapes from `jax.eval_shape`) with the values of `state_dict`.

    The leaves are numpy arrays of the dtypes of `variables`. Each tensor must find its place by name and
    shape, and each place its tensor: if not, UserError names the first and counts the others. Only
    BatchNorm's `num_batches_tracked` has no use here and is dropped.
    """
    rows, place = _match(state_dict, variables, allow=(), fresh=(), rename=lambda name: name)
    check(rows)
    return jax.tree.map_with_path(place, variables)


def fit(
    state_dict: Mapping[str, np.ndarray], variables: Any, *, allow: Sequence[str] = (), fresh: Sequence[str] = ()
) -> tuple[Any, list[Row]]:
    """What a network whose shapes are `variables` can take from a foreign `state_dict`, and a row for every tensor.

    The file may be the network's own, or that of its trunk `backbone`, or hold the network as its `backbone`: whichever
    fits most names. A convolution of one channel gets the sum of the filters of an RGB one. Tensors whose names match
    one of the patterns `allow` ("fc.*", of the network or of its trunk) may be missing or of another shape, these keep
    their initial values; or be unexpected, these are not used. Those that match one of `fresh` keep their initial
    values in any case. Returns a tree like `variables` with None where nothing was taken; for the rows see `check`.
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


def check(rows: list[Row], *, source: str = "The weights", remedy: str = "") -> None:
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

    def matches(name, patterns):
        return any(fnmatchcase(n, pattern) for n in (name, name.removeprefix(_PREFIX)) for pattern in patterns)

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
        elif len(shape) == 4 and value.shape == (shape[0], 3, *shape[2:]) and shape[1] == 1:
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
        return np.array(value.transpose(np.argsort(_torch_order(value.ndim))), leaf.dtype, order="C")

    return rows, place


def _wanted(variables):
    """{torch's name: torch's shape} of a tree of arrays or shapes."""
    shapes = {_torch_name(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(variables)}
    return {name: tuple(shape[i] for i in _torch_order(len(shape))) for name, shape in shapes.items()}


def _torch_name(path):
    _, *modules, leaf = (entry.key for entry in path)  # the first is the collection, params or batch_stats
    return ".".join([*modules, _LEAVES[leaf]])


def _torch_order(ndim):
    """Our axes in torch's order: (h, w, in, out) -> (out, in, h, w), (in, out) -> (out, in).

    The kernel of a transposed convolution is (h, w, out, in) here and (in, out, h, w) there, so it needs no other rule.
    """
    return (ndim - 1, ndim - 2, *range(ndim - 2)) if ndim > 1 else tuple(range(ndim))
