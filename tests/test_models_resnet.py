import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import make_resnet
from goldens.parity import Case, abstract, build, check_eval, check_train, count, error, evaluate, images, sizes, thin
from jaxcv.config import call
from jaxcv.errors import ConfigError
from jaxcv.models import resnet


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_parameter_counts_are_those_published_by_torchvision(depth, parameters):
    assert count(resnet.Model(depth), (1, 64, 64, 3)) == parameters


@pytest.mark.parametrize("name", ["narrow18", "narrow50"])
def test_training_is_torchvisions(name):
    check_train(make_resnet.FILE, name, make_resnet.CASES[name])


@pytest.mark.parametrize("name", ["narrow18", "narrow50", "small"])
def test_evaluation_is_torchvisions(name):
    check_eval(make_resnet.FILE, name, make_resnet.CASES[name])


def test_stages_of_the_imagenet_stem_at_an_odd_size():
    assert sizes(resnet.Model(50, num_classes=7), (2, 97, 131, 1)) == (
        (2, 7),
        {
            "stem": (2, 49, 66, 64),
            "layer1": (2, 25, 33, 256),
            "layer2": (2, 13, 17, 512),
            "layer3": (2, 7, 9, 1024),
            "layer4": (2, 4, 5, 2048),
            "avgpool": (2, 2048),
            "fc": (2, 7),
        },
    )


def test_stages_of_the_small_stem_without_a_head():
    assert sizes(resnet.Model(18, num_classes=None, stem="small", width=16), (2, 32, 32, 4)) == (
        (2, 128),
        {
            "stem": (2, 32, 32, 16),
            "layer1": (2, 32, 32, 16),
            "layer2": (2, 16, 16, 32),
            "layer3": (2, 8, 8, 64),
            "layer4": (2, 4, 4, 128),
            "avgpool": (2, 128),
        },
    )


@pytest.mark.parametrize(
    ("replaced", "heights"),
    [((False, True, True), (25, 13, 13, 13)), ((True, False, True), (25, 25, 13, 13))],
)
def test_stages_with_dilation_for_stride(replaced, heights):
    model = resnet.Model(50, width=4, replace_stride_with_dilation=replaced)
    _, stages = sizes(model, (1, 97, 97, 3))
    assert tuple(stages[f"layer{i}"][1] for i in (1, 2, 3, 4)) == heights


@pytest.mark.parametrize("depth", [18, 50])
def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_float32(depth):
    model = resnet.Model(depth, num_classes=3, width=4, dtype="bfloat16")
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = abstract(Case(model, x.shape))
    (output, stages), moved = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, x
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, moved, output))} == {jnp.dtype("float32")}
    in_half = {name for name, stage in stages.items() if stage.dtype == jnp.bfloat16}
    assert in_half == {"stem", "layer1", "layer2", "layer3", "layer4"}


def test_bfloat16_is_near_float32():
    case = make_resnet.CASES["small"]
    model, variables, _ = build(case)
    out = evaluate(case, model.clone(dtype="bfloat16"), variables, images("small", case))
    with np.load(make_resnet.FILE, allow_pickle=False) as golden:
        assert 1e-4 < error(thin(out["output"]), golden["small/eval/output"]) < 0.05


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
        ({"depth": 20}, "config.model.depth=20 is unknown; choose one of 101, 152, 18, 34, 50"),
        ({"stem": "tiny"}, "config.model.stem='tiny' is unknown; choose one of imagenet, small"),
        ({"replace_stride_with_dilation": (True, True)}, "must be three bools, for layer2 to layer4"),
        (
            {"depth": 34, "replace_stride_with_dilation": (False, False, True)},
            "needs a config.model.depth of 50 or more",
        ),
        ({"last_dilation": 0}, "config.model.last_dilation=0 must be 1 or more"),
    ],
)
def test_fields_that_cannot_be_used(fields, message):
    with pytest.raises(ConfigError, match=message):
        abstract(Case(call(resnet.Model, fields, group="model"), (1, 64, 64, 3)))
