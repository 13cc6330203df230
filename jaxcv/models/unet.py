"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) in its usual public form: padded convolutions and BatchNorm."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers
from jaxcv.ranges import PositiveCount


class _DoubleConv(nn.Module):
    """Twice: a 3x3 convolution, BatchNorm if wanted, ReLU."""

    features: int
    batch_norm: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for i in (0, 3) if self.batch_norm else (0, 2):
            x = layers.conv(
                self.features,
                3,
                padding=1,
                in_features=x.shape[-1],
                use_bias=not self.batch_norm,
                dtype=self.dtype,
                name=f"double_conv.{i}",
            )(x)
            if self.batch_norm:
                x = layers.BatchNorm(dtype=self.dtype, name=f"double_conv.{i + 1}")(x, train=train)
            x = nn.relu(x)
        return x


class Model(nn.Module):
    """U-Net with `depth` halvings, 4 in the paper, and `width` channels at full size, 64 in the paper.

    Modules have the names of github.com/milesial/Pytorch-UNet, so its weights fit. With `batch_norm=False` it is the
    paper's network except for the padding.
    """

    depth: PositiveCount = 4
    num_classes: PositiveCount = 2
    width: PositiveCount = 64
    batch_norm: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c), h and w at least 2**depth, to (logits (b, h, w, num_classes), stages).

        "inc" has the image's size and `width` channels; each of "down1" to "down{depth}" has half the size of the
        previous one, rounded down, and twice its channels; "up1" to "up{depth}" go back, with zeros where halving has
        cut off a row or column; "outc" is the logits.
        """
        dtype = layers.float_dtype(self.dtype)
        layers.check_image_size(x, 2**self.depth, f"U-Net of depth {self.depth}")
        double_conv = functools.partial(_DoubleConv, batch_norm=self.batch_norm, dtype=dtype)
        stages = {}

        x = stages["inc"] = double_conv(self.width, name="inc")(x, train=train)
        for i in range(1, self.depth + 1):
            x = double_conv(self.width * 2**i, name=f"down{i}.maxpool_conv.1")(layers.max_pool(x, 2, 2), train=train)
            stages[f"down{i}"] = x

        skips = list(stages.values())[:-1]
        for i, skip in enumerate(reversed(skips), 1):
            features = skip.shape[-1]
            x = layers.ConvTranspose(features, 2, 2, dtype=dtype, name=f"up{i}.up")(x)
            below, right = skip.shape[1] - x.shape[1], skip.shape[2] - x.shape[2]  # 0 or 1
            x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
            x = double_conv(features, name=f"up{i}.conv")(jnp.concatenate([skip, x], -1), train=train)
            stages[f"up{i}"] = x

        outc = layers.conv(self.num_classes, 1, in_features=self.width, use_bias=True, name="outc.conv")
        x = stages["outc"] = outc(x)
        return x, stages
