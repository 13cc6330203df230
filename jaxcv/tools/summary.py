"""What a network costs, layer by layer, from shapes alone: no data, no weights, nothing compiled."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxcv.models import layers

FUNCTIONS = ("max_pool", "avg_pool", "adaptive_avg_pool", "global_avg_pool", "upsample", "resize")
"""Those of `layers` that change an image's size. Other functions (activations, sums, concatenation) have no row."""


class Row(NamedTuple):
    """One call of a layer: of a module that has parameters of its own, or of one of FUNCTIONS."""

    path: str  # as in torch, "layer1.0.conv1"; of a function, that of the module that calls it and the function's name
    kind: str  # name of the class or function, such as "Conv" or "max_pool"
    input: jax.ShapeDtypeStruct
    output: jax.ShapeDtypeStruct
    params: dict[str, jax.ShapeDtypeStruct]  # empty for a function


def trace(model: nn.Module, shape: Sequence[int], *, train: bool) -> tuple[list[Row], dict[str, Any]]:
    """The layers of `model`, in the order of their calls, and the shapes of its variables, for float32 images b h w c.

    A module that is called twice has two rows, so parameters are to be counted in the variables.
    """
    rows, callers = [], []

    def module(call, args, kwargs, context):
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        callers.append(context.module.path)
        output = call(*args, **kwargs)
        path = callers.pop()
        params = context.module.variables.get("params", {})
        params = {name: _abstract(param) for name, param in params.items() if not isinstance(param, Mapping)}
        if params:
            kind = type(context.module).__name__.lstrip("_")
            rows.append(Row(".".join(path), kind, _abstract(args[0]), _abstract(output), params))
        return output

    def watched(name):
        call = getattr(layers, name)

        def function(x, *args, **kwargs):
            output = call(x, *args, **kwargs)
            rows.append(Row(".".join((*callers[-1], name)), name, _abstract(x), _abstract(output), {}))
            return output

        return function

    def init(x):
        params, dropout = jax.random.split(jax.random.key(0))
        return model.init({"params": params, "dropout": dropout}, x, train=train)

    # flax intercepts modules alone, so the functions are wrapped for as long as the trace takes
    functions = {name: watched(name) for name in FUNCTIONS}
    with nn.intercept_methods(module), mock.patch.multiple(layers, **functions):
        variables = jax.eval_shape(init, jax.ShapeDtypeStruct(shape, jnp.float32))
    return rows, variables


def _abstract(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def size(tree: Any) -> int:
    """The number of elements in a tree of arrays or of their shapes."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))


def nbytes(tree: Any) -> int:
    """The bytes of a tree of arrays or of their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def flops(row: Row) -> int:
    """Floating-point operations of a convolution or linear layer in the forward pass of the whole batch, else 0.

    A multiply-add is 2, so this is twice what is published as "multiply-adds" or "GMACs". As there, products with
    the zeros of a padding count, and biases, BatchNorm, pooling, resizing and elementwise functions do not.
    """
    if "kernel" not in row.params:
        return 0
    at = row.input if row.kind == "ConvTranspose" else row.output  # each of its positions meets the whole kernel once
    return 2 * math.prod(at.shape[:-1]) * size(row.params["kernel"])


def memory(rows: Sequence[Row], variables: Mapping[str, Any], tx: optax.GradientTransformation) -> dict[str, int]:
    """Bytes by what holds them in training with `tx`, for the batch that was traced, all of it on one device.

    Activations, what the forward pass keeps for the backward, are taken to be each row's output: an activation
    function's takes the place of that of the layer before it. XLA's temporaries for the whole step depend on the
    device; on a CPU in float32 they were 1.3 to 1.9 times that.
    """
    params = variables["params"]
    return {
        "parameters": nbytes(params),
        "batch statistics": nbytes(variables.get("batch_stats", {})),
        "gradients": nbytes(params),
        "optimiser state": nbytes(jax.eval_shape(tx.init, params)),
        "activations": nbytes([row.output for row in rows]),
    }


class LayerSize(NamedTuple):
    """A layer's row in the size table, for one image."""

    path: str
    kind: str
    outputs: int
    weights: int
    connections: int


def size_table(rows: Sequence[Row]) -> list[LayerSize]:
    """Outputs, weights and connections of each layer for one image, in the conventions of a course's size table.

    Connections: of a convolution or linear layer its multiply-adds, and one per output for the bias; of BatchNorm
    (h w)^2; of a function its inputs or its outputs, whichever are more (max-pooling: inputs, upsampling: outputs).
    The course had no transposed convolution, so to count it as a convolution is our reading.
    """
    return [LayerSize(row.path, row.kind, _outputs(row), size(row.params), _connections(row)) for row in rows]


def _outputs(row):
    return math.prod(row.output.shape[1:])


def _connections(row):
    batch, *positions, _ = row.output.shape
    if row.kind == "BatchNorm":
        return math.prod(positions) ** 2
    if "kernel" in row.params:
        return flops(row) // 2 // batch + ("bias" in row.params) * _outputs(row)
    return max(math.prod(row.input.shape[1:]), _outputs(row))
