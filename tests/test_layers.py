import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from goldens import make_layers
from goldens.parity import draw_weights, uniform
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import layers

GOLDEN = np.load(make_layers.FILE, allow_pickle=False)


def init_norm(channels):
    state = draw_weights({"weight": (channels,), "bias": (channels,)})
    return {
        "params": {"scale": state["weight"], "bias": state["bias"]},
        "batch_stats": {"mean": np.zeros(channels, np.float32), "var": np.ones(channels, np.float32)},
    }


def norm_loss(variables, x):
    y, moved = layers.BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    return jnp.vdot(y, uniform("cotangent", y.shape)), (y, moved)


def test_batch_norm_is_torchs_over_three_steps_and_in_evaluation():
    variables, shape = init_norm(5), (4, 3, 2, 5)
    grad = jax.jit(jax.grad(norm_loss, (0, 1), has_aux=True))
    for step in range(3):
        (grads, dx), (y, moved) = grad(variables, uniform(f"norm{step}", shape) + 2 * step)
        variables |= moved
        np.testing.assert_allclose(y, GOLDEN[f"norm/{step}/output"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(dx, GOLDEN[f"norm/{step}/grad"], rtol=1e-4, atol=1e-5)
        for name in ("mean", "var"):
            np.testing.assert_allclose(moved["batch_stats"][name], GOLDEN[f"norm/{step}/{name}"], rtol=1e-5)
    np.testing.assert_allclose(grads["params"]["scale"], GOLDEN["norm/scale_grad"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads["params"]["bias"], GOLDEN["norm/bias_grad"], rtol=1e-4, atol=1e-5)

    y, kept = layers.BatchNorm().apply(variables, uniform("norm0", shape), train=False, mutable=["batch_stats"])
    np.testing.assert_allclose(y, GOLDEN["norm/eval"], rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, kept["batch_stats"], variables["batch_stats"])


def test_batch_norms_gradient_is_that_of_its_formula_in_float64():
    """Through the mean and the variance that it gives for the running ones too."""

    def formula(x, scale, bias):
        mean, var = jnp.mean(x, (0, 1)), jnp.var(x, (0, 1))
        return (x - mean[None, None]) * (scale * lax.rsqrt(var + 1e-5))[None, None] + bias[None, None], mean, var

    def norm(x, scale, bias):
        return layers.normalize_batch(x, scale, bias, 1e-5)

    with jax.enable_x64(True):
        draw = [jnp.asarray(uniform(f"f{n}", shape), jnp.float64) for n, shape in enumerate(((5, 4, 3), 3, 3))]
        y, pull = jax.vjp(formula, *draw)
        cotangents = tuple(jnp.asarray(uniform(f"c{n}", v.shape), jnp.float64) for n, v in enumerate(y))
        for ours, theirs in zip(jax.vjp(norm, *draw)[1](cotangents), pull(cotangents), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_batch_norm_keeps_its_variance_far_from_zero():
    x = uniform("far", (512, 3)) + 3000  # float32 mean of squares less squared mean is off by the order of 1 here
    _, (y, moved) = norm_loss(init_norm(3), x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(moved["batch_stats"]["var"], 0.9 + 0.1 * exact.var(0, ddof=1), rtol=1e-5)
    variables = init_norm(3)["params"]
    expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5) * variables["scale"] + variables["bias"]
    np.testing.assert_allclose(y, expected, atol=2e-3)  # a float32 mean near 3000 is good to 2e-4


def test_batch_norm_of_bfloat16_keeps_float32_statistics():
    x = jnp.asarray(uniform("half", (64, 4)), jnp.bfloat16)
    norm = layers.BatchNorm(dtype="bfloat16")
    y, moved = norm.apply(init_norm(4), x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(moved["batch_stats"]["var"], 0.9 + 0.1 * exact.var(0, ddof=1), rtol=1e-6)


def test_batch_norm_is_global_over_four_devices():
    x = uniform("devices", (8, 3, 2, 5)) * np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1, 1)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    grad = jax.jit(jax.grad(norm_loss, (0, 1), has_aux=True))
    one, four = grad(init_norm(5), x), grad(init_norm(5), sharded)
    assert len(four[0][1].sharding.device_set) == 4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, four)


def test_batch_norm_init_sees_only_shapes_and_one_value_cannot_train():
    norm, x = layers.BatchNorm(), jnp.full((1, 1, 1, 2), 7.0)
    variables = norm.init(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(2))
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(2))
    with pytest.raises(UserError, match="one value per channel"):
        norm.apply(variables, x, train=True, mutable=["batch_stats"])
    assert norm.apply(variables, x, train=False).shape == x.shape


@pytest.mark.parametrize("name", make_layers.POOLS)
def test_pools_are_torchs(name):
    x, arguments = uniform("pool", (1, 8, 7, 2)), make_layers.POOLS[name]
    np.testing.assert_array_equal(layers.max_pool(x, *arguments), GOLDEN[f"max_pool/{name}"])
    np.testing.assert_allclose(layers.avg_pool(x, *arguments), GOLDEN[f"avg_pool/{name}"], atol=1e-6)


@pytest.mark.parametrize("size", make_layers.SIZES)
def test_adaptive_avg_pool_is_torchs(size):
    y = layers.adaptive_avg_pool(uniform("pool", (1, 8, 7, 2)), size)
    np.testing.assert_allclose(y, GOLDEN[f"adaptive_avg_pool/{size}"], atol=1e-6)


def test_global_avg_pool_is_a_float32_mean():
    x = jnp.full((1, 40, 40, 2), 1.0078125, jnp.bfloat16)  # a bfloat16 sum would stop growing at 256
    y = layers.global_avg_pool(x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, np.full((1, 2), 1.0078125), rtol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0)])
