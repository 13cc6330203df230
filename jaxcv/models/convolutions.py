"""Convolutions, channels last: XLA's own, or on a CPU, by shape, a form of them and their gradients that is faster.

Maps are b h w c, kernels h w c_in c_out. XLA for a CPU is slow in a few places alone; all else
(groups, dilation, bfloat16, other devices) is XLA's. `python launch/bench.py --convolutions` measures the choice.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
FLOATS = (jnp.float32, jnp.float64)
PATCH_BYTES = 4 << 20  # of the patches in one part of a scan: they stay in the cache
SCANNED_BYTES = 6 << 20  # of all patches: below, a scan is not worth it
SCAN_WIDE = jax.__version_info__ < (0, 12)  # an XLA whose kernel gradient is slow, and reads what it fuses out of order


class Window(NamedTuple):
    """How a kernel moves over a map: for rows and for columns."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # zeros before and behind


class Forms(NamedTuple):
    """The functions that compute a convolution and its gradients."""

    forward: Callable  # (x, kernel, window) -> y
    input_gradient: Callable  # (x, kernel, dy, window) -> dx; of x, only shape and dtype matter
    kernel_gradient: Callable  # (x, kernel, dy, window) -> dkernel; of kernel, only shape and dtype matter


def conv_general_dilated(
    x: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> jax.Array:
    """lax.conv_general_dilated as flax calls it: b h w c_in with a kernel h w (c_in / groups) c_out -> b h' w' c_out.

    With a gradient of its own where `choose_forms` applies: no forward-mode derivative (jax.jvp) there.
    """
    sizes, strides = kernel.shape[:2], tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], sizes, strides, padding)
    padding = tuple((int(before), int(behind)) for before, behind in padding)
    window = Window(strides, padding)
    plain = (
        x.ndim == 4
        and x.dtype == kernel.dtype
        and x.dtype in FLOATS
        and feature_group_count == 1
        and precision is None
        and {*(lhs_dilation or ()), *(rhs_dilation or ())} <= {1}
        and min(map(min, padding)) >= 0
        and min(*x.shape, *output_size(x.shape, kernel.shape, window)) > 0
    )
    if plain:
        return convolution(x, kernel, window, choose_forms(x.shape, kernel.shape, window))
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        precision=precision,
    )


def xla(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, window.strides, window.padding, dimension_numbers=DIMENSIONS)


def xla_input_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    return _transpose(lambda x: xla(x, kernel, window), x, dy)


def xla_kernel_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    return _transpose(lambda kernel: xla(x, kernel, window), kernel, dy)


XLA = Forms(xla, xla_input_gradient, xla_kernel_gradient)


def _transpose(linear, like, cotangent):
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(like.shape, like.dtype))(cotangent)[0]


def output_size(x_shape: Sequence[int], kernel_shape: Sequence[int], window: Window) -> tuple[int, int]:
    """(h', w') of a convolution's output."""
    h, w = (
        (n + sum(zeros) - k) // stride + 1
        for n, k, stride, zeros in zip(x_shape[1:3], kernel_shape[:2], window.strides, window.padding)
    )
    return h, w


