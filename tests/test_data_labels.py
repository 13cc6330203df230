"""Folders of images as people have them: each file and label is used as it was meant, or a sentence says otherwise."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

import data_files
from jaxcv.data import files, image_folder
from jaxcv.data.labels import tell_classes
from jaxcv.errors import ConfigError, DataError


def load(root, split="train", **options):
    return image_folder.source(split, **{"dir": str(root), "folder": "set", "size": 8, "holdout": 0} | options)


def counts(source):
    """How many images each class has."""
    return Counter(source.info.classes[int(example["label"])] for example in source)


def write_csv(root, *rows, count=6, columns="filename,label"):
    """set/train/0.png and so on, and set/train.csv with `rows`."""
    for i in range(count):
        data_files.picture(root / f"set/train/{i}.png", seed=i)
    (root / "set/train.csv").write_text("\n".join([columns, *rows]))


def test_images_below_class_folders_count(tmp_path):
    train = tmp_path / "set/train"
    data_files.class_folders(train, {"cat": 2, "dog": 2})
    data_files.class_folders(train / "cat/2024", {"more": 3, ".hidden": 1})
    (train / "dog/loop").symlink_to(train / "dog")
    source = load(tmp_path)
    assert source.names[:3] == ["cat/000.png", "cat/001.png", "cat/2024/more/000.png"]
    assert counts(source) == {"cat": 5, "dog": 2}
    assert "set/train: folders below the class folders have 3 of the 7 images." in source.info.notes


def test_every_kind_of_image_is_read_and_the_rest_is_counted(tmp_path):
    train = tmp_path / "set/train"
    for i, suffix in enumerate(["bmp", "tif", "tiff", "gif", "PNG", "jpeg", "webp"]):
        data_files.picture(train / f"a/{i}.{suffix}", seed=i)
    data_files.picture(train / "b/0.png")
    for name in ("beside.jpg", "a/.thumb.jpg", "b/notes.txt", "b/more.txt"):
        (train / name).touch()
    source = load(tmp_path)
    assert counts(source) == {"a": 7, "b": 1}
    assert source.info.notes == ("set/train: left out: .txt (2), hidden (1), images beside the class folders (1).",)


def test_transparent_parts_are_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0], pixels[2:6, 2:6, 3] = 255, 255  # red, which shows in the middle alone
    (tmp_path / "set/train/a").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "set/train/a/0.png")
    source = load(tmp_path)
    expected = np.where(pixels[..., 3:] > 0, np.uint8([255, 0, 0]), np.uint8(255))
    np.testing.assert_array_equal(source[0]["image"], expected)
    assert source.info.notes == ("set/train: transparent parts become white (images: 1, such as 0.png).",)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(tmp_path, suffix):
    (tmp_path / "set/train/a").mkdir(parents=True)
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / f"set/train/a/0.{suffix}", save_all=True, append_images=frames[1:])
    source = load(tmp_path)
    assert source[0]["image"][..., 0].min() > 250 and source[0]["image"][..., 2].max() < 5
    assert source.info.notes == (f"set/train: the first of several frames is used (images: 1, such as 0.{suffix}).",)


def test_any_number_of_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 5), np.uint8)
    (tmp_path / "set/train/a").mkdir(parents=True)
    path = tmp_path / "set/train/a/0.npy"
    np.save(path, pixels)
    numbers = {"mean": (0.5,) * 5, "std": (0.2,) * 5}
    source = load(tmp_path, channels=5, **numbers)
    np.testing.assert_array_equal(source[0]["image"], pixels)
    assert source.info.shape == (8, 8, 5) and source.info.mean == (0.5,) * 5
    with pytest.raises(ConfigError, match="data.channels=5 needs data.mean and data.std with 5 numbers each"):
        load(tmp_path, channels=5)
    with pytest.raises(DataError, match=r"0.npy is uint8 \(8, 8, 5\), expected uint8 \(h, w, data.channels=3\)"):
        load(tmp_path)[0]
    np.save(path, pixels / 255)
    with pytest.raises(DataError, match=r"0.npy is float64 \(8, 8, 5\), expected uint8"):
        load(tmp_path, channels=5, **numbers)[0]
    path.unlink()
    Image.fromarray(pixels[..., :4]).save(path.with_suffix(".tif"))
    four = load(tmp_path, channels=4, mean=(0.5,) * 4, std=(0.2,) * 4)
    np.testing.assert_array_equal(four[0]["image"], pixels[..., :4])
    grey = load(tmp_path, channels=1, mean=(0.5,), std=(0.2,))
    assert grey[0]["image"].shape == (8, 8, 1)
    with pytest.raises(DataError, match=r"0.tif has 4 channels \(RGBA\), but data.channels=5"):
        load(tmp_path, channels=5, **numbers)[0]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat.0", "cat.1", "dog.0"], ("cat", "dog")),
        (["cat_0", "dog.12", "big_dog_3"], ("big_dog", "cat", "dog")),
        (["9_0", "10_1"], ("9", "10")),
        (["IMG_0001", "IMG_0002"], ()),
        (["IMG_20240101_1200", "IMG_20240102_1201", "DSCF_0002"], ()),
        (["20240101_1200", "20240102_1201"], ()),
        (["0001", "0002"], ()),
        (["IMG_0001", "holiday"], ()),
        (["cat.0", "cat.1"], ()),
    ],
)
def test_classes_in_the_names_of_files(tmp_path, names, classes):
    for split in ("train", "val"):
        for i, name in enumerate(names[: 1 if split == "val" else None]):
            data_files.picture(tmp_path / f"set/{split}/{name}.jpg", seed=i)
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.info.classes == test.info.classes == classes
    assert ("label" in train[0]) == ("label" in test[0]) == bool(classes)
    what = "the classes are those in the names of files" if classes else "the images have no classes"
    assert what in train.info.notes[0] and f"{sorted(names)[0]}.jpg" in train.info.notes[0]


def test_blanks_and_case_in_a_csv(tmp_path):
    write_csv(tmp_path, "0.png,cat", "1.png,dog", " 2.png,cat ", "3.png, dog", "4.png,Dog", "4.png,Dog")
    source = load(tmp_path, labels="{folder}.csv")
    assert counts(source) == {"Dog": 1, "cat": 2, "dog": 2}
    assert source.info.notes == (
        "train.csv: blanks around names and labels do not count (in 2 rows).",
        "train.csv: repeated rows count once (1).",
        "set/train: left out: images that are not in train.csv (1).",
        "set: the classes 'Dog', 'dog' differ only by case.",
    )


def test_a_file_has_one_label(tmp_path):
    write_csv(tmp_path, "0.png,cat", "1.png,dog", "./0.png,dog")
    with pytest.raises(DataError, match=r"train.csv line 4: ./0.png is 'dog', but 'cat' in line 2; a file has one row"):
        load(tmp_path, labels="{folder}.csv")
    write_csv(tmp_path, f"{tmp_path}/set/train/0.png,cat")
    with pytest.raises(DataError, match=r"train.csv line 2: there is no file .*0.png, a path below .*set/train"):
        load(tmp_path, labels="{folder}.csv")
    (tmp_path / "set/train.csv").write_bytes(b"filename,label\n0.png,caf\xe9\n")
    with pytest.raises(DataError, match="train.csv is no CSV in UTF-8"):
        load(tmp_path, labels="{folder}.csv")


@pytest.mark.parametrize("separator", [" ", ";"])
def test_several_labels_in_a_csv(tmp_path, separator):
    both = f"cat{separator}dog"
    write_csv(tmp_path, "0.png,cat", "1.png,dog", f"2.png,{both}", "3.png,")
    source = load(tmp_path, labels="{folder}.csv", separator=separator)
    assert source.info.classes == ("cat", "dog") and "label" not in source[0]
    assert [example["labels"].tolist() for example in source] == [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert source[0]["labels"].dtype == np.uint8
    assert "train.csv: some images have no label (1)." in source.info.notes
    write_csv(tmp_path, "0.png,cat", "1.png,dog", f"2.png,{both}")
    note = f"set: {both!r} is a class of its own, though its parts are classes too; data.separator={separator!r} makes"
    assert any(line.startswith(note) for line in load(tmp_path, labels="{folder}.csv").info.notes)
    assert tell_classes("set", ["ice bear", "bear", "cat"]) == []
    for option in ({"separator": separator}, {"group": "patient"}):
        with pytest.raises(ConfigError, match="is about a CSV of labels; set data.labels too"):
            load(tmp_path, **option)


def test_a_hold_out_has_each_class(tmp_path):
    data_files.class_folders(tmp_path / "set/train", {"common": 96, "rare": 4, "single": 1})
    train, val = (load(tmp_path, split, holdout=0.1) for split in ("train", "val"))
    assert counts(val) == {"common": 9, "rare": 1} and counts(train) == {"common": 87, "rare": 3, "single": 1}
    assert "set: the split 'val' has no image of these classes: single." in val.info.notes
    assert sorted(train.names + val.names) == load(tmp_path).names


@pytest.mark.parametrize("sizes", [(96, 4), (50, 50), (7, 5, 3, 1), (1, 1, 1, 1, 1), (400,), (3, 3, 3)])
@pytest.mark.parametrize("holdout", [0.1, 0.34, 1, 3])
def test_a_stratified_hold_out_is_near_each_share(sizes, holdout):
    labels = [str(i) for i, size in enumerate(sizes) for _ in range(size)]
    options = (len(labels), holdout)
    if round(holdout * len(labels)) == 0:
        return
    val, train = (files.held_out(split, *options, labels=labels).tolist() for split in ("val", "train"))
    count = len(files.held_out("val", *options))
    assert len(val) == count and sorted(val + train) == list(range(len(labels)))
    held, spare = Counter(labels[i] for i in val), sum(size > 1 for size in sizes)
    for i, size in enumerate(sizes):
        assert abs(held[str(i)] - count * size / len(labels)) < 2
        assert held[str(i)] or size == 1 or count < spare
    if len(sizes) == 1:  # as without labels
        assert val == files.held_out("val", *options).tolist()


def test_groups_stay_together(tmp_path):
    rows = [f"{i}.png,{'ab'[i % 2]},p{i // 4}" for i in range(24)]
    write_csv(tmp_path, *rows, count=24, columns="filename,label,patient")
    options = {"labels": "{folder}.csv", "group": "patient", "holdout": 0.34}
    train, val = (load(tmp_path, split, **options) for split in ("train", "val"))
    patients = [{int(name.removesuffix(".png")) // 4 for name in source.names} for source in (train, val)]
    assert not patients[0] & patients[1] and patients[0] | patients[1] == set(range(6))
    assert counts(val) == {"a": 4, "b": 4}
    again = load(tmp_path, "train", **options, val_folder="train")
    assert len(again) == 24
    held = load(tmp_path, "val", **options, val_folder="train")
    assert held.names == again.names
    with pytest.raises(ConfigError, match="to which no choice of whole groups comes near; set another holdout"):
        load(tmp_path, "val", **options | {"holdout": 1})
    with pytest.raises(DataError, match="but needs filename, label and doctor"):
        load(tmp_path, **options | {"group": "doctor"})
