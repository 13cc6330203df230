"""Frozen parameters: they get no gradient, and their BatchNorm layers work as in evaluation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from flax import linen as nn

from jaxcv.models.layers import BatchNorm
from jaxcv.optim.parameters import matches, stop_gradients
from jaxcv.task import Batch, Loss, Tree


def freeze(loss: Loss, patterns: Sequence[str], *, statistics: bool = True) -> Loss:
    """A task's `loss` with the parameters that match the patterns (see jaxcv/optim/parameters.py) held constant.

    statistics: BatchNorm layers with a frozen scale normalise by their running statistics, which stay as they are.
    False: these are updated by every batch, as in torch where a network is frozen but left in train mode.
    """
    if not patterns:
        return loss

    def frozen_loss(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> tuple:
        mask = matches(params, patterns)
        with _frozen_statistics(mask) if statistics else nullcontext():
            return loss(stop_gradients(params, mask), model_state, batch, key)

    return frozen_loss


def _frozen_statistics(mask: Tree) -> AbstractContextManager:
    """A context in which the BatchNorm layers with a frozen scale are called with train=False."""
    scales = [path for path, frozen in jax.tree.leaves_with_path(mask) if frozen and path[-1].key == "scale"]
    modules = {tuple(entry.key for entry in path[:-1]) for path in scales}

    def intercept(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            kwargs = {**kwargs, "train": kwargs["train"] and context.module.path not in modules}
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)