def choose_forms(x_shape: Sequence[int], kernel_shape: Sequence[int], window: Window) -> Forms:
    """The forms for float32 on a CPU: what was fastest, on two cores, for the shapes of `launch/bench.py`."""
    b, h, w, channels = x_shape
    kh, kw, _, features = kernel_shape
    out_h, out_w = output_size(x_shape, kernel_shape, window)
    if kh * kw == 1 and window.padding == ((0, 0), (0, 0)):
        return Forms(product, product_input_gradient, product_kernel_gradient)
    if h * w * out_h * out_w <= 16:  # at most 2 x 2 pixels; a small batch is not worth the matrix's own gradient
        return Forms(dense, dense_input_gradient, dense_kernel_gradient if b >= 16 else xla_kernel_gradient)
    strided, patches = max(window.strides) > 1, 4 * b * out_h * out_w * kh * kw * channels  # bytes
    few = kh * kw == 9 and 16 < channels < 32 and features < 32 and channels * features % 64 > 0
    scanned = patches > SCANNED_BYTES and (few or (SCAN_WIDE and channels >= 8))
    return Forms(
        xla,
        col2im if strided and kh * kw == 9 and channels >= 16 else xla_input_gradient,
        scanned_kernel_gradient if scanned else xla_kernel_gradient,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolution(x: jax.Array, kernel: jax.Array, window: Window, forms: Forms) -> jax.Array:
    """The convolution by the given forms on a CPU, by XLA's own elsewhere."""
    return _forward(x, kernel, window, forms)[0]


def _forward(x, kernel, window, forms):
    x = barrier(x)
    return _on_cpu(forms.forward, xla, window, x, kernel), (x, kernel)


def _backward(window, forms, saved, dy):
    dy = barrier(dy)
    return (
        _on_cpu(forms.input_gradient, xla_input_gradient, window, *saved, dy),
        _on_cpu(forms.kernel_gradient, xla_kernel_gradient, window, *saved, dy),
    )


convolution.defvjp(_forward, _backward)


def barrier(x: jax.Array) -> jax.Array:
    """x, which XLA for a CPU computes and keeps before it computes what needs it.

    It would compute a chain of elementwise operations, such as BatchNorm and ReLU, again in each reader, and for the
    transposed copy of a kernel's gradient in an order that misses the cache: 102 ms instead of 8 for 8 MB.
    """
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


def _on_cpu(form, other, window, *arrays):
    """form(*arrays, window) on a CPU, else other(*arrays, window); decided when the program is lowered for a device."""
    if form is other:
        return other(*arrays, window)
    form, other = (lambda *arrays, f=f: f(*arrays, window) for f in (form, other))
    return lax.platform_dependent(*arrays, cpu=form, default=other)


# Maps of few pixels: one product with the matrix that the kernel is, (h w c_in, h' w' c_out)


def _matrix(kernel, x_shape, window):
    (out_h, out_w), (kh, kw, channels, features) = output_size(x_shape, kernel.shape, window), kernel.shape
    h, w = x_shape[1:3]

    def reach(row, column):
        """The kernel at one output pixel, as weights of all the map's: h w c_in c_out."""
        tops = [i * stride - zeros[0] for i, stride, zeros in zip((row, column), *window)]
        edges = [(top, size - k - top, 0) for top, size, k in zip(tops, (h, w), (kh, kw))]
        return lax.pad(kernel, jnp.zeros((), kernel.dtype), (*edges, (0, 0, 0), (0, 0, 0)))

    pixels = [reach(row, column) for row in range(out_h) for column in range(out_w)]
    return jnp.stack(pixels, 3).reshape(h * w * channels, out_h * out_w * features)


def dense(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    y = x.reshape(x.shape[0], -1) @ _matrix(kernel, x.shape, window)
    return y.reshape(x.shape[0], *output_size(x.shape, kernel.shape, window), kernel.shape[3])


def dense_input_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    return (dy.reshape(dy.shape[0], -1) @ _matrix(kernel, x.shape, window).T).reshape(x.shape)


def dense_kernel_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    gradient = x.reshape(x.shape[0], -1).T @ dy.reshape(dy.shape[0], -1)
    return _transpose(lambda kernel: _matrix(kernel, x.shape, window), kernel, gradient)


# 1x1, strided: a product with the pixels that it sees


def _seen(x, window):
    return x[:, :: window.strides[0], :: window.strides[1]]


def product(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    return _seen(x, window) @ kernel[0, 0]


def product_input_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    return _transpose(lambda x: _seen(x, window), x, dy @ kernel[0, 0].T)


def product_kernel_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    return (_rows(_seen(x, window)).T @ _rows(dy))[None, None]


def _rows(x):
    return x.reshape(-1, x.shape[-1])


# Patches: b h' w' (kh kw c_in), what the kernel sees at each output pixel


def _patches(x, kernel_shape, window):
    (kh, kw), (sh, sw) = kernel_shape[:2], window.strides
    h, w = output_size(x.shape, kernel_shape, window)
    x = jnp.pad(x, ((0, 0), *window.padding, (0, 0)))
    shifted = [
        lax.slice(x, (0, i, j, 0), (len(x), i + (h - 1) * sh + 1, j + (w - 1) * sw + 1, x.shape[3]), (1, sh, sw, 1))
        for i in range(kh)
        for j in range(kw)
    ]
    return jnp.concatenate(shifted, -1)


def col2im(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    """The gradient of all patches in one product, then as many shifted sums as the kernel has pixels."""
    return _transpose(lambda x: _patches(x, kernel.shape, window), x, dy @ _rows(kernel).T)


def scanned_kernel_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, window: Window) -> jax.Array:
    """Products with the patches of a few images at a time, one after the other."""
    image = dy.nbytes // len(dy) // dy.shape[-1] * math.prod(kernel.shape[:3])
    parts = next(
        n for n in range(1, len(x) + 1) if len(x) % n == 0 and (len(x) // n * image <= PATCH_BYTES or n == len(x))
    )

    def add(total, part):
        x, dy = part
        return total + _rows(_patches(x, kernel.shape, window)).T @ _rows(dy), None

    total = jnp.zeros((math.prod(kernel.shape[:3]), kernel.shape[3]), kernel.dtype)
    split = [array.reshape(parts, -1, *array.shape[1:]) for array in (x, dy)]
    return lax.scan(add, total, split)[0].reshape(kernel.shape)


# The transposed convolution


def conv_transpose(x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: int) -> jax.Array:
    """The input gradient of a convolution: x b h w c, kernel k k features c -> b h' w' features.

    h' = (h - 1) stride - 2 padding + k + output_padding.
    """
    k = len(kernel)
    window = Window((stride, stride), ((padding, padding), (padding, padding)))
    h, w = ((n - 1) * stride - 2 * padding + k + output_padding for n in x.shape[1:3])
    size = (h, w)
    if stride < k <= 5 and x.dtype in FLOATS:
        return transposed(x, kernel, window, size)
    return sub_pixels(x, kernel, window, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def transposed(x: jax.Array, kernel: jax.Array, window: Window, size: tuple[int, int]) -> jax.Array:
    """`sub_pixels`; on a CPU by sums of shifted patches, and its gradients as convolutions."""
    return _transposed_forward(x, kernel, window, size)[0]


def _transposed_forward(x, kernel, window, size):
    x = barrier(x)
    like = jax.ShapeDtypeStruct((len(x), *size, kernel.shape[2]), x.dtype)
    y = lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: col2im(like, kernel, x, window),
        default=lambda x, kernel: sub_pixels(x, kernel, window, size),
    )
    return barrier(y), (x, kernel)


def _transposed_backward(window, size, saved, dy):
    def convolutions(x, kernel, dy):
        forms = choose_forms(dy.shape, kernel.shape, window)
        return forms.forward(dy, kernel, window), forms.kernel_gradient(dy, kernel, x, window)

    def derived(x, kernel, dy):
        return jax.vjp(lambda x, kernel: sub_pixels(x, kernel, window, size), x, kernel)[1](dy)

    return lax.platform_dependent(*saved, barrier(dy), cpu=convolutions, default=derived)


transposed.defvjp(_transposed_forward, _transposed_backward)


def sub_pixels(x: jax.Array, kernel: jax.Array, window: Window, size: tuple[int, int]) -> jax.Array:
    """A transposed convolution as one product of matrices and a reordering of pixels.

    Output row stride q + r meets kernel rows stride j + r alone, of input row q - j: each neighbourhood of m x m inputs
    gives stride x stride outputs. XLA's own form takes 4 to 15 times as long with its gradient on a CPU.
    """
    (stride, _), ((padding, _), _) = window
    k, features, channels = kernel.shape[0], *kernel.shape[2:]
    m = -(-k // stride)
    fill = [(0, stride * m - k)] * 2
    kernel = jnp.pad(kernel, [*fill, (0, 0), (0, 0)]).reshape(m, stride, m, stride, features, channels)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4).reshape(m * m * channels, -1)

    h, w = (n + m - 1 for n in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), *[(m - 1, m - 1)] * 2, (0, 0)])
    x = jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(m) for j in range(m)], -1) @ kernel
    x = x.reshape(-1, h, w, stride, stride, features).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, h * stride, w * stride, features)
    beyond = [(0, max(0, padding + n - have)) for n, have in zip(size, x.shape[1:3])]
    x = jnp.pad(x, [(0, 0), *beyond, (0, 0)])
    return x[:, padding : padding + size[0], padding : padding + size[1]]
