"""FCN-8s (Long et al. 2015, arXiv 1411.4038) with the decoder of github.com/pochih/FCN-pytorch."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import UserError
from jaxcv.models import layers, vgg
from jaxcv.ranges import PositiveCount


class Model(nn.Module):
    """VGG of any `depth`, then five transposed convolutions, each of which doubles the size, and a classifier.

    `skips` adds pool4 to the output of the first one and pool3 to that of the second. `width` is 64 in the paper.
    """

    depth: vgg.Depth = 16
    num_classes: PositiveCount = 11
    skips: bool = True
    width: PositiveCount = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 32, to (logits (b, h', w', num_classes), stages).

        h' and w' are h and w rounded down to a multiple of 32. With skips, h and w must be at most 7 above such a
        multiple: otherwise pool3 is larger than what it is added to. The stages are VGG's, "up1" to "up5", which are
        1/16 of h' and w' to 1, and "logits".
        """
        h, w = x.shape[1:3]
        if self.skips and max(h % 32, w % 32) > 7:
            raise UserError(f"FCN-8s needs images with sides a multiple of 32 or up to 7 more, not {h} x {w}.")
        dtype = layers.float_dtype(self.dtype)
        backbone = vgg.Model(self.depth, num_classes=None, width=self.width, dtype=dtype, name="backbone")
        _, stages = backbone(x, train=train)

        x = stages["pool5"]
        skips = {1: stages["pool4"], 2: stages["pool3"]} if self.skips else {}
        for i in range(1, 6):
            features = 16 * self.width // 2**i
            x = nn.relu(layers.ConvTranspose(features, 3, 2, 1, 1, dtype=dtype, name=f"deconv{i}")(x))
            if i in skips:
                x = x + skips[i]
            x = stages[f"up{i}"] = layers.BatchNorm(dtype=dtype, name=f"bn{i}")(x, train=train)

        classifier = layers.conv(self.num_classes, 1, in_features=x.shape[-1], use_bias=True, name="classifier")
        x = stages["logits"] = classifier(x)
        return x, stages
