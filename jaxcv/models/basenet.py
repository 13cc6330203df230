"""BaseNet: LeNet-like classifiers of small images, a course's baseline and what its improvement was built from."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models import layers


class Model(nn.Module):
    """5x5 convolutions, each with max-pooling, then linear layers.

    The rows of the ablation on Fashion-MNIST (28 x 28 x 1, 10 classes) and their parameters:

        baseline             channels=(6, 12)                                               4,414
        + BatchNorm          batch_norm=True                                                4,450
        + 1st linear layer   hidden=(192,), batch_norm=True                                40,990
        + 2nd linear layer   hidden=(192, 12), batch_norm=True, dropout=0.5               41,506
        + channels           channels=(12, 24), and as before: the improved BaseNet        83,974

    The course report prints the first and last row layer by layer. What lies between is our reading of it: the
    layer of 192 takes the place of the baseline's layer of 12, which comes back behind it, and dropout, "between
    them", with it.

    `batch_norm` follows each convolution, `dropout` each hidden linear layer. `num_classes=None` leaves out all
    linear layers: the output is the last pooling, flattened. `dtype`, or its name, is that of the computation;
    parameters, batch statistics and the last layer are float32. Initial weights are torch's default.
    """

    num_classes: int | None = 10
    channels: tuple[int, ...] = (6, 12)
    hidden: tuple[int, ...] = (12,)
    batch_norm: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b num_classes, and every stage by name.

        "pool1", "pool2" are b h w c, h of each (h - 4) // 2 of the one before. "fc1" and on are b hidden, before
        dropout, the last the logits. UserError for an image of which the convolutions would leave nothing.
        """
        least = 5 * 2 ** len(self.channels) - 4  # one pixel after the last; m after a pooling takes 2 m + 4 before
        if min(x.shape[1:3]) < least:
            raise UserError(
                f"BaseNet with channels {self.channels} needs images of at least {least} x {least} pixels, "
                f"not {x.shape[1]} x {x.shape[2]}."
            )
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        for i, features in enumerate(self.channels, 1):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": f"conv{i}"}
            x = layers.conv(features, 5, **options)(x)
            if self.batch_norm:
                x = layers.BatchNorm(dtype=dtype, name=f"bn{i}")(x, train=train)
            x = stages[f"pool{i}"] = layers.max_pool(nn.relu(x), 2, 2)  # b h w c

        x = layers.flatten(x)
        if self.num_classes is None:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32)), stages

        for i, features in enumerate(self.hidden, 1):
            x = stages[f"fc{i}"] = nn.relu(layers.dense(x.shape[-1], features, dtype=dtype, name=f"fc{i}")(x))
            x = layers.dropout(self, x, self.dropout, train=train)
        last = f"fc{len(self.hidden) + 1}"
        x = stages[last] = layers.dense(x.shape[-1], self.num_classes, name=last)(x)
        return x, stages
