"""Colourisation: a grey image to one of a palette's colours for each pixel, which is segmentation of a grey image.

The mask holds the palette's index of each pixel's colour; the network sees the mean of the channels over 256.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcv.measure import metrics
from jaxcv.task import Task
from jaxcv.tasks import segment
from jaxcv.tasks.segment import num_outputs
from jaxcv.tasks.supervised import diagnose, get_network, make_schedules, set_network

__all__ = ["diagnose", "get_network", "make_schedules", "num_outputs", "set_network"]  # as they are there


def make(
    model: nn.Module,
    augment: Callable,
    predict: Callable,
    *,
    info: Any,
    total_steps: int,
    loss: str = "cross_entropy",
) -> Task:
    """Colourisation by `model`, from grey images to logits for the colours, `info.classes`; loss as in segment."""
    return segment.make(model, augment, predict, info=info, total_steps=total_steps, loss=loss)


def grey(image: jax.Array) -> jax.Array:
    """uint8 (..., c) -> float32 (..., 1) in [0, 1): the mean of the channels over 256."""
    return image.astype(jnp.float32).mean(-1, keepdims=True) / 256


def make_augment(info: Any) -> Callable:
    """augment(key, batch) -> batch with the grey `image` and its `mask`, int32; nothing is drawn."""

    def augment(key: jax.Array, batch: dict) -> dict:
        return {**batch, "image": grey(batch["image"]), "mask": batch["mask"].astype(jnp.int32)}

    return augment


def make_predict(model: nn.Module, info: Any, **_: Any) -> Callable:
    """predict(params, model_state, image) -> {"logits": float32 (b, h, w, n), "prediction": uint8 (b, h, w)}.

    image: uint8 (b, h, w, c), colours or grey.
    """

    def predict(params: Any, model_state: Any, image: jax.Array) -> dict:
        logits, _ = model.apply({"params": params, **model_state}, grey(image), train=False)
        logits = logits.astype(jnp.float32)
        return {"logits": logits, "prediction": metrics.most_probable(logits).astype(jnp.uint8)}

    return predict
