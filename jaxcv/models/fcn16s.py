"""FCN-16s (Long et al. 2015, arXiv 1411.4038), but pool4 is added in its 512 channels instead of in classes."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import UserError
from jaxcv.models import layers, vgg
from jaxcv.models.fcn32s import compute_scores
from jaxcv.ranges import Decay, PositiveCount


class Model(nn.Module):
    """The scores of FCN-32s with kernel 2, upsampled twice, plus pool4, upsampled 16 times. Fields as in FCN-32s."""

    depth: vgg.Depth = 16
    num_classes: PositiveCount = 7
    width: PositiveCount = 64
    hidden: PositiveCount = 4096
    dropout: Decay = 0.5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits (b, h', w', num_classes), stages).

        h' and w' are h and w rounded down to a multiple of 32. h and w must be at least 64 and at most 15 above a
        multiple of 32: otherwise pool4 is larger than what it is added to. The stages are those of FCN-32s and "fused",
        the sum.
        """
        h, w = x.shape[1:3]
        if min(h, w) < 64 or max(h % 32, w % 32) > 15:
            raise UserError(
                f"FCN-16s needs images of at least 64 x 64 pixels with sides a multiple of 32 or up to 15 more, "
                f"not {h} x {w}."
            )
        x, stages = compute_scores(self, x, 2, train=train)
        pool4 = stages["pool4"]
        x = layers.ConvTranspose(pool4.shape[-1], 4, 2, use_bias=False, name="classifier.7")(x)
        fused = x + pool4
        x = layers.ConvTranspose(self.num_classes, 16, 16, use_bias=False, name="upsample16")(fused)
        return x, stages | {"fused": fused, "logits": x}
