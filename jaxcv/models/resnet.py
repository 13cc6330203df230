"""ResNet (He et al. 2015, arXiv 1512.03385) in torchvision's form, v1.5: a bottleneck strides in its 3x3."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.errors import ConfigError
from jaxcv.models import layers
from jaxcv.ranges import PositiveCount

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class _Block(nn.Module):
    """Convolutions, each with BatchNorm and, except the last, ReLU; then the sum with a shortcut, and ReLU."""

    convs: tuple[tuple[int, int, int, int], ...]  # features, kernel, stride and dilation of each
    zero_init_residual: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        for i, (features, kernel, stride, dilation) in enumerate(self.convs, 1):
            last = i == len(self.convs)
            padding = kernel // 2 * dilation
            conv = layers.conv(features, kernel, stride, padding, dilation=dilation, dtype=self.dtype, name=f"conv{i}")
            scale_init = nn.initializers.zeros if last and self.zero_init_residual else nn.initializers.ones
            y = layers.BatchNorm(dtype=self.dtype, scale_init=scale_init, name=f"bn{i}")(conv(y), train=train)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            stride = max(stride for _, _, stride, _ in self.convs)
            x = layers.conv(y.shape[-1], 1, stride, dtype=self.dtype, name="downsample.0")(x)
            x = layers.BatchNorm(dtype=self.dtype, name="downsample.1")(x, train=train)
        return nn.relu(y + x)


def _basic(width: int, stride: int, dilation: int) -> tuple:
    """Two 3x3 convolutions."""
    return (width, 3, stride, dilation), (width, 3, 1, dilation)


def _bottleneck(width: int, stride: int, dilation: int) -> tuple:
    """1x1 to `width` channels, 3x3, 1x1 to four times as many."""
    return (width, 1, 1, 1), (width, 3, stride, dilation), (4 * width, 1, 1, 1)


class Model(nn.Module):
    """ResNet-18, -34, -50, -101 or -152.

    `stem` is "imagenet" (7x7 of stride 2, then 3x3 max-pooling of stride 2) or "small" (3x3 of stride 1, no pooling:
    for images of about 32 pixels). `width` is 64 in the paper. `zero_init_residual` starts every block as the identity
    (Goyal et al. 2017, arXiv 1706.02677).

    `replace_stride_with_dilation` says which of "layer2", "layer3" and "layer4" lose their stride of 2 and instead, as
    in torchvision, double the dilation of all 3x3 convolutions after their first block (only for depth 50 and above).
    `last_dilation` multiplies the dilation in the last block of "layer4".
    """

    depth: Literal[18, 34, 50, 101, 152] = 50
    num_classes: PositiveCount | None = 1000
    stem: Literal["imagenet", "small"] = "imagenet"
    width: PositiveCount = 64
    zero_init_residual: bool = False
    replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False)
    last_dilation: PositiveCount = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits, stages).

        With the stem "imagenet", "stem" (before its pooling) is 1/2 of the image's size and "layer1" to "layer4" are
        1/4 to 1/32, rounded up; with "small", 1 and 1 to 1/8. Each replaced stride doubles the sizes from there on.
        "avgpool" is (b, c), "fc" the logits.
        """
        dilated, key = self.replace_stride_with_dilation, "config.model.replace_stride_with_dilation"
        if len(dilated) != 3:
            raise ConfigError(f"{key}={dilated!r} must be three bools, for layer2 to layer4.")
        if self.depth < 50 and any(dilated):
            raise ConfigError(f"{key}={dilated!r} needs a config.model.depth of 50 or more, as in torchvision.")
        dtype = layers.float_dtype(self.dtype)
        stages = {}

        kernel, stride, padding = (7, 2, 3) if self.stem == "imagenet" else (3, 1, 1)
        x = layers.conv(self.width, kernel, stride, padding, dtype=dtype, name="conv1")(x)
        x = stages["stem"] = nn.relu(layers.BatchNorm(dtype=dtype, name="bn1")(x, train=train))
        if self.stem == "imagenet":
            x = layers.max_pool(x, 3, 2, 1)

        make_convs = _basic if self.depth < 50 else _bottleneck
        dilation = 1
        for i, blocks in enumerate(STAGES[self.depth]):
            dilate = i > 0 and dilated[i - 1]
            for j in range(blocks):
                stride = 2 if i > 0 and j == 0 and not dilate else 1
                last = self.last_dilation if i == 3 and j == blocks - 1 else 1
                convs = make_convs(self.width * 2**i, stride, dilation * last)
                x = _Block(convs, self.zero_init_residual, dtype, name=f"layer{i + 1}.{j}")(x, train=train)
                if dilate and j == 0:  # the first block still has the previous dilation
                    dilation *= 2
            stages[f"layer{i + 1}"] = x

        x = stages["avgpool"] = layers.global_avg_pool(x)
        if self.num_classes is not None:
            x = stages["fc"] = layers.dense(x.shape[-1], self.num_classes, name="fc")(x)
        return x, stages