def test_max_pool_gradient_is_that_of_reduce_window_without_its_scatter(kernel, stride, padding):
    x = uniform("pool", (1, 8, 7, 2))
    edge = (padding, padding)

    def reduce_window(x):
        window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, ((0, 0), edge, edge, (0, 0)))

    def grad(pool):
        return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(3 * pool(x)))))

    ours = grad(lambda x: layers.max_pool(x, kernel, stride, padding))
    np.testing.assert_allclose(ours(x), grad(reduce_window)(x), atol=1e-6)
    assert "scatter" in grad(reduce_window).lower(x).as_text()
    assert "scatter" not in ours.lower(x).as_text()


def test_max_pool_shares_the_gradient_of_equal_maxima():
    share = jax.grad(lambda x: layers.max_pool(x, 2, 2).sum())(jnp.zeros((1, 2, 2, 1)))
    np.testing.assert_array_equal(share, np.full((1, 2, 2, 1), 0.25))


def test_max_pool_refuses_a_window_outside():
    with pytest.raises(UserError, match="at most half the kernel, 2"):
        layers.max_pool(jnp.zeros((1, 4, 4, 1)), 2, 2, 2)


def test_conv_pads_strides_dilates_and_groups_as_torch():
    module = layers.conv(9, 3, **make_layers.CONV)
    kernel = uniform("conv.weight", (9, 2, 3, 3)).transpose(2, 3, 1, 0)
    y = module.apply({"params": {"kernel": kernel}}, uniform("conv", (1, 8, 7, 6)))
    np.testing.assert_allclose(y, GOLDEN["conv"], atol=1e-5)


@pytest.mark.parametrize("name", make_layers.TRANSPOSED)
def test_transposed_convolution_is_torchs(name):
    kernel, stride, padding, extra = make_layers.TRANSPOSED[name]
    weight = uniform("transposed.weight", (6, 4, kernel, kernel)).transpose(2, 3, 1, 0)
    module = layers.ConvTranspose(4, kernel, stride, padding, extra)
    x = uniform("conv", (1, 8, 7, 6))
    y = module.apply({"params": {"kernel": weight, "bias": uniform("transposed.bias", (4,))}}, x)
    np.testing.assert_allclose(y, GOLDEN[f"conv_transpose/{name}"], atol=1e-5)
    assert module.init(jax.random.key(0), x)["params"]["kernel"].shape == weight.shape


@pytest.mark.parametrize("size", make_layers.RESIZED)
def test_resize_is_torchs_bilinear(size):
    y = layers.resize(uniform("conv", (1, 8, 7, 6)), *size)
    np.testing.assert_allclose(y, GOLDEN[f"resize/{size[0]}-{size[1]}"], atol=1e-6)
    assert layers.resize(jnp.ones((1, 3, 3, 1), jnp.bfloat16), *size).dtype == jnp.bfloat16


def test_upsample_and_flatten_are_torchs():
    x = uniform("conv", (1, 8, 7, 6))
    np.testing.assert_array_equal(layers.upsample(x, 3), GOLDEN["upsample"])
    np.testing.assert_array_equal(layers.flatten(x), GOLDEN["flatten"])


class Dropped(nn.Module):
    rate: float
    shared: tuple = ()

    @nn.compact
    def __call__(self, x, *, train):
        return layers.dropout(self, x, self.rate, train=train, shared=self.shared)


def test_dropout_scales_what_it_keeps_and_shares_its_draw():
    x, rngs = jnp.ones((64, 4, 4, 8)), {"dropout": jax.random.key(3)}
    y = Dropped(0.25).apply({}, x, train=True, rngs=rngs)
    assert set(np.unique(y).round(5)) == {0, np.float32(4 / 3).round(5)}
    assert 0.73 < (y > 0).mean() < 0.77  # 8192 draws: four standard deviations are 0.02
    channels = Dropped(0.5, (1, 2)).apply({}, x, train=True, rngs=rngs)
    assert (channels == channels[:, :1, :1]).all() and 0 < (channels > 0).mean() < 1
    rows = Dropped(0.5, (1, 2, 3)).apply({}, x, train=True, rngs=rngs)
    assert (rows == rows[:, :1, :1, :1]).all() and 0 < (rows > 0).mean() < 1
    for still in (Dropped(0.0).apply({}, x, train=True), Dropped(0.9).apply({}, x, train=False)):
        np.testing.assert_array_equal(still, x)
    with pytest.raises(ConfigError, match=r"dropout rate is 1.0; it must be in \[0, 1\)"):
        Dropped(1.0).apply({}, x, train=True, rngs=rngs)


def test_initial_weights_follow_their_formulas():
    conv = layers.conv(64, 3).init(jax.random.key(0), jnp.zeros((1, 4, 4, 32)))["params"]
    assert conv.keys() == {"kernel"}
    np.testing.assert_allclose(conv["kernel"].std(), (2 / (64 * 9)) ** 0.5, rtol=0.02)
    assert abs(conv["kernel"]).max() > 3.5 * (2 / (64 * 9)) ** 0.5  # not truncated

    dense = layers.dense(100, 400).init(jax.random.key(1), jnp.zeros((1, 100)))["params"]
    for leaf in dense.values():
        assert 0.095 < abs(leaf).max() <= 0.1
        np.testing.assert_allclose(leaf.std(), 0.1 / 3**0.5, rtol=0.1)


def test_float_dtype():
    assert layers.float_dtype("bfloat16") == layers.float_dtype(jnp.bfloat16) == jnp.bfloat16
    for wrong in ("bf16", "int32", int, "float64"):  # jax has float64 only if it is told to
        with pytest.raises(ConfigError, match="must be a float type"):
            layers.float_dtype(wrong)
