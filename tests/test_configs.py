"""Every variant of every config: it builds at full size, and its :tiny form on data of its form."""

import runpy
from pathlib import Path

import data_files
import jax
import pytest

from jaxcv.experiment import build

BYOL = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "byol.py"))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a little data in the form of each data set that the variants name."""
    root = tmp_path_factory.mktemp("data")
    data_files.fashion_mnist(root, train=40)
    data_files.cifar10(root, each=8)
    for folder in ("imagenette2-160", "mini", "imagenet"):
        data_files.class_folders(root / folder / "train", {"ant": 12, "bee": 12})
        data_files.class_folders(root / folder / "val", {"ant": 2, "bee": 2})
    return root


def built(arg, data, **train):
    config = BYOL["get_config"](arg)
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
    params = experiment.abstract.params
    out = params["projector"]["linear2"]["kernel"].shape[1]
    if backbone is not None:
        assert count(params["backbone"]) == backbone
        assert out == 256
    assert count(params["projector"]) == feature * hidden + hidden + 2 * hidden + hidden * out
    assert count(params["predictor"]) == out * hidden + hidden + 2 * hidden + hidden * out
    assert count(experiment.abstract.extra["target"]["params"]) == count(params) - count(params["predictor"])


@pytest.mark.parametrize("variant", [name for name in BYOL["VARIANTS"] if name not in ("small", "tiny")] + [""])
def test_every_variant_has_a_tiny_form(variant, data):
    config, experiment = built(f"{variant},tiny", data)
    assert experiment.total_steps == 8 and len(experiment.sources["train"]) >= config.train.batch_size
    assert count(experiment.abstract.params) < 200_000


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
