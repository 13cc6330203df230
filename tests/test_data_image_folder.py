"""Folders of images: every form, the canvas, and files that are not what they should be."""

import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_files
from jaxcv.config import call
from jaxcv.data import image_folder
from jaxcv.errors import ConfigError, DataError

GOLDENS = Path(__file__).parent / "goldens"
NO_IMAGE = "is no JPEG, PNG, WEBP, BMP, TIFF, GIF image"


def load(root: Path, split: str = "train", **options):
    return image_folder.source(split, **{"dir": str(root), "folder": "set", "size": 20, "holdout": 0} | options)


def labels(source) -> list[int]:
    return [int(example["label"]) for example in source]


def test_class_folders(tmp_path):
    data_files.class_folders(tmp_path / "set/train", {"bee": 3, "ant": 2})
    data_files.class_folders(tmp_path / "set/val", {"bee": 1})
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.info.classes == test.info.classes == ("ant", "bee")
    assert labels(train) == [0, 0, 1, 1, 1] and labels(test) == [1]
    example = train[4]
    with Image.open(tmp_path / "set/train/bee/002.png") as image:
        np.testing.assert_array_equal(example["image"], np.asarray(image))
    assert example["image"].dtype == np.uint8 and example["label"].dtype == np.int32
    assert train.info.shape == (20, 20, 3) and train.info.mean == (0.485, 0.456, 0.406)
    assert len(list(train)) == 5  # iteration ends with IndexError, not with a DataError


def test_csv_labels(tmp_path):
    data_files.csv_labels(tmp_path / "set/train", ["Mug", "Bed", "Mug", "Clock"])
    data_files.csv_labels(tmp_path / "set/val", ["Clock"])
    train, test = (load(tmp_path, split, labels="{folder}.csv") for split in ("train", "test"))
    assert train.info.classes == ("Bed", "Clock", "Mug")
    assert labels(train) == [2, 0, 2, 1] and labels(test) == [1]
    assert train.names == [f"{i:05d}.jpg" for i in range(4)]


def test_labels_in_file_names_sort_by_value(tmp_path):
    data_files.named_files(tmp_path / "set/train", ["10", "9", "0", "10"])
    train = load(tmp_path)
    assert train.info.classes == ("0", "9", "10")
    assert dict(zip(train.names, labels(train))) == {
        "10_0.png": 2,
        "9_1.png": 1,
        "0_2.png": 0,
        "10_3.png": 2,
    }


def test_unlabelled(tmp_path):
    for i, name in enumerate(["b.jpg", "a.JPEG", "c.WebP", "d.PNG", "note.txt", ".hidden.png"]):
        if name == "note.txt":
            (tmp_path / "set/train" / name).write_text("not an image")
        else:
            data_files.picture(tmp_path / "set/train" / name, seed=i)
    train = load(tmp_path)
    assert train.names == ["a.JPEG", "b.jpg", "c.WebP", "d.PNG"]
    assert train.info.classes == () and [set(example) for example in train] == [{"image"}] * 4
    assert all(example["image"].shape == (20, 20, 3) for example in train)
    data_files.picture(tmp_path / "set/dev/e.jpg")
    assert load(tmp_path, "test", test_folder="dev").names == ["e.jpg"]
    assert load(tmp_path, "val", val_folder="dev").names == load(tmp_path, "test", val_folder="dev").names == ["e.jpg"]
    data_files.class_folders(tmp_path / "set/val", {"bee": 1})
    with pytest.raises(DataError, match=r"val/bee/000.png is of the class 'bee', which no training image in .* has"):
        load(tmp_path, "test")


