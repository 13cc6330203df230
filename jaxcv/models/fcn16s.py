"""FCN-16s (Long et al. 2015, arXiv 1411.4038), with the addition to pool4 done in its 512 channels, not in classes."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models import layers, vgg
from jaxcv.models.fcn32s import Classifier


class Model(nn.Module):
    """FCN-16s on VGG of any `depth`: the scores of FCN-32s, upsampled twice, plus pool4, upsampled 16 times.

    The fields are those of FCN-32s; the kernel of conv6 is 2.
    """

    depth: int = 16
    num_classes: int = 7
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h' w' num_classes, and every stage by name.

        h' and w' are h and w, rounded down to a multiple of 32. UserError if h or w is less than 64, or more than
        15 above a multiple of 32, as pool4 is then larger than what it is added to. Besides the stages of FCN-32s
        there is "fused", the sum.
        """
        h, w = x.shape[1:3]
        if min(h, w) < 64 or max(h % 32, w % 32) > 15:
            raise UserError(
                f"FCN-16s needs images of at least 64 x 64 pixels with sides a multiple of 32 or up to 15 more, "
                f"not {h} x {w}."
            )
        dtype = layers.float_dtype(self.dtype)
        backbone = vgg.Model(self.depth, num_classes=None, width=self.width, dtype=dtype, name="backbone")
        _, stages = backbone(x, train=train)
        classifier = Classifier(self.num_classes, 2, self.hidden, self.dropout, dtype, name="classifier")
        x, more = classifier(stages["pool5"], train=train)

        pool4 = stages["pool4"]
        x = layers.ConvTranspose(pool4.shape[-1], 4, 2, use_bias=False, name="classifier.7")(x)
        fused = x + pool4
        x = layers.ConvTranspose(self.num_classes, 16, 16, use_bias=False, name="upsample16")(fused)
        return x, stages | more | {"fused": fused, "logits": x}
