"""A classifier that keeps another network's classifier and stacks a linear layer on its logits."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.config import call, load_part
from jaxcv.errors import ConfigError
from jaxcv.models import layers
from jaxcv.ranges import Decay, PositiveCount


class Model(nn.Module):
    """A network, dropout, and a linear layer.

    `network` has the name and fields of the network, such as {"name": "resnet", "depth": 50}; it keeps its own number
    of classes, 1000 by default. The network is the submodule `backbone`, so torchvision's file for it fits whole; the
    new layer is `head`. Without classes, the output is the network's logits.
    """

    network: Mapping[str, Any]
    num_classes: PositiveCount | None = 1000
    dropout: Decay = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits, stages): the network's stages, its logits as "logits", and "head"."""
        if "name" not in self.network:
            raise ConfigError(
                "config.model.network.name is missing; it is the classifier that the layer is stacked on."
            )
        options = {"dtype": self.dtype, **{k: v for k, v in self.network.items() if k != "name"}}
        module = load_part("models", self.network["name"], "Model", group="model.network")
        backbone = call(module.Model, options, group="model.network", name="backbone")
        x, stages = backbone(x, train=train)
        stages = {**stages, "logits": x}
        if self.num_classes is not None:
            x = layers.dropout(self, x, self.dropout, train=train)
            x = stages["head"] = layers.dense(x.shape[-1], self.num_classes, name="head")(x)
        return x, stages
