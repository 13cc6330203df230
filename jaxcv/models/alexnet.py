"""AlexNet in torchvision's form, the narrower network of Krizhevsky 2014 (arXiv 1404.5997)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers
from jaxcv.ranges import Decay, PositiveCount


class Model(nn.Module):
    """Five convolutions and three linear layers; dropout precedes both hidden ones. `width` is 64 in the paper."""

    num_classes: PositiveCount | None = 1000
    width: PositiveCount = 64
    hidden: PositiveCount = 4096
    dropout: Decay = 0.5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 63, to (logits, stages).

        "pool1" is about 1/8 of the image's size, "pool2", "conv3" and "conv4" 1/16, "pool5" 1/32; "avgpool" is
        (b, 6, 6, c) for any image, "fc6" and "fc7" are (b, hidden), "fc8" is the logits. Without classes, the output
        "avgpool" is the mean of "pool5" over space.
        """
        layers.check_image_size(x, 63, "AlexNet")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        def conv(x, index, multiple, kernel, stride, padding):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": f"features.{index}"}
            return nn.relu(layers.conv(multiple * self.width, kernel, stride, padding, **options)(x))

        x = stages["pool1"] = layers.max_pool(conv(x, 0, 1, 11, 4, 2), 3, 2)
        x = stages["pool2"] = layers.max_pool(conv(x, 3, 3, 5, 1, 2), 3, 2)
        x = stages["conv3"] = conv(x, 6, 6, 3, 1, 1)
        x = stages["conv4"] = conv(x, 8, 4, 3, 1, 1)
        x = stages["pool5"] = layers.max_pool(conv(x, 10, 4, 3, 1, 1), 3, 2)

        if self.num_classes is None:
            x = stages["avgpool"] = layers.global_avg_pool(x)
            return x, stages

        x = stages["avgpool"] = layers.adaptive_avg_pool(x, 6)
        x = layers.flatten(x)
        for stage, index in (("fc6", 1), ("fc7", 4)):
            x = layers.dropout(self, x, self.dropout, train=train)
            x = nn.relu(layers.dense(x.shape[-1], self.hidden, dtype=dtype, name=f"classifier.{index}")(x))
            stages[stage] = x
        x = stages["fc8"] = layers.dense(self.hidden, self.num_classes, name="classifier.6")(x)
        return x, stages
