"""Frozen parameters: no gradient reaches them, and their BatchNorm runs as in evaluation."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import jax
from flax import linen as nn

from jaxcv.models.layers import BatchNorm
from jaxcv.optim.parameters import matches, stop_gradients


def freeze(loss: Callable, patterns: Sequence[str], *, statistics: bool = True) -> Callable:
    """A task's `loss` for which the parameters that match the patterns (see jaxcv/optim/parameters.py) are constants.

    statistics: the running statistics of BatchNorm layers whose scale is frozen stand still, and normalise in training
    too. False: they drift with each batch, as in torch where a network is frozen but left in train mode.
    """
    if not patterns:
        return loss

    def frozen_loss(params: Any, model_state: Any, batch: dict, key: jax.Array) -> tuple:
        mask = matches(params, patterns)
        with _standing_still(mask) if statistics else nullcontext():
            return loss(stop_gradients(params, mask), model_state, batch, key)

    return frozen_loss


def _standing_still(mask: Any) -> Any:
    """A context in which the BatchNorm layers with a frozen scale are called with train=False."""
    scales = [path for path, frozen in jax.tree.leaves_with_path(mask) if frozen and path[-1].key == "scale"]
    modules = {tuple(entry.key for entry in path[:-1]) for path in scales}

    def intercept(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
            kwargs = {**kwargs, "train": kwargs["train"] and context.module.path not in modules}
        return call(*args, **kwargs)

    return nn.intercept_methods(intercept)
