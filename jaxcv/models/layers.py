"""Layers that the models share, channels last. They compute what torch's do: with its weights, its numbers."""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.typing import DTypeLike

from jaxcv.errors import ConfigError, UserError
from jaxcv.models.convolutions import barrier, conv_general_dilated, conv_transpose

fan_out_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""N(0, 2/fan_out), He et al. 2015 (arXiv 1502.01852): torchvision's initial kernels of ResNet and VGG."""


def fan_in_uniform(fan_in: int) -> Callable[..., jax.Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default for kernel and bias of Conv2d and Linear."""

    def init(key, shape, dtype=jnp.float32):
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def float_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The dtype of this name, as in a config, or `dtype` itself; ConfigError if it is no float type that jax has: it
    would make float32 of float64 without jax_enable_x64."""
    with suppress(TypeError):  # no dtype at all
        found = jnp.dtype(dtype)
        if jnp.issubdtype(found, jnp.floating) and jax.dtypes.canonicalize_dtype(found) == found:
            return found
    raise ConfigError(f"config.model.dtype is {dtype!r}; it must be a float type such as 'float32' or 'bfloat16'.")


def check_image_size(x: jax.Array, least: int, model: str) -> None:
    """UserError, naming the model, unless images (b, h, w, c) have at least `least` x `least` pixels."""
    h, w = x.shape[1:3]
    if min(h, w) < least:
        raise UserError(f"{model} needs images of at least {least} x {least} pixels, not {h} x {w}.")


def conv(
    features: int,
    kernel: int,
    stride: int = 1,
    padding: int | str = 0,
    *,
    dilation: int = 1,
    groups: int = 1,
    in_features: int | None = None,
    use_bias: bool = False,
    kernel_init: jax.nn.initializers.Initializer = fan_out_normal,
    dtype: Any = None,
    name: str | None = None,
) -> nn.Conv:
    """torch's Conv2d(., features, kernel, stride, padding): square, `padding` zeros on all four sides.

    (b, h, w, c) -> (b, h', w', features), h' = (h + 2 padding - dilation (kernel - 1) - 1) // stride + 1.
    At stride 1 the padding may be "SAME", torch's "same". (At stride 2 flax's "SAME" pads less above than below.) The
    kernel starts from `kernel_init`, the bias at zero; if the channels of the input are given as `in_features`, both
    as torch starts them by default.
    """
    bias_init = nn.initializers.zeros
    if in_features is not None:
        kernel_init = bias_init = fan_in_uniform(in_features // groups * kernel**2)
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=stride,
        padding=padding,
        kernel_dilation=dilation,
        feature_group_count=groups,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        dtype=dtype,
        conv_general_dilated=conv_general_dilated,
        name=name,
    )


class ConvTranspose(nn.Module):
    """torch's ConvTranspose2d(., features, kernel, stride, padding, output_padding): square, the gradient of `conv`.

    (b, h, w, c) -> (b, h', w', features), h' = (h - 1) stride - 2 padding + kernel + output_padding.
    """

    features: int
    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    kernel_init: jax.nn.initializers.Initializer | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = fan_in_uniform(self.features * self.kernel**2)  # torch reads the fan-in off the second axis
        shape = (self.kernel, self.kernel, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init or fan_in, shape, jnp.float32)
        bias = self.param("bias", fan_in, (self.features,), jnp.float32) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = conv_transpose(x, kernel, self.stride, self.padding, self.output_padding)
        return x if bias is None else x + bias.reshape(1, 1, 1, -1)


def dense(
    in_features: int, features: int, *, use_bias: bool = True, dtype: DTypeLike | None = None, name: str | None = None
) -> nn.Dense:
    """torch's Linear with torch's initial weights: (..., in_features) -> (..., features)."""
    init = fan_in_uniform(in_features)  # an argument, because the bias's shape does not show its fan-in
    return nn.Dense(features, use_bias=use_bias, kernel_init=init, bias_init=init, dtype=dtype, name=name)


class BatchNorm(nn.Module):
    """torch's BatchNorm over all axes but the last (Ioffe and Szegedy 2015, arXiv 1502.03167).

    Differs from flax's: `momentum` is the weight of the new batch, and the running variance is the unbiased one.
    Training normalises by the batch's mean and biased variance and updates the running ones (apply it with
    mutable=["batch_stats"]); evaluation uses the running ones and changes nothing. Parameters and statistics are
    float32, the output is `dtype`. Under jit the batch is the global one, on any number of devices.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32
    scale_init: jax.nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(b, ..., c) -> (b, ..., c). UserError when training on a single value per channel."""
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)

        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if not train:
            return _normalize(x, running_mean.value, running_var.value, scale, bias, self.epsilon).astype(self.dtype)
        y, mean, var = normalize_batch(x, scale, bias, self.epsilon)
        if not self.is_initializing():  # initial values must not depend on x
            count = x.size // channels
            if count == 1:
                raise UserError(
                    f"BatchNorm {'.'.join(self.path)} cannot train on shape {x.shape}, with one value per "
                    "channel; use a larger batch or image."
                )
            running_mean.value = _moving_average(running_mean.value, mean, self.momentum)
            running_var.value = _moving_average(running_var.value, var * (count / (count - 1)), self.momentum)
        return y.astype(self.dtype)


