"""EfficientNet (Tan and Le 2019, arXiv 1905.11946) in torchvision's form."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.errors import ConfigError
from jaxcv.models import layers


class Variant(NamedTuple):
    """How many times B0's channels and blocks, and what torchvision sets with them."""

    width: float
    depth: float
    dropout: float
    epsilon: float = 1e-5  # of BatchNorm
    momentum: float = 0.1


VARIANTS = {
    "b0": Variant(1.0, 1.0, 0.2),
    "b1": Variant(1.0, 1.1, 0.2),
    "b2": Variant(1.1, 1.2, 0.3),
    "b3": Variant(1.2, 1.4, 0.3),
    "b4": Variant(1.4, 1.8, 0.4),
    "b5": Variant(1.6, 2.2, 0.4, 1e-3, 0.01),
    "b6": Variant(1.8, 2.6, 0.5, 1e-3, 0.01),
    "b7": Variant(2.0, 3.1, 0.5, 1e-3, 0.01),
}
STAGES = (  # of B0: expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class _Depthwise(nn.Module):
    """torch's Conv2d(c, c, kernel, stride, kernel // 2, groups=c, bias=False), summed in float32."""

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        kernel = self.param("kernel", layers.fan_out_normal, shape, jnp.float32)
        return _depthwise(x, kernel, stride=self.stride)


@functools.partial(jax.jit, static_argnames="stride")  # equal blocks are traced once
def _depthwise(x, kernel, *, stride):
    # Tap by tap, for XLA's grouped convolution takes a CPU some ten times as long, forward and backward.
    (h, w), size = x.shape[1:3], len(kernel)
    edge = (size // 2, size // 2)
    padded = jnp.pad(x.astype(jnp.promote_types(x.dtype, jnp.float32)), ((0, 0), edge, edge, (0, 0)))
    taps = [
        padded[:, i : i + h : stride, j : j + w : stride] * kernel[i : i + 1, j : j + 1]
        for i in range(size)
        for j in range(size)
    ]
    return sum(taps).astype(x.dtype)


class _MBConv(nn.Module):
    """1x1 up `expansion` times, depthwise, squeeze-and-excitation, 1x1 down, and a shortcut where shapes agree."""

    expansion: int
    kernel: int
    stride: int
    features: int
    drop: float
    variant: Variant
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train):
        conv, norm = _bind(self.variant, self.dtype, train)
        wide = self.expansion * x.shape[-1]
        y, i = x, 0  # torchvision's list starts with the depthwise one if there is nothing to expand
        if self.expansion > 1:
            y = conv(wide, 1, name="block.0.0")(y)
            y, i = nn.silu(norm("block.0.1")(y)), 1
        y = _Depthwise(self.kernel, self.stride, name=f"block.{i}.0")(y)
        y = nn.silu(norm(f"block.{i}.1")(y))

        gate = layers.global_avg_pool(y)[:, None, None]  # b 1 1 c
        gate = nn.silu(conv(x.shape[-1] // 4, 1, use_bias=True, name=f"block.{i + 1}.fc1")(gate))
        gate = nn.sigmoid(conv(wide, 1, use_bias=True, name=f"block.{i + 1}.fc2")(gate))

        y = conv(self.features, 1, name=f"block.{i + 2}.0")(gate * y)
        y = norm(f"block.{i + 2}.1")(y)
        if self.stride == 1 and self.features == x.shape[-1]:
            y = x + layers.dropout(self, y, self.drop, train=train, shared=(1, 2, 3))
        return y


def _bind(variant, dtype, train):
    conv = functools.partial(layers.conv, dtype=dtype)

    def norm(name):
        return functools.partial(layers.BatchNorm(variant.momentum, variant.epsilon, dtype, name=name), train=train)

    return conv, norm


def _round(channels):
    """The multiple of 8 that is nearest, or the next above where that is less than 0.9 of `channels`."""
    nearest = int(channels + 4) // 8 * 8
    return nearest if nearest >= 0.9 * channels else nearest + 8


class Model(nn.Module):
    """EfficientNet-B0 to -B7.

    `num_classes=None` leaves out the head: the output is the pooled features. `dropout` is that before the linear
    layer, by default the variant's. `stochastic_depth` is the rate, per image, at which a residual block behind the
    last would be left out (Huang et al. 2016, arXiv 1603.09382); it rises linearly from 0 at the first. `dtype`, or
    its name, is that of the computation; parameters, batch statistics, pooled features and head are float32.
    """

    variant: str = "b0"
    num_classes: int | None = 1000
    dropout: float | None = None
    stochastic_depth: float = 0.2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images b h w c, float, any c, to (output, stages): logits b num_classes, and every stage by name.

        "stem" and "layer1" are 1/2 of the image's size, "layer2" 1/4, "layer3" 1/8, "layer4" and "layer5" 1/16,
        "layer6", "layer7" and "lastconv" 1/32, rounded up. "avgpool" is b c, "classifier" the logits. ConfigError
        for an unknown variant or a rate that is none.
        """
        if self.variant not in VARIANTS:
            raise ConfigError(f"EfficientNet has no variant {self.variant!r}; it must be one of {', '.join(VARIANTS)}.")
        if not 0 <= self.stochastic_depth <= 1:
            raise ConfigError(f"EfficientNet has stochastic_depth {self.stochastic_depth!r}; it must be in [0, 1].")
        variant, dtype = VARIANTS[self.variant], layers.float_dtype(self.dtype)
        conv, norm = _bind(variant, dtype, train)
        stages = {}

        x = conv(_round(32 * variant.width), 3, 2, 1, name="features.0.0")(x)
        x = stages["stem"] = nn.silu(norm("features.0.1")(x))

        depths = [math.ceil(variant.depth * blocks) for *_, blocks in STAGES]
        for i, (expansion, kernel, stride, channels, _) in enumerate(STAGES):
            for j in range(depths[i]):
                x = _MBConv(
                    expansion=expansion,
                    kernel=kernel,
                    stride=stride if j == 0 else 1,
                    features=_round(variant.width * channels),
                    drop=self.stochastic_depth * (sum(depths[:i]) + j) / sum(depths),
                    variant=variant,
                    dtype=dtype,
                    name=f"features.{i + 1}.{j}",
                )(x, train=train)
            stages[f"layer{i + 1}"] = x  # b h w c

        x = conv(4 * x.shape[-1], 1, name="features.8.0")(x)
        x = stages["lastconv"] = nn.silu(norm("features.8.1")(x))
        x = stages["avgpool"] = layers.global_avg_pool(x)  # b c
        if self.num_classes is not None:
            x = layers.dropout(self, x, variant.dropout if self.dropout is None else self.dropout, train=train)
            kernel_init = layers.fan_in_uniform(self.num_classes)  # torchvision takes the fan-out
            x = stages["classifier"] = nn.Dense(self.num_classes, kernel_init=kernel_init, name="classifier.1")(x)
        return x, stages