def test_images_alone(tmp_path):
    """A folder of nothing but images: whatever their names, they have no classes, and `test` is `val`."""
    names = [f"IMG_{i:04d}.jpg" for i in range(8)] + ["cat.0.jpg", "holiday.png"]
    for i, name in enumerate(names):
        data_files.picture(tmp_path / "set" / name, seed=i)
    (tmp_path / "set/notes.txt").touch()
    (tmp_path / "set/.thumbnails").mkdir()
    train, val, test = (load(tmp_path, split, holdout=0.2) for split in ("train", "val", "test"))
    assert (len(train), len(val)) == (8, 2) and sorted(train.names + val.names) == names
    assert val.names == test.names and val.info == test.info
    for example in (train[0], val[0], test[0]):
        assert set(example) == {"image"} and example["image"].shape == (20, 20, 3)
    assert train.info.classes == () and train.info.fingerprint != val.info.fingerprint
    assert train.info.notes == (
        "set has no folder 'train': its 10 images are 'train' and 'val', without classes.",
        "set has no folder for the split 'test': it is the same images as 'val'.",
        f"{tmp_path.name}/set: left out: .txt (1), hidden (1).",
    )
    for holdout, why in ((1000, "would leave none to train on"), (0.01, "leaves none for the split 'val'")):
        with pytest.raises(ConfigError, match=f"data.holdout={holdout} of 10 training images {why}"):
            load(tmp_path, "test", holdout=holdout)
    (tmp_path / "set/2020").mkdir()  # with folders beside them it may be classes that are meant
    with pytest.raises(DataError, match=r"there is no train in .*/set, and this data set needs set with train in it"):
        load(tmp_path)


def test_hold_out_or_own_folder(tmp_path):
    data_files.class_folders(tmp_path / "set/train", {"a": 6, "b": 6})
    data_files.class_folders(tmp_path / "set/dev", {"a": 1, "b": 1})
    train, val = (load(tmp_path, split, holdout=0.25) for split in ("train", "val"))
    assert (len(train), len(val)) == (9, 3) and not set(train.names) & set(val.names)
    assert sorted(train.names + val.names) == load(tmp_path).names
    train, val = (load(tmp_path, split, holdout=0.25, val_folder="dev") for split in ("train", "val"))
    assert (len(train), len(val)) == (12, 2)
    assert load(tmp_path, "test", test_folder="dev").info.fingerprint == val.info.fingerprint


def test_fingerprint_is_of_the_files_not_of_where_they_are(tmp_path):
    for place, order in (("here", "ab"), ("there", "ba")):  # made in another order
        for name in order:
            data_files.class_folders(tmp_path / place / "set/train", {name: 2})
    here, there = (load(tmp_path / place).info.fingerprint for place in ("here", "there"))
    assert here == there
    (tmp_path / "there/set/train/a/000.png").rename(tmp_path / "there/set/train/a/007.png")
    assert load(tmp_path / "there").info.fingerprint != here


@pytest.mark.parametrize("size", [(53, 37), (30, 41), (9, 8), (16, 16)])
def test_canvas_is_torchvisions(tmp_path, size):
    w, h = size
    data_files.picture(tmp_path / "x.png", seed=w * h, size=size)
    with np.load(GOLDENS / "image_folder.npz", allow_pickle=False) as golden:
        np.testing.assert_array_equal(image_folder.decode(tmp_path / "x.png", 16), golden[f"{w}x{h}"])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "x.png")
    np.testing.assert_array_equal(image_folder.decode(tmp_path / "x.png", 8), np.asarray(image.convert("RGB")))


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    pixels = data_files.picture(tmp_path / "x.png", size=(8, 8), exif=exif)
    np.testing.assert_array_equal(image_folder.decode(tmp_path / "x.png", 8), np.rot90(pixels, -1))