def _normalize(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
    mean, gain, bias = (_per_channel(v, x) for v in (mean, scale * lax.rsqrt(var + epsilon), bias))
    return (x - mean) * gain + bias


def _per_channel(v: jax.Array, x: jax.Array) -> jax.Array:
    return v.reshape((1,) * (x.ndim - 1) + v.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalize_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The normalized batch, and its mean and biased variance over all axes but the last."""
    # Two passes. One pass (mean of squares minus squared mean, flax's default) would save a GPU one of about nine
    # passes over x and a CPU almost nothing, but cancels where |mean| >> std: the variance would be off by about
    # 1e-7 (mean/std)^2 and could be negative.
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes)
    mean = mean.reshape(-1)
    return _normalize(x, mean, var, scale, bias, epsilon), mean, var


def _normalize_batch_forward(x, scale, bias, epsilon):
    y, mean, var = normalize_batch(x, scale, bias, epsilon)
    return (y, mean, var), (x, mean, var, scale)


def _normalize_batch_backward(epsilon, saved, cotangents):
    """In closed form: two sums over dy, then one sweep. What XLA derives by itself sweeps twice as often."""
    x, mean, var, scale = saved
    dy, dmean, dvar = cotangents
    dy, axes = barrier(dy), tuple(range(x.ndim - 1))
    count, inverse = x.size // x.shape[-1], lax.rsqrt(var + epsilon)

    wide = functools.partial(_per_channel, x=x)
    centred = x - wide(mean)
    dbias = jnp.sum(dy, axes)
    dscale = jnp.sum(dy * centred, axes) * inverse
    gain = scale * inverse
    slope = (2 * dvar - gain * inverse * dscale) / count
    dx = wide(gain) * dy + wide(slope) * centred + wide((dmean - gain * dbias) / count)
    return dx, dscale, dbias


normalize_batch.defvjp(_normalize_batch_forward, _normalize_batch_backward)


def _moving_average(old: jax.Array, new: jax.Array, weight: float) -> jax.Array:
    return ((1 - weight) * old + weight * new).astype(old.dtype)


def max_pool(x: jax.Array, kernel: int, stride: int, padding: int = 0) -> jax.Array:
    """torch's MaxPool2d: (b, h, w, c) -> (b, h', w', c), h' = (h + 2 padding - kernel) // stride + 1, -inf outside.

    The gradient is that of `lax.reduce_window`, except that equal maxima share it. It needs no scatter, so it is the
    same bit for bit every time on a GPU, and twice as fast on a CPU. UserError if the padding is more than half the
    kernel.
    """
    if 2 * padding > kernel:  # a window could be entirely outside
        raise UserError(f"max_pool has padding {padding}; it must be at most half the kernel, {kernel}.")
    for axis in (1, 2):  # the maximum over a square is the maximum over its rows of the maxima over its columns
        edges = [(0, 0, 0)] * x.ndim
        edges[axis] = (padding, padding, 0)
        x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges)
        stop = x.shape[axis] - kernel + 1
        x = functools.reduce(jnp.maximum, [lax.slice_in_dim(x, i, i + stop, stride, axis) for i in range(kernel)])
    return x


def avg_pool(x: jax.Array, kernel: int, stride: int, padding: int = 0) -> jax.Array:
    """torch's AvgPool2d: like `max_pool`, but the mean, in which the zeros of the padding count."""
    return nn.avg_pool(x, (kernel, kernel), (stride, stride), ((padding, padding), (padding, padding)))


def adaptive_avg_pool(x: jax.Array, size: int) -> jax.Array:
    """torch's AdaptiveAvgPool2d: (b, h, w, c) -> (b, size, size, c), for any h and w, even below `size`.

    Bin i of n averages the positions floor(i h/n) to ceil((i+1) h/n) - 1. Computed in float32.
    """
    return _resample(x, (size, size), _bins)


def _bins(length: int, size: int, dtype: DTypeLike) -> jax.Array:
    """(size, length): row i has the weight of each position in bin i."""
    i, position = jnp.arange(size)[:, None], jnp.arange(length)[None, :]
    start, stop = i * length // size, -(-(i + 1) * length // size)
    inside = (position >= start) & (position < stop)
    return inside.astype(dtype) / (stop - start).astype(dtype)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """(b, h, w, c) -> (b, c): the mean over space, computed and returned in float32, or in x's dtype if wider."""
    if x.dtype == jnp.bfloat16:
        # On a CPU, jax 0.11's XLA gives NaN when it fuses this sum with the preceding rounding to bfloat16.
        x = lax.optimization_barrier(x)
    return jnp.mean(x, (1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))


def flatten(x: jax.Array) -> jax.Array:
    """(b, h, w, c) -> (b, c h w) in torch's order, so that a dense layer after it can have torch's weights."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def dropout(module: nn.Module, x: jax.Array, rate: float, *, train: bool, shared: tuple[int, ...] = ()) -> jax.Array:
    """torch's Dropout: in training, zeroes elements with probability `rate` and scales the others by 1/(1 - rate).

    Positions along the axes `shared` are zeroed together: (1, 2) is Dropout2d, (1, 2, 3) is torchvision's
    StochasticDepth in mode "row". The key is `module`'s "dropout", not needed for rate 0. ConfigError for a rate
    outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the dropout rate is {rate}; it must be in [0, 1).")
    if not train or rate == 0:
        return x
    shape = [1 if axis in shared else size for axis, size in enumerate(x.shape)]
    keep = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, shape)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def upsample(x: jax.Array, factor: int) -> jax.Array:
    """torch's Upsample(factor, mode="nearest"): each pixel becomes factor x factor; (b, h, w, c) -> (b, fh, fw, c)."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, factor, w, factor, c))
    return x.reshape(b, h * factor, w * factor, c)


def resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """torch's interpolate(mode="bilinear", align_corners=False): (b, h, w, c) -> (b, height, width, c).

    No antialiasing when it shrinks. Computed in float32, returned in the dtype of x.
    """
    return _resample(x, (height, width), _linear)


def _linear(length: int, size: int, dtype: DTypeLike) -> jax.Array:
    """(size, length): row i has the weights of the two pixels nearest to the centre of output pixel i."""
    centre = ((jnp.arange(size, dtype=dtype) + 0.5) * (length / size) - 0.5).clip(0, length - 1)
    return (1 - jnp.abs(centre[:, None] - jnp.arange(length, dtype=dtype)[None])).clip(0)


def _resample(x: jax.Array, sizes: tuple[int, int], weights: Callable) -> jax.Array:
    """(b, h, w, c) -> (b, *sizes, c) by weights(length, size, dtype), (size, length), of the input's positions."""
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    rows, columns = (weights(length, size, y.dtype) for length, size in zip(x.shape[1:3], sizes))
    y = jnp.einsum("bhwc,ih,jw->bijc", y, rows, columns, precision=lax.Precision.HIGHEST)
    return y.astype(x.dtype)
