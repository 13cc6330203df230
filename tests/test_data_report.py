"""The report on the data: what is counted, and what is told."""

import numpy as np
import pytest
from PIL import Image

import data_files
from jaxcv.data import mask_folder, report
from jaxcv.data.source import Arrays, describe, evenly


def arrays(images, labels, classes=("cat", "dog", "eel")):
    data = {"image": np.asarray(images, np.uint8), "label": np.asarray(labels, np.int32)}
    return Arrays(data, describe(data, name="pets", classes=classes))


def noise(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


def test_arrays_are_counted_whole_and_compared(monkeypatch):
    monkeypatch.setattr(report, "READ", 4)
    train, val, test = noise(0, 10), noise(1, 5), noise(2, 5)
    test[3] = train[7]
    sources = {
        "train": arrays(train, [0] * 6 + [1] * 4),
        "val": arrays(val, [0, 1, 2, 2, 2]),
        "test": arrays(test, [0] * 5),
    }
    found = report.inspect(sources)
    assert found["train"]["classes"] == {"cat": 6, "dog": 4, "eel": 0}
    assert (found["train"]["images"], found["train"]["read"], found["train"]["counted"]) == (10, 4, 10)
    np.testing.assert_allclose(found["train"]["mean_color"], train[[0, 2, 5, 7]].mean((0, 1, 2)), atol=0.05)
    assert found["duplicates"] == [{"split": "test", "of": "train", "images": 1, "example": ["3", "7"]}]
    line, *_, absent, absent_in_test, shared = report.lines(found)
    assert line.startswith("train: 10 images, 6x4 px, mean colour (") and line.endswith("; cat 6, dog 4, eel 0")
    assert absent == "NOTE: the split 'train' has no image of 'eel'."
    assert absent_in_test == "NOTE: the split 'test' has no image of 'dog', 'eel'."
    assert shared == "NOTE: 1 images of the split 'test' are in 'train' too: 3 is 7."
    part = report.inspect({name: evenly(source, 5) for name, source in sources.items()})
    assert part["train"]["classes"] == {"cat": 3, "dog": 1, "eel": 0} and part["train"]["counted"] == 4
    assert "NOTE: the split 'train' has no image of 'eel' among the 4 that were read." in report.lines(part)


def test_masks_are_counted_by_pixels(tmp_path):
    rows = np.array([[0] * 4, [1] * 4, [9] * 4, [9] * 4, [9] * 4])  # 9 is void
    for split in ("train", "test"):
        for i in range(4):
            data_files.picture(tmp_path / f"set/{split}/{i}.png", seed=i, size=(4, 5))
            data_files.mask(tmp_path / f"set/{split}annot/{i}.png", rows)
    options = {"dir": str(tmp_path), "folder": "set", "classes": ("sky", "sea", "sun"), "ignore": 9}
    options |= {"height": 5, "width": 4, "holdout": 1}
    sources = {split: mask_folder.source(split, **options) for split in ("train", "val", "test")}
    (tmp_path / "set/train/notes.txt").write_text("")
    data_files.picture(tmp_path / "set/test/.hidden.png")
    sources = {split: mask_folder.source(split, **options) for split in ("train", "val", "test")}
    found = report.inspect(sources | {"val": evenly(sources["test"], 3)})
    assert [found[split]["left_out"] for split in ("train", "val", "test")] == [
        {".txt": 1},
        {"hidden": 1, "beyond data.limit": 1},
        {"hidden": 1},
    ]
    assert (found["test"]["width"], found["test"]["height"]) == ([4, 4, 4], [5, 5, 5])
    found = report.inspect(sources)
    assert found["train"]["classes"] == {"sky": 12, "sea": 12, "sun": 0} and found["train"]["void"] == 0.6
    name = sources["val"].names[0]
    assert found["duplicates"] == [
        {"split": "test", "of": "train", "images": 3, "example": [sources["train"].names[0]] * 2},
        {"split": "test", "of": "val", "images": 1, "example": [name, name]},
    ]
    lines = report.lines(found)
    assert lines[0].endswith("; sky 50.0 %, sea 50.0 %, sun 0.0 %, void 60.0 % of all pixels")
    assert "NOTE: the split 'train' has no pixel of 'sun'." in lines
    assert "NOTE: 60.0 % of the mask pixels of the split 'train' are void." in lines


def test_a_line_names_the_rarest_and_the_most_frequent_of_many_classes():
    labels = np.repeat(np.arange(20), np.arange(1, 21))
    source = arrays(noise(3, len(labels)), labels, classes=[f"c{i}" for i in range(20)])
    found = report.inspect({"train": source, "val": source, "test": source})
    assert report.lines(found)[0].endswith("; 20 classes, from c0 1 to c19 20")


def test_a_photo_whose_mask_cannot_be_placed_is_told_by_the_report(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(2):
        data_files.picture(tmp_path / f"set/train/{i}.jpg", seed=i, **({"exif": exif} if i else {}))
        data_files.mask(tmp_path / f"set/trainannot/{i}.png", np.zeros((20, 20)))
    options = {"dir": str(tmp_path), "folder": "set", "classes": ("sky", "sea"), "height": 5, "width": 4, "holdout": 0}
    source = mask_folder.source("train", **options)
    with pytest.raises(mask_folder.DataError, match=r"1.jpg is turned by its EXIF tag"):
        report.inspect({"train": source, "val": source, "test": source})


def test_of_images_with_labels_and_masks_the_pixels_are_counted():
    image, mask = noise(0, 2), np.zeros((2, 4, 6), np.uint8)
    mask[0, 0] = 1
    data = {"image": image, "label": np.array([0, 1], np.int32), "mask": mask}
    info = describe(data, name="pets", classes=("ground", "cat"))._replace(palette=((0, 0, 0), (255, 0, 0)))
    found = report.inspect(dict.fromkeys(("train", "val", "test"), Arrays(data, info)))
    assert found["train"]["classes"] == {"ground": 42, "cat": 6}
