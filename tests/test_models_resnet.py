import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goldens import make_resnet

from jaxcv.errors import ConfigError
from jaxcv.models import resnet

GOLDEN = np.load(make_resnet.FILE, allow_pickle=False)


def init_shapes(model, shape=(1, 64, 64, 3)):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros(shape), train=False))


def apply_shapes(model, shape):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda v, x: model.apply(v, x, train=False), init_shapes(model, shape), x)


@pytest.mark.parametrize(
    ("depth", "count"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_parameter_counts_are_those_published_by_torchvision(depth, count):
    params = init_shapes(resnet.Model(depth))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


# The goldens are torchvision's in float64, where two right implementations agree to 1e-12. In float32 the
# gradients need not: one ReLU flipped by rounding moves them by 1e-2, torch's own against its float64 too.


@pytest.mark.parametrize("depth", [18, 50])
def test_training_is_torchvisions_in_float64(depth):
    with jax.enable_x64(True):
        model, variables = make_resnet.build(depth, np.float64)
        x = make_resnet.image(depth, np.float64)
        logits, stats, grads = make_resnet.differentiate(model, variables, x)
    np.testing.assert_allclose(logits, GOLDEN[f"{depth}/train"], rtol=1e-9)
    for name, arrays in (("stats", stats), ("grads", grads)):
        golden = GOLDEN[f"{depth}/{name}"]
        norms = golden[:, :1]
        np.testing.assert_allclose(make_resnet.probe(arrays) / norms, golden / norms, atol=1e-9)


@pytest.mark.parametrize("depth", [18, 50, make_resnet.SMALL])
def test_evaluation_is_torchvisions_in_float32(depth):
    model, variables = make_resnet.build(depth, np.float32)
    logits = make_resnet.evaluate(model, variables, make_resnet.image(depth, np.float32))
    golden = GOLDEN[f"{depth}/eval" if depth else "small/eval"]
    assert make_resnet.error(logits, golden) < 2e-5


def test_stages_of_the_imagenet_stem_at_an_odd_size():
    output, stages = apply_shapes(resnet.Model(50, num_classes=7), (2, 97, 131, 1))
    assert {name: stage.shape for name, stage in stages.items()} == {
        "stem": (2, 49, 66, 64),
        "layer1": (2, 25, 33, 256),
        "layer2": (2, 13, 17, 512),
        "layer3": (2, 7, 9, 1024),
        "layer4": (2, 4, 5, 2048),
        "avgpool": (2, 2048),
        "fc": (2, 7),
    }
    assert output.shape == (2, 7)


def test_stages_of_the_small_stem_without_a_head():
    output, stages = apply_shapes(resnet.Model(18, num_classes=None, stem="small", width=16), (2, 32, 32, 4))
    assert {name: stage.shape for name, stage in stages.items()} == {
        "stem": (2, 32, 32, 16),
        "layer1": (2, 32, 32, 16),
        "layer2": (2, 16, 16, 32),
        "layer3": (2, 8, 8, 64),
        "layer4": (2, 4, 4, 128),
        "avgpool": (2, 128),
    }
    assert output.shape == (2, 128)


@pytest.mark.parametrize("depth", [18, 50])
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32(depth):
    model = resnet.Model(depth, num_classes=3, width=4, dtype="bfloat16")
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = init_shapes(model, x.shape)
    (output, stages), moved = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, x
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, moved, output))} == {jnp.dtype("float32")}
    in_half = {name for name, stage in stages.items() if stage.dtype == jnp.bfloat16}
    assert in_half == {"stem", "layer1", "layer2", "layer3", "layer4"}


def test_bfloat16_is_near_float32():
    model, variables = make_resnet.build(make_resnet.SMALL, np.float32)
    x = make_resnet.image(make_resnet.SMALL, np.float32)
    half = make_resnet.evaluate(model.clone(dtype="bfloat16"), variables, x)
    assert 1e-4 < make_resnet.error(half, GOLDEN["small/eval"]) < 0.05


@pytest.mark.parametrize("depth", [18, 50])
def test_zero_init_residual_starts_every_block_as_the_identity(depth):
    model = resnet.Model(depth, num_classes=None, width=4, zero_init_residual=True)
    last = "bn2" if depth == 18 else "bn3"

    def scales():  # jit leaves out the kernels, nearly all of the work
        params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)["params"]
        blocks = [block for name, block in params.items() if name.startswith("layer")]
        return [(block["bn1"]["scale"], block[last]["scale"]) for block in blocks]

    blocks = jax.jit(scales)()
    assert len(blocks) == sum(resnet.STAGES[depth])
    for first, zero in blocks:
        assert first.all() and not zero.any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 20}, "no depth 20; it must be one of 18, 34, 50, 101, 152"),
        ({"stem": "tiny"}, "no stem 'tiny'; it must be 'imagenet' or 'small'"),
        ({"dtype": "bf16"}, "dtype is 'bf16'"),
    ],
)
def test_fields_that_cannot_be_used(fields, message):
    with pytest.raises(ConfigError, match=message):
        init_shapes(resnet.Model(**fields))