def _claim(w: int, h: int) -> bytes:
    """A tiny PNG that claims to have w x h pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _saved(mode: str, form: str, size: tuple[int, int] = (20, 20)) -> bytes:
    out = io.BytesIO()
    image = Image.effect_noise(size, 100) if mode == "RGB" else Image.new(mode, size)
    image.convert(mode).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_saved("RGB", "JPEG")[:-200], "image file is truncated"),
        (_saved("RGB", "PNG")[:50], "truncated|broken"),
        (b"<html>not found</html>", NO_IMAGE),
        (b"", NO_IMAGE),
        (_saved("RGB", "PPM"), NO_IMAGE),  # a form that is not allowed, whatever its name
        (_claim(20000, 20000), "decompression bomb"),
        (_claim(12000, 9000), "12000x9000 pixels are too many"),
        (_saved("L", "PNG", (300000, 1)), "300000x1 pixels are too long and thin"),
        (_saved("I;16", "PNG"), "mode I;16 has more than 8 bits a channel"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_images_are_named(tmp_path, content, message):
    data_files.class_folders(tmp_path / "set/train", {"a": 3})
    path = tmp_path / "set/train/a/001.png"
    path.write_bytes(content)
    train = load(tmp_path)
    assert train[0]["image"].shape == (20, 20, 3)
    with pytest.raises(DataError, match=rf"^train\[1\] {path}: .*({message})"):
        train[1]


def test_cache_keeps_small_sets_only(tmp_path):
    data_files.class_folders(tmp_path / "set/train", {"a": 2})
    small, large = load(tmp_path), load(tmp_path, cache_bytes=2 * 20 * 20 * 3 - 1)
    first = [(small[i]["image"].copy(), large[i]["image"].copy()) for i in range(2)]
    copy = pickle.loads(pickle.dumps(small))  # noqa: S301
    assert len(pickle.dumps(small)) < 2 * 20 * 20 * 3
    for path in (tmp_path / "set/train/a").iterdir():
        path.unlink()
    for i in range(2):
        np.testing.assert_array_equal(small[i]["image"], first[i][1])
        for source in (large, copy):
            with pytest.raises(DataError, match=rf"train\[{i}\] .*No such file"):
                source[i]


def test_layout_errors(tmp_path):
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/set, .* set with train in it"):
        load(tmp_path)
    (tmp_path / "set/train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"there is no image in .*set/train: it should hold \.jpeg, \.jpg, \.png"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"there is no val in .*/set"):
        load(tmp_path, "test")
    (tmp_path / "set/train/a").mkdir()
    with pytest.raises(DataError, match=r"there is no image in .*set/train/a"):
        load(tmp_path)
    data_files.class_folders(tmp_path / "set/train", {"a": 1})
    data_files.class_folders(tmp_path / "set/val", {"b": 1})
    with pytest.raises(DataError, match=r"val/b/000.png is of the class 'b', which no training image in .* has"):
        load(tmp_path, "test")
    with pytest.raises(ConfigError, match=r"the split 'test' has no folder: set data.test_folder"):
        load(tmp_path, "test", test_folder="")
    with pytest.raises(ConfigError, match="config.data.size=0 must be 1 or more"):
        call(image_folder.source, {"folder": "set", "size": 0}, group="data", split="train")


def test_file_names_with_and_without_a_class(tmp_path):
    data_files.named_files(tmp_path / "set/train", ["cat", "dog"])
    data_files.picture(tmp_path / "set/train/oops.png")
    with pytest.raises(DataError, match=r"oops.png has no class in its name, .* expected CLASS_NUMBER"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,file,label\n0,a.png,cat\n",
            r"has the columns \['id', 'file', 'label'\], but needs filename and label",
        ),
        ("", r"has the columns \[\], but needs"),
        ("filename,label\na.png,cat\nb.png,cat\n", "train.csv line 3: there is no file .*b.png"),
        ("filename,label\na.png,\n", "train.csv line 2: there is no label"),
        ("filename,label\na.png\n", "train.csv line 2: there is no label"),
        ("filename,label\n", "there is no image in"),
    ],
)
def test_csv_errors(tmp_path, text, message):
    data_files.picture(tmp_path / "set/train/a.png")
    (tmp_path / "set/train.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(tmp_path, labels="train.csv")
    with pytest.raises(DataError, match=r"there is no CSV of labels .*nope.csv"):
        load(tmp_path, labels="nope.csv")


@pytest.mark.skipif(not os.environ.get("JAXCV_DATA"), reason="JAXCV_DATA is unset: no real data to read")
def test_real_folder():
    if not (Path(os.environ["JAXCV_DATA"]) / "hymenoptera_data").is_dir():
        pytest.skip("JAXCV_DATA has no hymenoptera_data")
    train, val, test = (image_folder.source(s, folder="hymenoptera_data", size=64) for s in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (220, 24, 153)
    assert train.info.classes == ("ants", "bees")
    assert np.stack([test[i]["image"] for i in range(8)]).std() > 10
