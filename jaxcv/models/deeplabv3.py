"""DeepLabV3 (Chen et al. 2017, arXiv 1706.05587) over ResNet, in torchvision's form."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.models import layers, resnet

FEATURES = 256
RATES = (12, 24, 36)


class Model(nn.Module):
    """torchvision's deeplabv3_resnet50 or _resnet101: dilated ResNet, atrous spatial pyramid pooling, two more layers.

    `depth` is 50, 101 or 152. `aux` adds a second classifier, on "layer3", for an auxiliary loss. `dropout` is the
    rate behind the pyramid, `aux_dropout` that of the second classifier. `width` is that of the ResNet. `dtype`, or
    its name, is that of the computation; parameters, batch statistics and the last layers are float32. The
    classifiers start as torch's convolutions do by default.
    """

    depth: int = 50
    num_classes: int = 21
    aux: bool = False
    dropout: float = 0.5
    aux_dropout: float = 0.1
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h w num_classes, and every stage by name.

        Besides the ResNet's stages, "layer2" to "layer4" of them 1/8 of the image's size, rounded up, there are
        "aspp" of that size too, before dropout, "logits" and, with the second classifier, its logits as "aux", also
        b h w num_classes. Training needs at least two images: the pyramid normalises one value per channel of
        each. ConfigError for a depth that ResNet has not, or not with dilation.
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
            """A convolution that keeps the size, BatchNorm and ReLU: name.index and what follows it."""
            options = {"dilation": dilation, "in_features": x.shape[-1], "dtype": dtype, "name": f"{name}.{index}"}
            x = layers.conv(features, kernel, 1, kernel // 2 * dilation, **options)(x)
            return nn.relu(layers.BatchNorm(dtype=dtype, name=f"{name}.{index + 1}")(x, train=train))

        def classify(x, name):
            """Logits of the image's size, in the dtype of the parameters."""
            x = layers.conv(self.num_classes, 1, in_features=x.shape[-1], use_bias=True, name=name)(x)
            return layers.resize(x, height, width)

        x = stages["layer4"]
        branches = [block(x, FEATURES, 1, "classifier.0.convs.0", 0)]
        for i, rate in enumerate(RATES, 1):
            branches.append(block(x, FEATURES, 3, f"classifier.0.convs.{i}", 0, rate))
        x = layers.global_avg_pool(x)[:, None, None]  # b 1 1 c
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
