import itertools

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen as nn

from jaxcv.models import alexnet, basenet, deeplabv3, efficientnet, layers, pool_upsample, resnet, vgg
from jaxcv.tools import summary


@pytest.mark.parametrize(
    ("model", "size", "published"),
    [
        (resnet.Model(18), 224, 1.814),
        (resnet.Model(50), 224, 4.089),
        (vgg.Model(16), 224, 15.470),
        (alexnet.Model(), 224, 0.714),
        (efficientnet.Model("b0"), 224, 0.386),
        (deeplabv3.Model(50, aux=True), 520, 178.722),
    ],
    ids=["resnet18", "resnet50", "vgg16", "alexnet", "efficientnet_b0", "deeplabv3_resnet50"],
)
def test_multiply_adds_are_those_published_by_torchvision(model, size, published):
    rows, _ = summary.trace(model, (1, size, size, 3), train=False)
    assert round(sum(map(summary.flops, rows)) / 2e9, 3) == published  # in 10^9


class Bare(nn.Module):
    """Nothing but products: no padding, no bias, no function that XLA would count."""

    @nn.compact
    def __call__(self, x, *, train):
        x = layers.conv(8, 3, 2, groups=2, name="strided")(x)
        x = layers.ConvTranspose(6, 4, 4, use_bias=False, name="transposed")(x)
        same = layers.conv(6, 3, dilation=2, name="same")
        x = same(same(x))
        return layers.dense(6, 5, use_bias=False, name="dense")(x)


def test_flops_are_xlas_where_it_counts_nothing_else():
    shape = (2, 13, 9, 4)
    rows, variables = summary.trace(Bare(), shape, train=False)
    apply = jax.jit(lambda variables, x: Bare().apply(variables, x, train=False))
    lowered = apply.lower(variables, jax.ShapeDtypeStruct(shape, jnp.float32))
    assert sum(map(summary.flops, rows)) == lowered.cost_analysis()["flops"]
    assert [row.path for row in rows] == ["strided", "transposed", "same", "same", "dense"]


def test_rows_are_torchs_layers_in_the_order_of_their_calls():
    rows, variables = summary.trace(resnet.Model(50, num_classes=7, dtype="bfloat16"), (2, 65, 96, 3), train=True)
    assert [(row.path, row.kind, row.output.shape) for row in rows[:13]] == [
        ("conv1", "Conv", (2, 33, 48, 64)),
        ("bn1", "BatchNorm", (2, 33, 48, 64)),
        ("max_pool", "max_pool", (2, 17, 24, 64)),
        ("layer1.0.conv1", "Conv", (2, 17, 24, 64)),
        ("layer1.0.bn1", "BatchNorm", (2, 17, 24, 64)),
        ("layer1.0.conv2", "Conv", (2, 17, 24, 64)),
        ("layer1.0.bn2", "BatchNorm", (2, 17, 24, 64)),
        ("layer1.0.conv3", "Conv", (2, 17, 24, 256)),
        ("layer1.0.bn3", "BatchNorm", (2, 17, 24, 256)),
        ("layer1.0.downsample.0", "Conv", (2, 17, 24, 256)),
        ("layer1.0.downsample.1", "BatchNorm", (2, 17, 24, 256)),
        ("layer1.1.conv1", "Conv", (2, 17, 24, 64)),
        ("layer1.1.bn1", "BatchNorm", (2, 17, 24, 64)),
    ]
    assert [(row.path, row.kind, row.output.shape) for row in rows[-2:]] == [
        ("global_avg_pool", "global_avg_pool", (2, 2048)),
        ("fc", "Dense", (2, 7)),
    ]
    assert {row.output.dtype for row in rows[:-2]} == {jnp.dtype("bfloat16")}
    assert {row.output.dtype for row in rows[-2:]} == {jnp.dtype("float32")}
    params = [row.params for row in rows]
    assert summary.size(params) == summary.size(variables["params"]) == 25_557_032 - 993 * 2049


class Resizing(nn.Module):
    """Every function that has a row, in a module of its own."""

    @nn.compact
    def __call__(self, x, *, train):
        return Inside(name="inside")(layers.avg_pool(x, 2, 2))


