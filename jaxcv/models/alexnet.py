"""AlexNet in torchvision's form, the narrower net of Krizhevsky 2014 (arXiv 1404.5997)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models import layers


class Model(nn.Module):
    """Five convolutions and three linear layers.

    `num_classes=None` leaves out the linear layers: the output is the mean of "pool5" over space. `width` is the
    number of channels of the first convolution, 64 in the paper, and scales all others; `hidden` is that of the
    two hidden linear layers, each behind `dropout`. `dtype`, or its name, is that of the computation; parameters
    and the last layer are float32.
    """

    num_classes: int | None = 1000
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b num_classes, and every stage by name.

        "pool1" is some 1/8 of the image's size, "pool2", "conv3" and "conv4" 1/16, "pool5" 1/32. "avgpool" is
        b 6 6 c for any image; "fc6" and "fc7" are b hidden, "fc8" the logits. Without classes "avgpool" is b c
        and the last. UserError for images of less than 63 pixels.
        """
        if min(x.shape[1:3]) < 63:
            raise UserError(f"AlexNet needs images of at least 63 x 63 pixels, not {x.shape[1]} x {x.shape[2]}.")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        def conv(x, index, multiple, kernel, stride, padding):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": f"features.{index}"}
            return nn.relu(layers.conv(multiple * self.width, kernel, stride, padding, **options)(x))

        x = stages["pool1"] = layers.max_pool(conv(x, 0, 1, 11, 4, 2), 3, 2)  # b h w c
        x = stages["pool2"] = layers.max_pool(conv(x, 3, 3, 5, 1, 2), 3, 2)
        x = stages["conv3"] = conv(x, 6, 6, 3, 1, 1)
        x = stages["conv4"] = conv(x, 8, 4, 3, 1, 1)
        x = stages["pool5"] = layers.max_pool(conv(x, 10, 4, 3, 1, 1), 3, 2)

        if self.num_classes is None:
            x = stages["avgpool"] = layers.global_avg_pool(x)  # b c
            return x, stages

        def dense(x, index, features, dtype):
            return layers.dense(x.shape[-1], features, dtype=dtype, name=f"classifier.{index}")(x)

        x = stages["avgpool"] = layers.adaptive_avg_pool(x, 6)  # b 6 6 c
        x = layers.dropout(self, layers.flatten(x), self.dropout, train=train)
        x = stages["fc6"] = nn.relu(dense(x, 1, self.hidden, dtype))
        x = layers.dropout(self, x, self.dropout, train=train)
        x = stages["fc7"] = nn.relu(dense(x, 4, self.hidden, dtype))
        x = stages["fc8"] = dense(x, 6, self.num_classes, None)  # in the dtype of its parameters
        return x, stages
