"""DeepLabV3 (Chen et al. 2017, arXiv 1706.05587) over ResNet, in torchvision's form."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers, resnet
from jaxcv.ranges import Decay, PositiveCount

FEATURES = 256
RATES = (12, 24, 36)


class Model(nn.Module):
    """torchvision's deeplabv3_resnet50 or _resnet101: dilated ResNet, atrous spatial pyramid pooling, two more layers.

    `depth` is 50, 101 or 152, `width` that of the ResNet. `dropout` follows the pyramid. `aux` adds a second classifier
    on "layer3", with its own `aux_dropout`, for an auxiliary loss. The classifiers have torch's default initial
    weights.
    """

    depth: Literal[50, 101, 152] = 50
    num_classes: PositiveCount = 21
    aux: bool = False
    dropout: Decay = 0.5
    aux_dropout: Decay = 0.1
    width: PositiveCount = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits (b, h, w, num_classes), stages).

        The stages are the ResNet's, of which "layer2" to "layer4" are 1/8 of the image's size, rounded up; "aspp" of
        the same size, before dropout; "logits"; and with `aux` the second classifier's logits as "aux". Training needs
        at least two images, because the pyramid normalises one value per channel and image.
        """
        dtype = layers.float_dtype(self.dtype)
        backbone = resnet.Model(
            self.depth,
            num_classes=None,
            width=self.width,
            replace_stride_with_dilation=(False, True, True),
            dtype=dtype,
            name="backbone",
        )
        height, width = x.shape[1:3]
        _, stages = backbone(x, train=train)

        def block(x, features, kernel, name, index, dilation=1):
            """A convolution that keeps the size, BatchNorm and ReLU, called name.index and name.(index + 1)."""
            options = {"dilation": dilation, "in_features": x.shape[-1], "dtype": dtype, "name": f"{name}.{index}"}
            x = layers.conv(features, kernel, 1, kernel // 2 * dilation, **options)(x)
            return nn.relu(layers.BatchNorm(dtype=dtype, name=f"{name}.{index + 1}")(x, train=train))

        def classify(x, name):
            """Logits of the image's size."""
            x = layers.conv(self.num_classes, 1, in_features=x.shape[-1], use_bias=True, name=name)(x)
            return layers.resize(x, height, width)

        x = stages["layer4"]
        branches = [block(x, FEATURES, 1, "classifier.0.convs.0", 0)]
        for i, rate in enumerate(RATES, 1):
            branches.append(block(x, FEATURES, 3, f"classifier.0.convs.{i}", 0, rate))
        x = layers.global_avg_pool(x)[:, None, None]
        x = block(x, FEATURES, 1, "classifier.0.convs.4", 1)
        branches.append(jnp.broadcast_to(x, branches[0].shape))
        x = stages["aspp"] = block(jnp.concatenate(branches, -1), FEATURES, 1, "classifier.0.project", 0)
        x = layers.dropout(self, x, self.dropout, train=train)
        x = block(x, FEATURES, 3, "classifier", 1)
        stages["logits"] = classify(x, "classifier.4")

        if self.aux:
            x = stages["layer3"]
            x = block(x, x.shape[-1] // 4, 3, "aux_classifier", 0)
            x = layers.dropout(self, x, self.aux_dropout, train=train)
            stages["aux"] = classify(x, "aux_classifier.4")
        return stages["logits"], stages
