"""FCN-32s (Long et al. 2015, arXiv 1411.4038): VGG whose linear layers are convolutions, scores upsampled 32 times."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers, vgg
from jaxcv.ranges import Decay, PositiveCount


class Classifier(nn.Module):
    """VGG's linear layers as convolutions: conv6 of `kernel`, conv7 of 1, each with dropout of channels, and scores."""

    num_classes: int
    kernel: int
    hidden: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """(b, h, w, c) to (scores (b, h, w, num_classes), stages); an even kernel takes 1 from height and width."""

        def conv(x, features, kernel, dtype, name):
            options = {"in_features": x.shape[-1], "use_bias": True, "dtype": dtype, "name": name}
            return layers.conv(features, kernel, padding=(kernel - 1) // 2, **options)(x)

        def drop(x):
            return layers.dropout(self, x, self.dropout, train=train, shared=(1, 2))

        stages = {}
        x = stages["conv6"] = nn.relu(conv(x, self.hidden, self.kernel, self.dtype, "0"))
        x = stages["conv7"] = nn.relu(conv(drop(x), self.hidden, 1, self.dtype, "3"))
        x = stages["scores"] = conv(drop(x), self.num_classes, 1, None, "6")
        return x, stages


def compute_scores(model: Any, x: jax.Array, kernel: int, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(scores, stages) by the submodules `backbone`, VGG, and `classifier` of an FCN, for images (b, h, w, c)."""
    dtype = layers.float_dtype(model.dtype)
    backbone = vgg.Model(model.depth, num_classes=None, width=model.width, dtype=dtype, name="backbone")
    _, stages = backbone(x, train=train)
    classifier = Classifier(model.num_classes, kernel, model.hidden, model.dropout, dtype, name="classifier")
    x, more = classifier(stages["pool5"], train=train)
    return x, stages | more


class Model(nn.Module):
    """FCN-32s on VGG of any `depth` and `width`.

    `kernel` is that of conv6: 2 or, with padding, 1 or 7 (VGG's own; the paper pads the image instead). `hidden` is the
    number of channels of conv6 and conv7, which `dropout` follows.
    """

    depth: vgg.Depth = 16
    num_classes: PositiveCount = 7
    kernel: PositiveCount = 2
    width: PositiveCount = 64
    hidden: PositiveCount = 4096
    dropout: Decay = 0.5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 32, or 64 for an even kernel, to (logits (b, h', w', n), stages).

        h' and w' are h and w rounded down to a multiple of 32: the rest is cut off below and on the right. The stages
        are VGG's, "conv6", "conv7" and "scores" of about 1/32 of the size, and "logits".
        """
        even = self.kernel % 2 == 0
        layers.check_image_size(x, 64 if even else 32, f"FCN-32s of kernel {self.kernel}")
        x, stages = compute_scores(self, x, self.kernel, train=train)
        padding = 0 if even else 16
        x = layers.ConvTranspose(self.num_classes, 64, 32, padding, use_bias=False, name="upsample32")(x)
        return x, stages | {"logits": x}
