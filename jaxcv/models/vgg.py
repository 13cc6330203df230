"""VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) in torchvision's form, with BatchNorm or without."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers
from jaxcv.ranges import Decay, PositiveCount

Depth = Literal[11, 13, 16, 19]
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # 3x3 convolutions


class Model(nn.Module):
    """VGG-11, -13, -16 or -19.

    `width` is 64 in the paper. `batch_norm` follows each convolution, `dropout` each of the two hidden linear layers.
    """

    depth: Depth = 16
    num_classes: PositiveCount | None = 1000
    batch_norm: bool = False
    width: PositiveCount = 64
    hidden: PositiveCount = 4096
    dropout: Decay = 0.5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 32, to (logits, stages).

        "pool1" to "pool5" are 1/2 to 1/32 of the image's size, rounded down at each; "avgpool" is (b, 7, 7, c) for any
        image, "fc6" and "fc7" are (b, hidden), before dropout, "fc8" is the logits. Without classes, the output
        "avgpool" is the mean of "pool5" over space.
        """
        layers.check_image_size(x, 32, "VGG")
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
            x = stages[f"pool{i + 1}"] = layers.max_pool(x, 2, 2)
            index += 1

        if self.num_classes is None:
            x = stages["avgpool"] = layers.global_avg_pool(x)
            return x, stages

        def dense(features, index, dtype):  # starts from torchvision's N(0, 0.01^2) and zero
            kernel_init = nn.initializers.normal(0.01)
            return nn.Dense(features, kernel_init=kernel_init, dtype=dtype, name=f"classifier.{index}")

        x = stages["avgpool"] = layers.adaptive_avg_pool(x, 7)
        x = layers.flatten(x)
        for stage, index in (("fc6", 0), ("fc7", 3)):
            x = stages[stage] = nn.relu(dense(self.hidden, index, dtype)(x))
            x = layers.dropout(self, x, self.dropout, train=train)
        x = stages["fc8"] = dense(self.num_classes, 6, None)(x)
        return x, stages
