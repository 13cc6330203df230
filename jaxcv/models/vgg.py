"""VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) in torchvision's form, with BatchNorm or without."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError, UserError
from jaxcv.models import layers

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # 3x3 convolutions


class Model(nn.Module):
    """VGG-11, -13, -16 or -19.

    `num_classes=None` leaves out the linear layers: the output is the mean of "pool5" over space. `width` is the
    number of channels of the first stage, 64 in the paper, and scales all others; `hidden` is that of the two
    hidden linear layers. `batch_norm` follows each convolution, `dropout` each hidden linear layer. `dtype`, or
    its name, is that of the computation; parameters, batch statistics and the last layer are float32.
    """

    depth: int = 16
    num_classes: int | None = 1000
    batch_norm: bool = False
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b num_classes, and every stage by name.

        "pool1" to "pool5" are 1/2 to 1/32 of the image's size, rounded down at each. "avgpool" is b 7 7 c for any
        image; "fc6" and "fc7" are b hidden, before dropout; "fc8" are the logits. Without classes "avgpool" is
        b c and the last. ConfigError for an unknown depth, UserError for images of less than 32 pixels.
        """
        if self.depth not in STAGES:
            raise ConfigError(f"VGG has no depth {self.depth!r}; it must be one of {', '.join(map(str, STAGES))}.")
        if min(x.shape[1:3]) < 32:
            raise UserError(f"VGG needs images of at least 32 x 32 pixels, not {x.shape[1]} x {x.shape[2]}.")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        index = 0  # in torchvision's list, where ReLU and pooling count too
        for i, convs in enumerate(STAGES[self.depth]):
            features = self.width * min(2**i, 8)
            for _ in range(convs):
                x = layers.conv(features, 3, 1, 1, use_bias=True, dtype=dtype, name=f"features.{index}")(x)
                if self.batch_norm:
                    index += 1
                    x = layers.BatchNorm(dtype=dtype, name=f"features.{index}")(x, train=train)
                x = nn.relu(x)
                index += 2
            x = stages[f"pool{i + 1}"] = layers.max_pool(x, 2, 2)  # b h w c
            index += 1

        if self.num_classes is None:
            x = stages["avgpool"] = layers.global_avg_pool(x)  # b c
            return x, stages

        x = stages["avgpool"] = layers.adaptive_avg_pool(x, 7)  # b 7 7 c
        x = layers.flatten(x)
        x = stages["fc6"] = nn.relu(_dense(self.hidden, "classifier.0", dtype)(x))
        x = layers.dropout(self, x, self.dropout, train=train)
        x = stages["fc7"] = nn.relu(_dense(self.hidden, "classifier.3", dtype)(x))
        x = layers.dropout(self, x, self.dropout, train=train)
        x = stages["fc8"] = _dense(self.num_classes, "classifier.6", None)(x)
        return x, stages


def _dense(features, name, dtype):
    """Starts from N(0, 0.01^2) and zero, as torchvision's; with dtype None it computes in that of its parameters."""
    return nn.Dense(features, kernel_init=nn.initializers.normal(0.01), dtype=dtype, name=name)
