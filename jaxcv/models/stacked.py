"""A classifier that keeps another network's classifier and stacks a linear layer on its logits."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxcv.config import call, load_part
from jaxcv.errors import ConfigError
from jaxcv.models import layers


class Model(nn.Module):
    """`network` ({"name": "resnet", "depth": 50, ...}; 1000 classes unless it says so), dropout, a linear layer.

    The network is the submodule `backbone`, so torchvision's file for it fits whole; the new layer is `head`.
    """

    network: Mapping[str, Any]
    num_classes: int | None = 1000
    dropout: float = 0.0
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c to (logits b num_classes, stages): the network's, its logits as "logits", and "head".

        With `num_classes=None` the output is the network's logits.
        """
        if "name" not in self.network:
            raise ConfigError(
                "config.model.network.name is missing; it is the classifier that the layer is stacked on."
            )
        options = {"dtype": self.dtype, **{k: v for k, v in self.network.items() if k != "name"}}
        found = load_part("models", self.network["name"], "Model", group="model.network")
        backbone = call(found.Model, options, group="model.network", name="backbone")
        x, stages = backbone(x, train=train)
        stages = {**stages, "logits": x}
        if self.num_classes is not None:
            x = layers.dropout(self, x, self.dropout, train=train)
            x = stages["head"] = layers.dense(x.shape[-1], self.num_classes, name="head")(x)
        return x, stages
