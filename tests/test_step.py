"""The train step: plain arithmetic, the same on any number of devices and in any number of parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from jaxcv.errors import ConfigError
from jaxcv.mesh import check_batch_size, make_mesh, put, replicated
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.step import make_init, make_update
from jaxcv.task import Task

BATCH = {"x": np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)}


def init(key, batch):
    return {"w": jax.random.normal(key, (3,))}, {"seen": jnp.zeros(())}


def loss(params, model_state, batch, key):
    noise = jax.random.normal(key, (3,))
    value = ((batch["x"] @ params["w"]) ** 2).mean() + 0 * noise.sum()
    return value, ({"seen": model_state["seen"] + batch["x"].shape[0]}, {"noise": noise[0]})


TASK = Task(None, init, loss, None, None)
TX = make_optimizer("sgd", lambda step: 0.1, options={"momentum": 0.0})


def updated(steps=1, *, mesh=None, **options):
    layout = None if mesh is None else replicated(mesh)
    state = jax.jit(make_init(TASK, TX, seed=7), out_shardings=layout)(BATCH)
    update = jax.jit(make_update(TASK, TX, seed=7, **options), donate_argnums=0, out_shardings=layout)
    history = []
    for _ in range(steps):
        state, metrics = update(state, BATCH if mesh is None else put(mesh, BATCH))
        history.append(jax.device_get(metrics))
    return state, history


def test_one_step_by_hand():
    state, (metrics,) = updated()
    w = np.asarray(jax.jit(make_init(TASK, TX, seed=7))(BATCH).params["w"])
    y = BATCH["x"] @ w
    grad = 2 * (y[:, None] * BATCH["x"]).mean(0)
    np.testing.assert_allclose(state.params["w"], w - 0.1 * grad, rtol=1e-5)
    assert metrics["loss"] == pytest.approx((y**2).mean(), rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(np.linalg.norm(grad), rel=1e-5)
    assert int(state.step) == 1 and float(state.model_state["seen"]) == 16


def test_each_step_has_its_own_key_and_a_seed_its_own_keys():
    _, history = updated(3)
    assert len({float(m["noise"]) for m in history}) == 3
    again, _ = updated(3)
    other = jax.jit(make_init(TASK, TX, seed=8))(BATCH)
    assert np.array_equal(again.params["w"], updated(3)[0].params["w"])
    assert not np.array_equal(other.params["w"], jax.jit(make_init(TASK, TX, seed=7))(BATCH).params["w"])


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_are_the_whole_batchs(parts):
    (whole, (a,)), (split, (b,)) = updated(), updated(accumulate=parts, mesh=make_mesh())
    np.testing.assert_allclose(split.params["w"], whole.params["w"], rtol=1e-5)
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert float(split.model_state["seen"]) == 16


def test_one_and_four_devices_agree():
    one = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    a, b = updated(5, mesh=one), updated(5, mesh=make_mesh())
    np.testing.assert_allclose(a[0].params["w"], b[0].params["w"], rtol=1e-6)
    assert [m["noise"] for m in a[1]] == [m["noise"] for m in b[1]]


def test_a_batch_is_split_over_the_devices_in_order():
    x = put(make_mesh(), BATCH)["x"]
    assert len(x.addressable_shards) == 4
    for i, shard in enumerate(x.addressable_shards):
        np.testing.assert_array_equal(shard.data, BATCH["x"][4 * i : 4 * i + 4])


def test_batch_sizes_that_cannot_be_split():
    mesh = make_mesh()
    check_batch_size(mesh, 8, key="train.batch_size", parts=2)
    with pytest.raises(
        ConfigError,
        match="config.train.batch_size=10 cannot be split over 4 devices; use a multiple of 4, such as 8",
    ):
        check_batch_size(mesh, 10, key="train.batch_size")
    with pytest.raises(ConfigError, match="over 4 devices x 3 accumulated parts; use a multiple of 12, such as 12"):
        check_batch_size(mesh, 16, key="train.batch_size", parts=3)


def test_gradients_are_clipped_by_the_optimiser_and_logged_before():
    tx = make_optimizer("sgd", lambda step: 1.0, clip_norm=1e-3, options={"momentum": 0.0})
    state = jax.jit(make_init(TASK, tx, seed=7))(BATCH)
    new, metrics = jax.jit(make_update(TASK, tx, seed=7))(state, BATCH)
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, new.params, state.params))) == pytest.approx(1e-3, rel=1e-3)
    assert float(metrics["grad_norm"]) > 0.01
