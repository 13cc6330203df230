"""BaseNet: LeNet-like classifiers of small images, a course's baseline and the steps of its improvement."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers
from jaxcv.ranges import Decay, PositiveCount, PositiveCounts


class Model(nn.Module):
    """5x5 convolutions of `channels`, each with max-pooling, then linear layers, with torch's default initial weights.

    The rows of the ablation on Fashion-MNIST (28 x 28 x 1, 10 classes) and their parameters:

        baseline             channels=(6, 12)                                               4,414
        + BatchNorm          batch_norm=True                                                4,450
        + 1st linear layer   hidden=(192,), batch_norm=True                                40,990
        + 2nd linear layer   hidden=(192, 12), batch_norm=True, dropout=0.5               41,506
        + channels           channels=(12, 24), and as before: the improved BaseNet        83,974

    The course report prints the first and the last row layer by layer. The rows between are our reading: the layer of
    192 replaces the baseline's layer of 12, which then returns behind it, with dropout "between them".

    `batch_norm` follows each convolution, `dropout` each hidden linear layer. Without classes, the output is the last
    pooling, flattened.
    """

    num_classes: PositiveCount | None = 10
    channels: PositiveCounts = (6, 12)
    hidden: PositiveCounts = (12,)
    batch_norm: bool = False
    dropout: Decay = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits, stages).

        The side of "pool1", "pool2" ... is (side - 4) // 2 of the one before. "fc1" and on are (b, hidden), before
        dropout; the last one is the logits.
        """
        # one pixel is left after the last pooling; m pixels after a pooling need 2 m + 4 before its convolution
        layers.check_image_size(x, 5 * 2 ** len(self.channels) - 4, f"BaseNet with channels {self.channels}")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        for i, features in enumerate(self.channels, 1):
            in_features = x.shape[-1]
            x = layers.conv(features, 5, in_features=in_features, use_bias=True, dtype=dtype, name=f"conv{i}")(x)
            if self.batch_norm:
                x = layers.BatchNorm(dtype=dtype, name=f"bn{i}")(x, train=train)
            x = stages[f"pool{i}"] = layers.max_pool(nn.relu(x), 2, 2)

        x = layers.flatten(x)
        if self.num_classes is None:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32)), stages

        for i, features in enumerate(self.hidden, 1):
            x = stages[f"fc{i}"] = nn.relu(layers.dense(x.shape[-1], features, dtype=dtype, name=f"fc{i}")(x))
            x = layers.dropout(self, x, self.dropout, train=train)
        last = f"fc{len(self.hidden) + 1}"
        x = stages[last] = layers.dense(x.shape[-1], self.num_classes, name=last)(x)
        return x, stages
