"""Every file of jaxcv/data that has a `source` keeps the contract of jaxcv.data.source.Source, on generated data."""

import pickle
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import data_files
from jaxcv.config import call
from jaxcv.data.check import check_source
from jaxcv.data.pipeline import gather
from jaxcv.data.source import SPLITS, Arrays, describe, names_of, outline_of, voc_palette
from jaxcv.errors import ConfigError, DataError

FOLDER = Path(__file__).parent.parent / "jaxcv" / "data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef source(" in path.read_text())


def generate(name, root, seed=0):
    """The module, options for its `source`, and a change of them."""
    assert name in data_files.CASES, (
        f"jaxcv/data/{name}.py is not tested: add a function to tests/data_files.py that writes some data of its form "
        "and returns options of its source, and name it in CASES there"
    )
    return import_module(f"jaxcv.data.{name}"), *data_files.CASES[name](root, seed)


def load(module, options):
    return {split: call(module.source, options, group="data", split=split) for split in SPLITS}


@pytest.mark.parametrize("name", NAMES)
def test_examples(name, tmp_path):
    module, options, _ = generate(name, tmp_path)
    for source in load(module, options).values():
        check_source(source, name)
        info, examples = source.info, [source[i] for i in range(len(source))]
        assert len(examples) > 1
        for example in examples:
            assert example.keys() == examples[0].keys() <= {"image", "label", "labels", "mask"}
            assert (example["image"].dtype, example["image"].shape) == (np.uint8, info.shape)
            label, mask = example.get("label"), example.get("mask")
            if label is not None:
                assert label.dtype == np.int32 and label.shape == ()
                assert info.palette or 0 <= label < len(info.classes)
            if (several := example.get("labels")) is not None:
                assert several.dtype == np.uint8 and several.shape == (len(info.classes),) and several.max() <= 1
            if mask is not None:
                assert mask.dtype in (np.uint8, np.int32) and mask.shape == info.shape[:2]
                assert not info.palette or set(np.unique(mask)) <= {*range(len(info.classes)), info.ignore}
        names = names_of(source)
        assert len(names) == len(set(names)) == len(source) and all(isinstance(name, str) for name in names)
        with pytest.raises(IndexError):
            source[len(source)]


