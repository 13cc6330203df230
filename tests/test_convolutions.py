"""Convolutions in every form are XLA's, value and gradients, and the forms are those of the shape and the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from goldens.parity import uniform
from jaxcv.models import convolutions, layers
from jaxcv.models.convolutions import Forms, Window
from jaxcv.tools import bench_convolutions

DENSE = Forms(convolutions.dense, convolutions.dense_input_gradient, convolutions.dense_kernel_gradient)
PATCHES = Forms(convolutions.xla, convolutions.col2im, convolutions.scanned_kernel_gradient)
PRODUCT = Forms(convolutions.product, convolutions.product_input_gradient, convolutions.product_kernel_gradient)
CASES = {  # x, kernel, strides, zeros above and below, left and right
    "3x3": ((4, 5, 7, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1))),
    "3x3, strided": ((3, 6, 5, 3), (3, 3, 3, 2), (2, 2), ((1, 1), (1, 1))),
    "even, other strides": ((2, 9, 8, 1), (5, 4, 1, 2), (3, 2), ((2, 1), (0, 3))),
    "one pixel": ((3, 1, 1, 3), (3, 3, 3, 2), (1, 1), ((1, 1), (1, 1))),
    "more padding than kernel": ((3, 2, 1, 3), (2, 1, 3, 2), (2, 1), ((3, 2), (2, 1))),
    "1x1, strided": ((2, 7, 5, 3), (1, 1, 3, 2), (2, 3), ((0, 0), (0, 0))),
}


def reference(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def with_gradients(function):
    """(x, kernel, dy) -> (y, dx, dkernel)"""

    def both(x, kernel, dy):
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(dy)

    return both


def assert_close(ours, theirs, *, relative):
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=relative * np.abs(other).max())


@pytest.mark.parametrize("name", CASES)
def test_every_form_is_exact_in_float64(name, monkeypatch):
    monkeypatch.setattr(convolutions, "PATCH_BYTES", 4000)  # so that a scan has several parts
    x_shape, kernel_shape, strides, padding = CASES[name]
    window, forms = Window(strides, padding), [DENSE, PATCHES] + [PRODUCT] * (kernel_shape[:2] == (1, 1))
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(uniform(key, shape), jnp.float64) for key, shape in zip("xk", (x_shape, kernel_shape)))
        y = jax.eval_shape(lambda x, kernel: reference(x, kernel, strides, padding), x, kernel)
        dy = jnp.asarray(uniform("dy", y.shape), jnp.float64)
        ours = [with_gradients(lambda x, kernel, f=f: convolutions.convolution(x, kernel, window, f)) for f in forms]
        theirs = with_gradients(lambda x, kernel: reference(x, kernel, strides, padding))
        *results, expected = jax.jit(lambda *arrays: [f(*arrays) for f in (*ours, theirs)])(x, kernel, dy)
        for result in results:
            assert_close(result, expected, relative=1e-13)


@pytest.mark.parametrize(("kernel", "extra"), [(3, 1), (4, 0), (5, 1)])
def test_a_transposed_convolution_is_the_gradient_of_one_in_float64(kernel, extra):
    window, size = Window((2, 2), (((kernel - 1) // 2,) * 2,) * 2), (8, 10)
    with jax.enable_x64(True):
        x, dy = (
            jnp.asarray(uniform("x", (2, 4, 5, 3)), jnp.float64),
            jnp.asarray(uniform("dy", (2, 8, 10, 2)), jnp.float64),
        )
        weight = jnp.asarray(uniform("k", (kernel, kernel, 2, 3)), jnp.float64)

        def theirs(x, weight):
            return convolutions.xla_input_gradient(dy, weight, x, window)

        def ours(x, weight):
            return convolutions.conv_transpose(x, weight, 2, (kernel - 1) // 2, extra)

        def sub_pixels(x, weight):
            return convolutions.sub_pixels(x, weight, window, size)

        results = jax.jit(lambda *a: [with_gradients(f)(*a) for f in (ours, sub_pixels, theirs)])(x, weight, dy)
        for result in results[:2]:
            assert_close(result, results[2], relative=1e-13)


@pytest.mark.parametrize(
    ("x", "kernel", "stride", "padding", "names"),
    [
        ((128, 1, 1, 128), (3, 3, 128, 128), 1, 1, ("dense", "dense_input_gradient", "dense_kernel_gradient")),
        ((128, 4, 4, 32), (3, 3, 32, 64), 2, 1, ("xla", "col2im", "xla_kernel_gradient")),
        ((128, 4, 4, 32), (1, 1, 32, 64), 2, 0, ("product", "product_input_gradient", "product_kernel_gradient")),
        ((100, 32, 32, 25), (3, 3, 25, 24), 1, 1, ("xla", "xla_input_gradient", "scanned_kernel_gradient")),
        ((128, 8, 8, 16), (3, 3, 16, 16), 1, 1, ("xla", "xla_input_gradient", "xla_kernel_gradient")),
    ],
)
def test_the_shape_chooses(x, kernel, stride, padding, names):
    window = Window((stride, stride), ((padding, padding), (padding, padding)))
    assert tuple(form.__name__ for form in convolutions.choose_forms(x, kernel, window)) == names


def gradient(module, **options):
    """(variables, x) -> gradients of a sum of squares"""

    def loss(variables, x):
        y = module.apply(variables, x, **options)
        return jnp.sum(jnp.square(y[0] if options else y))

    return jax.grad(loss, (0, 1))


STRIDED, UP = layers.conv(8, 3, 2, 1), layers.ConvTranspose(8, 3, 2, 1, 1)


@pytest.mark.parametrize("module", [STRIDED, UP], ids=["conv", "ConvTranspose"])
def test_a_gpu_gets_no_form_meant_for_a_cpu(module):
    x = jax.ShapeDtypeStruct((4, 6, 6, 16), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    traced = jax.jit(gradient(module)).trace(variables, x)
    cpu, gpu = (traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "cuda"))
    assert "optimization_barrier" in cpu and "optimization_barrier" not in gpu
    assert cpu.count("stablehlo.convolution") == 2
    assert gpu.count("stablehlo.convolution") == (3 if module is STRIDED else 0)


@pytest.mark.parametrize(
    "module",
    [layers.conv(8, 3, 1, 2, dilation=2), layers.conv(8, 3, 2, 1, groups=4), layers.conv(8, 3, dtype=jnp.bfloat16)],
    ids=["dilated", "grouped", "bfloat16"],
)
def test_the_rest_is_xlas(module):
    x = jax.ShapeDtypeStruct((4, 6, 6, 16), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert "custom_vjp" not in str(jax.make_jaxpr(module.apply)(variables, x))
    assert "custom_vjp" in str(jax.make_jaxpr(STRIDED.apply)(jax.eval_shape(STRIDED.init, jax.random.key(0), x), x))


def test_vmap_checkpoint_and_bfloat16():
    x = uniform("x", (2, 4, 6, 6, 16))
    variables = STRIDED.init(jax.random.key(0), x[0])
    grad = gradient(STRIDED)
    together = jax.jit(jax.vmap(grad, (None, 0)))(variables, x)
    alone = jax.jit(grad)(variables, x[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, atol=1e-4), together, alone)

    def again(variables, x):
        return jnp.sum(jnp.square(jax.checkpoint(STRIDED.apply)(variables, x)))

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        jax.jit(jax.grad(again, (0, 1)))(variables, x[1]),
        alone,
    )
    half = layers.conv(8, 3, 2, 1, dtype=jnp.bfloat16)
    rounded = jax.jit(gradient(half))(variables, x[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.05 * np.abs(b).max()), rounded, alone)


@pytest.mark.parametrize(
    "module",
    [layers.conv(8, 3, 1, 1), layers.conv(8, 1, 2), UP, layers.conv(24, 3, 1, 1)],
    ids=["dense", "product", "ConvTranspose", "scanned"],
)
def test_a_batch_on_four_devices(module, monkeypatch):
    monkeypatch.setattr(convolutions, "PATCH_BYTES", 4000)
    monkeypatch.setattr(convolutions, "SCANNED_BYTES", 50_000)  # of the patches of the last case
    x = uniform("x", (8, 2, 2, 20) if module.features == 8 else (8, 6, 6, 20))
    variables, grad = module.init(jax.random.key(0), x[:1]), jax.jit(gradient(module))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    one, four = grad(variables, x), grad(variables, jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))))
    assert len(four[1].sharding.device_set) == 4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), one, four)


def test_bench_times_the_forms_that_are_not_xlas(monkeypatch, capsys):
    shapes = ((2, 1, 1, 4, 3, 3, 1, 1), (2, 4, 4, 3, 3, 3, 1, 1))  # the second has XLA's own forms
    monkeypatch.setattr(bench_convolutions, "CONVOLUTIONS", shapes)
    bench_convolutions.measure_convolutions()
    _, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert [(row[0], row[-1]) for row in rows] == [("2x1x1x4", "dense"), ("2x1x1x4", "dense_input_gradient")]
    for row in rows:
        assert abs(float(row[4]) / float(row[3]) - float(row[5])) < 0.02 * float(row[5]) + 0.5
