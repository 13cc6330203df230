"""What configs share; every variant of every config: it builds at full size, and its :tiny form on data of its form."""

import runpy

import jax
import pytest

import data_files
import runs
from jaxcv.configs import base
from jaxcv.experiment import build, make_model
from jaxcv.tools.summary import size, trace

FILES = [path for path in (runs.ROOT / "configs").glob("[!_]*.py") if path.name != "base.py"]
CONFIGS = {path.stem: runpy.run_path(str(path)) for path in FILES}
BYOL = CONFIGS["byol"]
MODIFIERS = (  # stand behind other variants
    *("small", "tiny", "grid", "ablation", "skips", "batch_sizes", "kernels"),
    *("compare", "rates", "convs", "dilations"),
)


def test_defaults_are_filled_in_key_by_key():
    values = {"data": {"name": "shapes"}, "optim": {"clip_norm": 1.0, **base.ADAM, **base.ADAMW}, "model": {"width": 4}}
    config = base.config(seed=3, **values)
    assert (config.seed, config.init_from, config.data.name, config.data.limit) == (3, "", "shapes", 0)
    assert (config.optim.clip_norm, config.optim.ema_decay, config.train.patience) == (1.0, 0.0, 0)
    base.replace(config, model={"depth": 18}, augment={"flip": {"p": 0.5}})
    assert config.model.to_dict() == {"depth": 18, "dtype": "float32"}
    assert config.augment.to_dict() == {"flip": {"p": 0.5}}
    config.optim.adam.b1 = 0.5
    config.evals.names = ("knn",)
    assert config.optim.adamw.b1 == 0.9 and base.config(**values).optim.adam.b1 == 0.9  # what it was made from stays


def test_a_duration_in_steps_takes_the_place_of_the_default_in_epochs():
    config = base.config(train={"save_every_steps": 7}, eval={"every_steps": 9})
    assert "save_every_epochs" not in config.train and config.train.save_every_steps == 7
    assert "every_epochs" not in config.eval and config.eval.every_steps == 9


def test_variants_are_applied_from_left_to_right():
    choices = {name: lambda config, name=name: config.update(name=config.get("name", "") + name) for name in "ab"}
    get_config = base.variants("mine.py", base.config, choices)
    assert "name" not in get_config() and get_config("b,a,,b").name == "bab"
    with pytest.raises(ValueError, match=r"^mine.py has no variant 'c'; choose from a, b\.$"):
        get_config("a,c")
    with pytest.raises(ValueError, match=r"^mine.py has no variant 'a'; choose from \(none\)\.$"):
        base.variants("mine.py", base.config, {})("a")


def test_a_sweep_of_rows():
    config = base.config()
    rows = {"slow": ({"optim": {"lr": 0.1}}, 0.7), "fast": ({"optim": {"lr": 0.2}}, None)}
    base.sweep(config, rows, metrics=("test/accuracy",))
    assert config.sweep.rows == tuple({"name": name, "set": values} for name, (values, _) in rows.items())
    assert config.sweep.reference == (("slow", 0.7),) and config.sweep.seeds == (0,)


def test_a_config_may_be_in_any_folder(tmp_path):
    mine = (
        "from jaxcv.configs import base\n\nVARIANTS = {}\nget_config = base.variants(__file__, base.config, VARIANTS)\n"
    )
    (tmp_path / "mine.py").write_text(mine)
    config, flags = f"--config={tmp_path}/mine.py", ["--config.seed=1", f"--workdir={tmp_path}/run"]
    code, _, err = runs.run("main.py", config, *flags)
    assert code == 1 and err.startswith("error: config.task is missing; every experiment has it."), err
    code, _, err = runs.run("main.py", f"{config}:tiny", *flags)
    assert code == 1 and err == f"error: {tmp_path}/mine.py has no variant 'tiny'; choose one of (none).\n"


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_files.of_every_config(tmp_path_factory.mktemp("data"))


def built(arg, data, name="byol", **train):
    config = CONFIGS[name]["get_config"](arg)
    if "dir" in config.data:
        config.data.dir = str(data)
    if "holdout" in config.data:
        config.data.holdout = 5
    config.train.update(train)
    return config, build(config)