@pytest.mark.parametrize("name", NAMES)
def test_batches_and_copies_have_the_same_examples(name, tmp_path):
    module, options, _ = generate(name, tmp_path)
    for source in load(module, options).values():
        batch, copy = gather(source, np.array([1, 0, 1])), pickle.loads(pickle.dumps(source))  # noqa: S301
        assert copy.info == source.info and list(names_of(copy)) == list(names_of(source))
        for key, values in batch.items():
            assert values.dtype == source[0][key].dtype
            np.testing.assert_array_equal(values, [source[i][key] for i in (1, 0, 1)])
            np.testing.assert_array_equal(copy[1][key], source[1][key])


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_that_of_the_data(name, tmp_path):
    module, options, change = generate(name, tmp_path / "here")
    prints = [source.info.fingerprint for source in load(module, options).values()]
    assert len(set(prints)) == 3
    _, again, _ = generate(name, tmp_path / "there")
    assert [source.info.fingerprint for source in load(module, again).values()] == prints
    _, other, _ = generate(name, tmp_path / "other", seed=1)
    assert not {source.info.fingerprint for source in load(module, other).values()} & set(prints)
    assert module.source("train", **options | change).info.fingerprint != prints[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_without_the_data(name, tmp_path):
    module, options, _ = generate(name, tmp_path)
    outline, info = outline_of(module, options | {"dir": "/nowhere"}), module.source("train", **options).info
    assert outline is None or outline._replace(fingerprint="", classes=(), palette=()) == info._replace(
        fingerprint="", classes=(), palette=()
    )
    with pytest.raises(ConfigError, match="there is no split 'valid': a split is one of train, val, test"):
        module.source("valid", **options)


# The check, and sources from arrays

IMAGE, LABEL = np.zeros((3, 4, 5, 3), np.uint8), np.arange(3, dtype=np.int32)
MASK = np.zeros((3, 4, 5), np.uint8)


def toy(arrays=None, **changes):
    arrays = {"image": IMAGE, "label": LABEL} if arrays is None else arrays
    return Arrays(arrays, describe({"image": IMAGE}, name="toy", classes=("a", "b", "c"))._replace(**changes))


class Bare:
    """A source with its own methods: no names, no take."""

    def __init__(self, example, info=None):
        self.example, self.info = example, toy().info if info is None else info

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.example


def test_what_keeps_the_contract_passes():
    check_source(toy(), "toy")
    check_source(toy({"image": IMAGE}, classes=()), "toy")
    check_source(toy({"image": IMAGE, "mask": MASK + 255}, palette=voc_palette(3)), "toy")
    check_source(toy({"image": IMAGE, "mask": MASK, "label": LABEL}), "toy")
    check_source(toy({"image": IMAGE, "labels": np.eye(3, dtype=np.uint8)}), "toy")
    bare = Bare({"image": IMAGE[0], "label": LABEL[2]})
    check_source(bare, "toy")
    assert names_of(bare) == ["0", "1"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "its source is a NoneType without __len__; see jaxcv.data.source.Source"),
        ([1, 2], "its source is a list without info"),
        (Bare({"image": IMAGE[0]}, info={"name": "toy"}), "info is a dict, expected a jaxcv.data.source.Info"),
        (toy(shape=(4, 5)), r"info.shape is \(4, 5\), expected \(height, width, channels\)"),
        (toy(shape=32), r"info.shape is 32, expected"),
        (toy(mean=0.5), r"info.mean is 0.5, expected a number for each channel"),
        (toy(mean=(0.5,)), r"info.mean is \(0.5,\), expected a number for each channel of info.shape \(4, 5, 3\)"),
        (toy(mean=("0.5",) * 3), r"info.mean is \('0.5', '0.5', '0.5'\), expected a number for each channel"),
        (toy(std=(0.5, 0.5, 0.0)), r"info.std is \(0.5, 0.5, 0.0\), expected numbers above 0"),
        (toy(classes="abc"), "info.classes is 'abc', expected a tuple of names"),
        (toy(classes=(0, 1)), r"info.classes is \(0, 1\), expected a tuple of names"),
        (toy(palette=voc_palette(2)), "info.palette has 2 colours for the 3 names of info.classes"),
        (toy(fingerprint=""), "info.fingerprint is empty"),
        (toy({"image": IMAGE[:0]}), "there are no examples"),
        (Bare((IMAGE[0], 1)), "an example is a tuple, expected a dictionary of numpy arrays"),
        (Bare({"image": IMAGE[0], "label": 1}), "label is a int, expected a numpy array"),
        (toy({"label": LABEL}), "an example has label, but no image"),
        (toy({"image": IMAGE / 255}), r"image is float64 \(4, 5, 3\), expected uint8 \(4, 5, 3\)"),
        (toy({"image": IMAGE[..., 0]}), r"image is uint8 \(4, 5\), expected uint8 \(4, 5, 3\)"),
        (toy(shape=(5, 4, 3)), r"image is uint8 \(4, 5, 3\), expected uint8 \(5, 4, 3\)"),
        (toy({"image": IMAGE, "label": LABEL.astype(int)}), r"label is int64 \(\), expected int32 \(\)"),
        (toy({"image": IMAGE, "label": LABEL[:, None]}), r"label is int32 \(1,\), expected int32 \(\)"),
        (toy({"image": IMAGE, "labels": np.eye(3)}), r"labels is float64 \(3,\), expected uint8 \(3,\)"),
        (toy({"image": IMAGE, "labels": np.ones((3, 2), np.uint8)}), r"labels is uint8 \(2,\), expected uint8 \(3,\)"),
        (toy({"image": IMAGE, "label": LABEL + 3}), "a label is 3, but info.classes has 3 names"),
        (toy({"image": IMAGE, "label": LABEL - 1}), "a label is -1, but info.classes has 3 names"),
        (toy(classes=()), "a label is 0, but info.classes has 0 names"),
        (toy({"image": IMAGE}), "info.classes has 3 names, but an example has neither label nor labels nor mask"),
        (toy({"image": IMAGE, "mask": MASK}), "an example has a mask, but info.palette has no colours"),
        (toy(palette=voc_palette(3)), "info.palette has colours for masks, but an example has no mask"),
        (toy({"image": IMAGE, "mask": MASK[:, :3]}), r"mask is uint8 \(3, 5\), expected uint8 or int32 \(4, 5\)"),
        (
            toy({"image": IMAGE, "mask": MASK + 3}, palette=voc_palette(3)),
            r"a mask has the label 3, which is neither in 0\.\.2 nor info.ignore=255",
        ),
    ],
)
def test_what_a_source_lacks_is_said_in_one_line(source, message):
    with pytest.raises(DataError, match=f"^data set 'toy': {message}") as caught:
        check_source(source, "toy")
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class_is_named_in_any_batch():
    mask = MASK.copy()
    mask[2, 1, 1] = 7
    for source, fault in (
        (toy({"image": IMAGE, "label": LABEL}, classes=("a", "b")), "a label is 2, but info.classes has 2 names"),
        (toy({"image": IMAGE, "mask": mask}, palette=voc_palette(3)), "a mask has the label 7, which is neither in"),
    ):
        check_source(source, "toy")  # looks at the first example alone
        assert len(gather(source, np.array([1, 0]))["image"]) == 2
        with pytest.raises(DataError, match=f"^toy, example 2: {fault}"):
            gather(source, np.array([1, 2]))


def test_as_many_names_as_examples():
    source = Bare({"image": IMAGE[0], "label": LABEL[0]})
    source.names = ["only one"]
    with pytest.raises(DataError, match="there are 1 names for 2 examples"):
        check_source(source, "toy")


def test_arrays_are_described():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    images[..., 2] = 51
    arrays = {"image": images, "label": np.arange(6, dtype=np.int32)}
    info = describe(arrays, name="mine", classes=("a", "b", "c", "d", "e", "f"))
    assert (info.name, info.shape, info.classes[5], info.palette) == ("mine", (4, 5, 3), "f", ())
    np.testing.assert_allclose(info.mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(info.std, [*(images / 255).std((0, 1, 2))[:2], 1 / 255], rtol=1e-9)
    check_source(Arrays(arrays, info), "mine")
    assert describe({**arrays, "label": arrays["label"][::-1]}, name="mine").fingerprint != info.fingerprint
    masks = {"image": images, "mask": np.zeros((6, 4, 5), np.uint8)}
    assert describe(masks, name="mine", classes=("a", "b")).palette == voc_palette(2)
    with pytest.raises(DataError, match=r"mine: image is uint8 \(6, 4, 5\), expected uint8 \(n, h, w, c\)"):
        describe({"image": images[..., 0]}, name="mine")
    with pytest.raises(DataError, match="mine: image is NoneType, expected"):
        describe({"x": images}, name="mine")
