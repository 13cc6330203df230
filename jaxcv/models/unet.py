"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) in its usual public form: padded convolutions and BatchNorm."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError, UserError
from jaxcv.models import layers


class _DoubleConv(nn.Module):
    """Twice a 3x3 convolution, BatchNorm if wanted, ReLU."""

    features: int
    batch_norm: bool
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train):
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

    Modules bear the names of github.com/milesial/Pytorch-UNet, so its weights fit. `batch_norm=False` is the
    paper's network but for the padding. `dtype`, or its name, is that of the computation; parameters, batch
    statistics and the last convolution are float32.
    """

    depth: int = 4
    num_classes: int = 2
    width: int = 64
    batch_norm: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b h w num_classes, and every stage by name.

        Any h and w of at least 2**depth, else UserError: what halving cuts off is zeros on the way up. "inc"
        has the image's size and width channels, "down1" to "down{depth}" half of the size and twice the
        channels each, rounded down; "up1" to "up{depth}" go back; "outc" is the logits. ConfigError for a depth
        below 1.
        """
        if self.depth < 1:
            raise ConfigError(f"U-Net has no depth {self.depth!r}; it must be at least 1.")
        dtype = layers.float_dtype(self.dtype)
        if min(x.shape[1:3]) < 2**self.depth:
            raise UserError(
                f"U-Net of depth {self.depth} needs images of at least {2**self.depth} x {2**self.depth} pixels, "
                f"not {x.shape[1]} x {x.shape[2]}."
            )
        double_conv = functools.partial(_DoubleConv, batch_norm=self.batch_norm, dtype=dtype)
        stages = {}

        x = stages["inc"] = double_conv(self.width, name="inc")(x, train=train)
        skips = [x]
        for i in range(1, self.depth + 1):
            x = layers.max_pool(x, 2, 2)
            x = double_conv(self.width * 2**i, name=f"down{i}.maxpool_conv.1")(x, train=train)
            stages[f"down{i}"] = x
            skips.append(x)

        skips.pop()
        for i, skip in enumerate(reversed(skips), 1):
            features = skip.shape[-1]
            x = layers.ConvTranspose(features, 2, 2, dtype=dtype, name=f"up{i}.up")(x)
            below, right = skip.shape[1] - x.shape[1], skip.shape[2] - x.shape[2]  # 0 or 1
            x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
            x = double_conv(features, name=f"up{i}.conv")(jnp.concatenate([skip, x], -1), train=train)
            stages[f"up{i}"] = x

        x = layers.conv(self.num_classes, 1, in_features=self.width, use_bias=True, name="outc.conv")(x)
        stages["outc"] = x
        return x, stages