class Inside(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = layers.upsample(layers.resize(x, 5, 7), 3)
        x = layers.conv(2, 1, name="conv")(x)
        return layers.global_avg_pool(layers.adaptive_avg_pool(layers.max_pool(x, 3, 1, 1), 4))


def test_functions_stand_between_the_modules_and_are_themselves_again():
    before = {name: getattr(layers, name) for name in summary.FUNCTIONS}
    rows, _ = summary.trace(Resizing(), (3, 8, 8, 1), train=False)
    assert [(row.path, row.output.shape[1:]) for row in rows] == [
        ("avg_pool", (4, 4, 1)),
        ("inside.resize", (5, 7, 1)),
        ("inside.upsample", (15, 21, 1)),
        ("inside.conv", (15, 21, 2)),
        ("inside.max_pool", (15, 21, 2)),
        ("inside.adaptive_avg_pool", (4, 4, 2)),
        ("inside.global_avg_pool", (2,)),
    ]
    assert {name: getattr(layers, name) for name in summary.FUNCTIONS} == before


def test_memory_by_what_holds_it():
    model = basenet.Model(batch_norm=True, dtype="bfloat16")  # 4,450 parameters, 36 of them BatchNorm's
    memory = summary.memory(*summary.trace(model, (5, 28, 28, 1), train=True), optax.adam(1e-3))
    convs, pools = 24 * 24 * 6 + 8 * 8 * 12, 12 * 12 * 6 + 4 * 4 * 12
    assert memory == {
        "parameters": 4 * 4450,
        "batch statistics": 4 * 36,
        "gradients": 4 * 4450,
        "optimiser state": 4 * (2 * 4450 + 1),  # two moments and a count
        "activations": 5 * (2 * (2 * convs + pools + 12) + 4 * 10),  # BatchNorm's are the convolutions'; logits float32
    }


def document(size, nic, nf, nc):
    """Outputs, weights and connections of PoolUpsampleNet's layers, as the course's answer prints them."""
    a, b, c = size**2, (size // 2) ** 2, (size // 4) ** 2  # pixels at full, half and quarter size
    first, second = 9 * nic * nf + nf, 9 * nf * 2 * nf + 2 * nf
    third, fourth, last = 9 * 2 * nf * nf + nf, 9 * nf * nc + nc, 9 * nc * nc + nc
    return [
        (a * nf, first, a * first),
        (b * nf, 0, a * nf),
        (b * nf, 2 * nf, b**2),
        (b * 2 * nf, second, b * second),
        (c * 2 * nf, 0, b * 2 * nf),
        (c * 2 * nf, 4 * nf, c**2),
        (c * nf, third, c * third),
        (b * nf, 0, b * nf),
        (b * nf, 2 * nf, b**2),
        (b * nc, fourth, b * fourth),
        (a * nc, 0, a * nc),
        (a * nc, 2 * nc, a**2),
        (a * nc, last, a * last),
    ]


def totals(size, nic, nf, nc):
    """The document's last row: printed for 32 pixels, and for 64 with all but the constant fourfold."""
    scale, constant = {32: (1, 1_183_744), 64: (4, 18_939_904)}[size]
    return [
        scale * (2880 * nf + 3328 * nc),
        36 * nf**2 + 9 * nc**2 + 9 * nic * nf + 9 * nf * nc + 12 * nf + 4 * nc,
        scale * (5760 * nf**2 + 9216 * nc**2 + 9216 * nic * nf + 2304 * nf * nc + 3392 * nf + 2304 * nc) + constant,
    ]


@pytest.mark.parametrize("size", [32, 64])
def test_size_table_is_the_documents(size):
    simplex = [point for point in itertools.product((1, 2, 3), repeat=3) if sum(point) <= 5]
    for nic, nf, nc in [(1, 32, 24), *simplex]:  # the ten of the simplex fix a quadratic polynomial of three variables
        rows, _ = summary.trace(pool_upsample.Model(nc, nf), (2, size, size, nic), train=True)
        table = [row[2:] for row in summary.size_table(rows)]
        assert table == document(size, nic, nf, nc)
        assert list(map(sum, zip(*table))) == totals(size, nic, nf, nc)