@pytest.mark.parametrize(
    ("variant", "backbone", "hidden", "feature"),
    [  # parameters of torchvision's networks without their heads, and of a 3x3 stem where it is small
        ("cifar10", 11_689_512 - 513_000 - 3 * 64 * (49 - 9), 4096, 512),
        ("fashion_mnist", 11_689_512 - 513_000 - 64 * (3 * 49 - 9), 4096, 512),
        ("imagenette", 11_689_512 - 513_000, 4096, 512),
        ("mini_imagenet", 25_557_032 - 2_049_000, 4096, 2048),
        ("imagenet", 25_557_032 - 2_049_000, 4096, 2048),
        ("cifar10,small", None, 512, 128),
        ("", None, 512, 128),
    ],
)
def test_full_size_networks_have_the_published_parameters(variant, backbone, hidden, feature, data):
    _, experiment = built(variant, data, batch_size=8)
    params = experiment.compiled.abstract.params
    out = params["projector"]["linear2"]["kernel"].shape[1]
    if backbone is not None:
        assert count(params["backbone"]) == backbone
        assert out == 256
    assert count(params["projector"]) == feature * hidden + hidden + 2 * hidden + hidden * out
    assert count(params["predictor"]) == out * hidden + hidden + 2 * hidden + hidden * out
    assert count(experiment.compiled.abstract.model_state["target"]["params"]) == count(params) - count(
        params["predictor"]
    )


def variants():
    for name, config in CONFIGS.items():
        if name != "networks":
            for variant in ("", *config["VARIANTS"]):
                if variant not in MODIFIERS:
                    yield name, variant


@pytest.mark.parametrize(("name", "variant"), list(variants()))
def test_every_variant_has_a_tiny_form(name, variant, data):
    config, experiment = built(f"{variant},tiny", data, name)
    assert experiment.data.total_steps <= 16 and len(experiment.data.sources["train"]) >= config.train.batch_size
    fixed = config.model.name == "deeplabv3" or variant == "efficientnet"  # which have widths that cannot be narrowed
    assert fixed or count(experiment.compiled.abstract.params) < 300_000


@pytest.mark.parametrize(
    ("name", "variant", "classes", "parameters"),
    [  # the course reports' and torchvision's
        ("fashion_mnist", "baseline", 10, 4_414),
        ("fashion_mnist", "improved", 10, 83_974),
        ("classify50", "vgg16", 50, 138_357_544),
        ("classify50", "vgg13", 50, 133_047_848 - 950 * 4097),
        ("classify50", "resnet152", 50, 60_192_808 - 950 * 2049),
        ("transfer", "full", 65, 25_557_032 + 65 * 1001),
        ("binary", "alexnet", 2, 57_012_034),
        ("binary", "finetune", 2, 11_689_512 - 998 * 513),
        ("binary", "efficientnet", 2, 9_109_994 + 2 * 1001),
    ],
)
def test_full_size_classifiers_have_the_published_parameters(name, variant, classes, parameters):
    config = CONFIGS[name]["get_config"](variant)
    channels = 1 if name == "fashion_mnist" else 3
    side = config.data.get("size", 28)
    _, variables = trace(make_model(config.model, num_classes=classes), (1, side, side, channels), train=False)
    assert size(variables["params"]) == parameters


@pytest.mark.parametrize("name", CONFIGS["networks"]["VARIANTS"])
def test_every_network_of_the_list_is_there(name):
    config = CONFIGS["networks"]["get_config"](name)
    make_model(config.model)
    assert len(config.image) == 3


def test_one_views_options_are_not_the_others():
    for variant in ("", "mini_imagenet"):
        config = BYOL["get_config"](variant)
        config.augment.view1.jitter.p = 0.123
        assert config.augment.view2.jitter.p != 0.123


def test_the_papers_numbers():
    """The settings of the public code for 300 epochs, so that a slip in the config is seen."""
    config = BYOL["get_config"]("imagenet")
    view1, view2 = config.augment.view1, config.augment.view2
    assert (view1.blur.p, view1.blur.kernel, view1.solarize.p) == (1.0, 23, 0.0)
    assert (view2.blur.p, view2.blur.kernel, view2.solarize.p) == (0.1, 23, 0.2)
    for view in (view1, view2):
        assert (view.jitter.p, view.jitter.shift, view.jitter.brightness) == (0.8, 0.4, 0.0)
        assert (view.jitter.contrast, view.jitter.saturation, view.jitter.hue, view.gray.p) == (
            0.4,
            0.2,
            0.1,
            0.2,
        )
    assert (config.train.batch_size, config.train.total_epochs, config.optim.lr) == (4096, 300.0, 0.3)
    assert (config.task.tau, config.task.hidden, config.task.features) == (0.99, 4096, 256)
    assert (config.optim.weight_decay, config.optim.warmup_epochs, config.optim.lars.trust_coefficient) == (
        1e-6,
        10.0,
        1e-3,
    )
