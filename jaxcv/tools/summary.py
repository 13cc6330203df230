"""The cost of a network, layer by layer, from shapes alone: without data or weights, and nothing is compiled."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxcv.models import layers
from jaxcv.task import Tree

# The functions of `layers` that change an image's size; activations, sums and concatenations have no row.
FUNCTIONS = ("max_pool", "avg_pool", "adaptive_avg_pool", "global_avg_pool", "upsample", "resize")


class Row(NamedTuple):
    """A call of a layer: a module with parameters of its own, or one of FUNCTIONS."""

    path: str  # as in torch, "layer1.0.conv1"; of a function, the path of the calling module and the function's name
    kind: str  # name of the class or function, such as "Conv" or "max_pool"
    input: jax.ShapeDtypeStruct
    output: jax.ShapeDtypeStruct
    params: dict[str, jax.ShapeDtypeStruct]  # empty for a function


def trace(model: nn.Module, shape: Sequence[int], *, train: bool) -> tuple[list[Row], dict[str, Tree]]:
    """The layers of `model` in the order of their calls, and the shapes of its variables.

    shape: of the float32 images, (b, h, w, c).
    A module that is called twice has two rows, so parameters must be counted in the variables.
    """
    rows: list[Row] = []
    callers: list[tuple[str, ...]] = []

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

    # flax intercepts modules only, so the functions are wrapped during the trace
    functions = {name: watched(name) for name in FUNCTIONS}
    with nn.intercept_methods(module), mock.patch.multiple(layers, **functions):
        variables = jax.eval_shape(init, jax.ShapeDtypeStruct(shape, jnp.float32))
    return rows, variables


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def size(tree: Tree) -> int:
    """The number of elements of a tree of arrays or shapes."""
    return sum(x.size for x in jax.tree.leaves(tree))


def nbytes(tree: Tree) -> int:
    """The bytes of a tree of arrays or shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def flops(row: Row) -> int:
    """Floating-point operations of a convolution or linear layer in the forward pass of the batch; 0 for other layers.

    A multiply-add counts as 2: published numbers of "multiply-adds" or "GMACs" are half of this. Like those, it
    includes products with padding, but no biases, BatchNorm, pooling, resizing or elementwise functions.
    """
    if "kernel" not in row.params:
        return 0
    once = row.input if row.kind == "ConvTranspose" else row.output  # each position meets the whole kernel once
    return 2 * math.prod(once.shape[:-1]) * size(row.params["kernel"])


def memory(rows: Sequence[Row], variables: Mapping[str, Tree], tx: optax.GradientTransformation) -> dict[str, int]:
    """Bytes of each part of the memory in training with `tx`, for the traced batch, all of it on one device.

    Activations, which the forward pass keeps for the backward pass, are estimated as the outputs of all rows: the
    output of an activation function replaces that of its layer. The temporaries of XLA for the whole step depend on the
    device; on a CPU in float32 they were 1.3 to 1.9 times as much.
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
    """A row of the size table."""

    path: str
    kind: str
    outputs: int
    weights: int
    connections: int


def size_table(rows: Sequence[Row]) -> list[LayerSize]:
    """Outputs, weights and connections of each layer for one image, counted as in a course's size table.

    Connections of a convolution or linear layer are its multiply-adds, and one per output for the bias; of BatchNorm
    (h w)^2; of a function its inputs or its outputs, whichever are more. The course had no transposed convolutions;
    here they count as convolutions.
    """
    table = []
    for row in rows:
        batch, *positions, _ = row.output.shape
        outputs = row.output.size // batch
        if row.kind == "BatchNorm":
            connections = math.prod(positions) ** 2
        elif "kernel" in row.params:
            connections = flops(row) // 2 // batch + ("bias" in row.params) * outputs
        else:
            connections = max(row.input.size // batch, outputs)
        table.append(LayerSize(row.path, row.kind, outputs, size(row.params), connections))
    return table
