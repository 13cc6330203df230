"""EfficientNet (Tan and Le 2019, arXiv 1905.11946) in torchvision's form."""

import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxcv.models import layers
from jaxcv.ranges import Decay, PositiveCount, Share


class Variant(NamedTuple):
    """Multiples of B0's channels (width) and blocks (depth), and what torchvision sets together with them."""

    width: float
    depth: float
    dropout: float
    epsilon: float = 1e-5  # of BatchNorm, as is momentum
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
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        kernel = self.param("kernel", layers.fan_out_normal, shape, jnp.float32)
        return _depthwise(x, kernel, stride=self.stride)


@functools.partial(jax.jit, static_argnames="stride")  # equal blocks are traced once
def _depthwise(x: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    # Tap by tap: XLA's grouped convolution takes about ten times as long on a CPU, forward and backward.
    (h, w), size = x.shape[1:3], len(kernel)
    edge = (size // 2, size // 2)
    padded = jnp.pad(x.astype(jnp.promote_types(x.dtype, jnp.float32)), ((0, 0), edge, edge, (0, 0)))
    taps = [
        padded[:, i : i + h : stride, j : j + w : stride] * kernel[i : i + 1, j : j + 1]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.asarray(sum(taps), x.dtype)


class _MBConv(nn.Module):
    """1x1 up `expansion` times, depthwise, squeeze-and-excitation, 1x1 down, and a shortcut if the shapes agree."""

    expansion: int
    kernel: int
    stride: int
    features: int
    drop: float
    variant: Variant
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv, norm = _bind(self.variant, self.dtype, train)
        wide = self.expansion * x.shape[-1]
        y, i = x, 0  # torchvision's list starts with the depthwise convolution if there is nothing to expand
        if self.expansion > 1:
            y = conv(wide, 1, name="block.0.0")(y)
            y, i = nn.silu(norm("block.0.1")(y)), 1
        y = _Depthwise(self.kernel, self.stride, name=f"block.{i}.0")(y)
        y = nn.silu(norm(f"block.{i}.1")(y))

        gate = layers.global_avg_pool(y)[:, None, None]
        gate = nn.silu(conv(x.shape[-1] // 4, 1, use_bias=True, name=f"block.{i + 1}.fc1")(gate))
        gate = nn.sigmoid(conv(wide, 1, use_bias=True, name=f"block.{i + 1}.fc2")(gate))

        y = conv(self.features, 1, name=f"block.{i + 2}.0")(gate * y)
        y = norm(f"block.{i + 2}.1")(y)
        if self.stride == 1 and self.features == x.shape[-1]:
            y = x + layers.dropout(self, y, self.drop, train=train, shared=(1, 2, 3))
        return y


def _bind(variant: Variant, dtype: DTypeLike, train: bool) -> tuple[Callable, Callable]:
    """conv(features, kernel, ...) and norm(name), which make the layers of this variant."""
    conv = functools.partial(layers.conv, dtype=dtype)

    def norm(name):
        return functools.partial(layers.BatchNorm(variant.momentum, variant.epsilon, dtype, name=name), train=train)

    return conv, norm


def _round(channels: float) -> int:
    """The nearest multiple of 8, or the next one if the nearest is less than 0.9 times `channels`."""
    nearest = int(channels + 4) // 8 * 8
    return nearest if nearest >= 0.9 * channels else nearest + 8


class Model(nn.Module):
    """EfficientNet-B0 to -B7.

    `dropout`, by default the variant's, precedes the linear layer. `stochastic_depth` is the rate at which residual
    blocks are skipped for an image (Huang et al. 2016, arXiv 1603.09382): it rises linearly from 0 at the first block,
    and would be reached one block after the last.
    """

    variant: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0"
    num_classes: PositiveCount | None = 1000
    dropout: Decay | None = None
    stochastic_depth: Share = 0.2
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Images (b, h, w, c) to (logits, stages).

        "stem" and "layer1" are 1/2 of the image's size, "layer2" 1/4, "layer3" 1/8, "layer4" and "layer5" 1/16,
        "layer6", "layer7" and "lastconv" 1/32, rounded up; "avgpool" is (b, c), "classifier" the logits.
        """
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
            stages[f"layer{i + 1}"] = x

        x = conv(4 * x.shape[-1], 1, name="features.8.0")(x)
        x = stages["lastconv"] = nn.silu(norm("features.8.1")(x))
        x = stages["avgpool"] = layers.global_avg_pool(x)
        if self.num_classes is not None:
            x = layers.dropout(self, x, variant.dropout if self.dropout is None else self.dropout, train=train)
            kernel_init = layers.fan_in_uniform(self.num_classes)  # torchvision uses the fan-out
            x = stages["classifier"] = nn.Dense(self.num_classes, kernel_init=kernel_init, name="classifier.1")(x)
        return x, stages
