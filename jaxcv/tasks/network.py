"""What tasks share: a network's initial variables, its forward pass in training, and images as it sees them."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError
from jaxcv.ops.color import normalize
from jaxcv.ops.geometry import center_crop
from jaxcv.prng import stream, streams
from jaxcv.task import Augment, Batch, Init, Tree


def make_init(model: nn.Module, augment: Augment) -> Init:
    """The `init` of a task that trains `model` alone: its params, and {"batch_stats"}."""

    def init(key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        weights_key, augment_key = streams(key, "weights", "augment")
        variables = model.init(weights_key, augment(augment_key, batch)["image"], train=False)
        return variables["params"], {"batch_stats": variables.get("batch_stats", {})}

    return init


def forward(model: nn.Module, params: Tree, model_state: Tree, image: jax.Array, key: jax.Array) -> tuple:
    """((output, stages), model_state) of `model` in training mode, which updates its batch statistics."""
    variables, rngs = {"params": params, **model_state}, {"dropout": stream(key, "dropout")}
    output, updated = model.apply(variables, image, train=True, mutable=["batch_stats"], rngs=rngs)
    if not (isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], dict)):
        raise ConfigError("a network must return (output, stages), where stages is a dictionary of outputs by name.")
    return output, {"batch_stats": updated.get("batch_stats", {})}


def check_outputs(logits: jax.Array, outputs: int, *, fits: Callable[[int, int], bool] = operator.eq) -> None:
    """Raises ConfigError where the network has not as many outputs as the task needs, or not at least (operator.ge)."""
    if not fits(logits.shape[-1], outputs):
        raise ConfigError(
            f"the network has {logits.shape[-1]} outputs; with num_classes={outputs} it must have {outputs}."
        )


def make_normalize(info: Any) -> Callable[[jax.Array], jax.Array]:
    """Clips images (b, h, w, c) to [0, 1] and normalises them by the mean and standard deviation of the data."""
    return jax.vmap(lambda image: normalize(jnp.clip(image, 0.0, 1.0), mean=info.mean, std=info.std))


def make_prepare(info: Any, *, crop: int = 0) -> Callable[[jax.Array], jax.Array]:
    """uint8 (b, h, w, c) -> float32: the central `crop` x `crop` pixels (0: all), normalised as in training."""

    def prepare(image: jax.Array) -> jax.Array:
        image = center_crop(image, size=crop) if crop else image
        return normalize(image / jnp.float32(255), mean=info.mean, std=info.std)

    return jax.vmap(prepare)


def upcast(x: jax.Array) -> jax.Array:
    """float32 at least, for losses and measures."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
