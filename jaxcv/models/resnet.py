"""ResNet (He et al. 2015, arXiv 1512.03385) in torchvision's form, v1.5: a bottleneck strides in its 3x3."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError
from jaxcv.models import layers

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class _Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    width: int
    stride: int
    dilation: int
    zero_init_residual: bool
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train):
        conv, norm = _bind(self.dtype, train)
        y = conv(self.width, 3, self.stride, self.dilation, dilation=self.dilation, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        y = conv(self.width, 3, 1, self.dilation, dilation=self.dilation, name="conv2")(y)
        y = norm(name="bn2", scale_init=_last_scale(self.zero_init_residual))(y)
        return nn.relu(y + _shortcut(conv, norm, x, y.shape[-1], self.stride))


class _Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, and a shortcut."""

    width: int
    stride: int
    dilation: int
    zero_init_residual: bool
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train):
        conv, norm = _bind(self.dtype, train)
        y = conv(self.width, 1, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y))
        y = conv(self.width, 3, self.stride, self.dilation, dilation=self.dilation, name="conv2")(y)
        y = nn.relu(norm(name="bn2")(y))
        y = conv(4 * self.width, 1, name="conv3")(y)
        y = norm(name="bn3", scale_init=_last_scale(self.zero_init_residual))(y)
        return nn.relu(y + _shortcut(conv, norm, x, y.shape[-1], self.stride))


def _bind(dtype, train):
    conv = functools.partial(layers.conv, dtype=dtype)

    def norm(**kwargs):
        return functools.partial(layers.BatchNorm(dtype=dtype, **kwargs), train=train)

    return conv, norm


def _shortcut(conv, norm, x, features, stride):
    if stride == 1 and x.shape[-1] == features:
        return x
    x = conv(features, 1, stride, name="downsample.0")(x)
    return norm(name="downsample.1")(x)


def _last_scale(zero):
    return nn.initializers.zeros if zero else nn.initializers.ones


class Model(nn.Module):
    """ResNet-18, -34, -50, -101 or -152.

    `num_classes=None` leaves out the head: the output is the pooled features. `stem` is "imagenet" (7x7
    stride 2, then 3x3 max-pooling stride 2) or "small" (3x3 stride 1, no pooling: for images of some 32
    pixels). `width` is the number of channels of the first stage, 64 in the paper. `zero_init_residual`
    starts every block as the identity (Goyal et al. 2017, arXiv 1706.02677). `dtype`, or its name, is that of
    the computation; parameters, batch statistics, pooled features and head are float32.

    `replace_stride_with_dilation` says which of "layer2", "layer3" and "layer4" give up their stride of 2 and
    instead, as in torchvision, double the dilation of all 3x3 convolutions behind their first block (depth 50 and
    above). `last_dilation` multiplies the dilation in the last block of "layer4".
    """

    depth: int = 50
    num_classes: int | None = 1000
    stem: str = "imagenet"
    width: int = 64
    zero_init_residual: bool = False
    replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False)
    last_dilation: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b num_classes, and every stage by name.

        With the "imagenet" stem, "stem" (before its pooling) is 1/2 of the image's size and "layer1" to
        "layer4" are 1/4 to 1/32, rounded up; with "small" 1 and 1 to 1/8; a stride replaced doubles what follows.
        "avgpool" is b c, "fc" the logits. ConfigError for an unknown depth or stem, or a dilation it cannot have.
        """
        if self.depth not in STAGES:
            raise ConfigError(f"ResNet has no depth {self.depth!r}; it must be one of {', '.join(map(str, STAGES))}.")
        if self.stem not in ("imagenet", "small"):
            raise ConfigError(f"ResNet has no stem {self.stem!r}; it must be 'imagenet' or 'small'.")
        if len(self.replace_stride_with_dilation) != 3:
            raise ConfigError(
                f"ResNet has replace_stride_with_dilation {self.replace_stride_with_dilation!r}; it must be three "
                "bools, for layer2 to layer4."
            )
        if self.depth < 50 and any(self.replace_stride_with_dilation):
            raise ConfigError(
                f"ResNet of depth {self.depth} has replace_stride_with_dilation {self.replace_stride_with_dilation!r}; "
                "only depth 50 and above can have it, as in torchvision."
            )
        if self.last_dilation < 1:
            raise ConfigError(f"ResNet has last_dilation {self.last_dilation!r}; it must be at least 1.")
        dtype = layers.float_dtype(self.dtype)
        conv, norm = _bind(dtype, train)
        stages = {}

        kernel, stride, padding = (7, 2, 3) if self.stem == "imagenet" else (3, 1, 1)
        x = conv(self.width, kernel, stride, padding, name="conv1")(x)
        x = stages["stem"] = nn.relu(norm(name="bn1")(x))
        if self.stem == "imagenet":
            x = layers.max_pool(x, 3, 2, 1)

        block = _Basic if self.depth < 50 else _Bottleneck
        dilation = 1
        for i, blocks in enumerate(STAGES[self.depth]):
            dilate = i > 0 and self.replace_stride_with_dilation[i - 1]
            for j in range(blocks):
                last = i == 3 and j == blocks - 1
                x = block(
                    width=self.width * 2**i,
                    stride=2 if i > 0 and j == 0 and not dilate else 1,
                    dilation=dilation * (self.last_dilation if last else 1),
                    zero_init_residual=self.zero_init_residual,
                    dtype=dtype,
                    name=f"layer{i + 1}.{j}",
                )(x, train=train)
                if dilate and j == 0:  # the first block still has the dilation before
                    dilation *= 2
            stages[f"layer{i + 1}"] = x  # b h w c

        x = stages["avgpool"] = layers.global_avg_pool(x)  # b c
        if self.num_classes is not None:
            x = stages["fc"] = layers.dense(x.shape[-1], self.num_classes, name="fc")(x)
        return x, stages
