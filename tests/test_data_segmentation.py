"""Images with masks: folders of pairs, COCO's polygons, Flowers-17's trimaps."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Curve
from PIL import Image

import data_files
from jaxcv.config import call
from jaxcv.data import coco, flowers17, mask_folder
from jaxcv.data.pipeline import gather
from jaxcv.errors import ConfigError, DataError

GOLDENS = Path(__file__).parent / "goldens"
CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence"),
    *("car", "pedestrian", "bicyclist"),
)
CYAN, YELLOW, MAGENTA, GREEN = (0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0)
BLUE, WHITE, BLACK, RED = (0, 0, 255), (255, 255, 255), (0, 0, 0), (255, 0, 0)
LAND = {
    "folder": "land",
    "classes": ("urban", "agriculture", "rangeland", "forest", "water", "barren", "unknown"),
    "colors": (CYAN, YELLOW, MAGENTA, GREEN, BLUE, WHITE, BLACK),
    "image": "{folder}/*_sat",
    "mask": "{folder}/*_mask",
    "holdout": 0,
}


def camvid(root, split="train", **options):
    options = {"val_folder": "val", "ignore": 11, "classes": CAMVID, "height": 18, "width": 24} | options
    return call(mask_folder.source, {"dir": str(root), "folder": "CamVid"} | options, group="data", split=split)


def land(root, split="train", **options):
    return mask_folder.source(split, dir=str(root), **LAND | {"height": 4, "width": 4} | options)


def test_pairs_of_folders(tmp_path):
    masks = data_files.camvid(tmp_path / "CamVid", counts={"train": 5, "val": 2, "test": 3})
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        source = camvid(tmp_path, split)
        assert source.names == [f"{split}_{i:03d}" for i in range(count)] and len(source) == count
        for i, name in enumerate(source.names):
            example = source[i]
            assert set(example) == {"image", "mask"}
            np.testing.assert_array_equal(example["mask"], masks[f"{split}/{name}"])
            np.testing.assert_array_equal(example["image"], Image.open(tmp_path / f"CamVid/{split}/{name}.png"))
            assert example["image"].dtype == example["mask"].dtype == np.uint8
    assert source.info._replace(fingerprint="") == mask_folder.outline(
        folder="CamVid", classes=CAMVID, ignore=11, height=18, width=24
    )
    assert (source.info.ignore, source.info.shape, len(source.info.palette)) == (11, (18, 24, 3), 11)


def test_images_may_have_another_suffix(tmp_path):
    data_files.camvid(tmp_path / "CamVid", counts={"train": 3})
    for path in (tmp_path / "CamVid/train").iterdir():
        Image.open(path).save(path.with_suffix(".JPG"), "JPEG")
        path.unlink()
    (tmp_path / "CamVid/train/notes.txt").touch()
    (tmp_path / "CamVid/train/._train_000.jpg").touch()
    assert camvid(tmp_path).names == ["train_000", "train_001", "train_002"]
    data_files.picture(tmp_path / "CamVid/train/train_001.webp")
    with pytest.raises(DataError, match=r"train_001.JPG and train_001.webp have the same name; only one"):
        camvid(tmp_path)


def test_hold_out_without_a_folder_for_val(tmp_path):
    data_files.camvid(tmp_path / "CamVid", counts={"train": 8})
    train, val = (camvid(tmp_path, split, val_folder="", holdout=0.25) for split in ("train", "val"))
    assert (len(train), len(val)) == (6, 2) and sorted(train.names + val.names) == camvid(tmp_path).names
    assert len({source.info.fingerprint for source in (train, val, camvid(tmp_path))}) == 3


def test_a_list_of_names(tmp_path):
    data_files.camvid(tmp_path / "CamVid", counts={"all": 4})
    options = {"image": "all/*", "mask": "allannot/*", "names": "sets/{folder}.txt"}
    (tmp_path / "CamVid/sets").mkdir()
    (tmp_path / "CamVid/sets/train.txt").write_text("all_003\n\nall_001\n")
    source = camvid(tmp_path, **options)
    assert source.names == ["all_003", "all_001"]
    np.testing.assert_array_equal(source[0]["image"], Image.open(tmp_path / "CamVid/all/all_003.png"))
    (tmp_path / "CamVid/sets/train.txt").write_text("all_003\nall_007\n")
    with pytest.raises(
        DataError, match=r"no image .*/all/all_007.jpg, .jpeg, .png or .webp, which sets/train.txt names"
    ):
        camvid(tmp_path, **options)
    (tmp_path / "CamVid/sets/train.txt").write_text("\n")
    with pytest.raises(DataError, match=r"there is no image in .*/sets/train.txt"):
        camvid(tmp_path, **options)
    with pytest.raises(DataError, match=r"there is no list of names .*/sets/test.txt"):
        camvid(tmp_path, "test", **options)


def test_remap_makes_new_classes(tmp_path):
    """Three classes of CamVid's twelve labels, of which the last, void, is in the second."""
    masks = data_files.camvid(tmp_path / "CamVid", counts={"train": 4})
    three = camvid(tmp_path, classes=("sky", "world", "traffic"), ignore=255, remap=(0, *[1] * 7, 2, 2, 2, 1))
    old = np.stack([masks[f"train/{name}"] for name in three.names])
    expected = np.where(old == 0, 0, np.where((old >= 8) & (old <= 10), 2, 1))
    np.testing.assert_array_equal(np.stack([three[i]["mask"] for i in range(4)]), expected)
    assert three.info.classes == ("sky", "world", "traffic") and len(three.info.palette) == 3
    assert three.info.fingerprint != camvid(tmp_path).info.fingerprint


def test_labels_that_no_class_has(tmp_path):
    data_files.camvid(tmp_path / "CamVid", counts={"train": 2})
    path = tmp_path / "CamVid/trainannot/train_001.png"
    data_files.mask(path, np.pad([[77]], ((3, 14), (5, 18))))
    assert camvid(tmp_path)[0]["mask"].max() == 11
    with pytest.raises(DataError, match=rf"^{path} has the label 77 at x=5, y=3, which is none of .*; data.outside"):
        camvid(tmp_path)[1]
    with pytest.raises(DataError, match="has the label 11 at x="):  # without `ignore` it is not known
        camvid(tmp_path, ignore=255)[0]
    np.testing.assert_array_equal(np.unique(camvid(tmp_path, outside=11)[1]["mask"]), [0, 11])


@pytest.mark.parametrize("mode", ["P", "1"])
def test_masks_of_a_palette_or_of_bits(tmp_path, mode):
    data_files.picture(tmp_path / "CamVid/train/a.png", size=(24, 18))
    labels = np.random.default_rng(0).integers(0, 2, (18, 24), dtype=np.uint8)
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 255, 0])
    else:
        image = Image.fromarray(labels.astype(bool))
    (tmp_path / "CamVid/trainannot").mkdir()
    image.save(tmp_path / "CamVid/trainannot/a.png")
    with Image.open(tmp_path / "CamVid/trainannot/a.png") as saved:
        assert saved.mode == mode
    np.testing.assert_array_equal(camvid(tmp_path, holdout=0)[0]["mask"], labels)


CELLS = {"classes": ("ground", "cell"), "ignore": 255, "holdout": 0, "val_folder": "", "height": 6, "width": 6}


def cells(root, *masks, suffix=".png", exif=None, size=(6, 6), **options):
    """The source of images and these masks, numbered from 0."""
    for i, mask in enumerate(masks):
        data_files.picture(root / f"CamVid/train/{i}.jpg", seed=i, size=size, **({"exif": exif} if exif else {}))
        path = root / f"CamVid/trainannot/{i}{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    return camvid(root, **CELLS | options)


def corner(value, dtype=np.uint8, shape=(6, 6)):
    """`value` in the upper left 2 x 3 pixels of a mask, 0 elsewhere."""
    mask = np.zeros(shape, dtype)
    mask[:2, :3] = value
    return mask


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif"])
def test_masks_of_0_and_255_are_black_and_white(tmp_path, suffix):
    source = cells(tmp_path, np.zeros((6, 6), np.uint8), corner(255), suffix=suffix)
    np.testing.assert_array_equal(source[1]["mask"], corner(1))
    assert not source[0]["mask"].any()
    (note,) = source.info.notes
    assert "0 is read as 'ground', 255 as 'cell'" in note and "255 would be void" in note
    void = camvid(tmp_path, **CELLS, remap=(0, 1))
    np.testing.assert_array_equal(void[1]["mask"], corner(255))
    assert not void.info.notes and void.info.fingerprint != source.info.fingerprint


def test_255_is_void_where_any_mask_has_1(tmp_path):
    source = cells(tmp_path, corner(255), corner(1))
    np.testing.assert_array_equal(source[0]["mask"], corner(255))
    np.testing.assert_array_equal(source[1]["mask"], corner(1))
    assert not source.info.notes
    (tmp_path / "CamVid/val").mkdir()  # whose only mask would be black and white: the training masks decide
    (tmp_path / "CamVid/train/0.jpg").rename(tmp_path / "CamVid/val/0.jpg")
    (tmp_path / "CamVid/valannot").mkdir()
    (tmp_path / "CamVid/trainannot/0.png").rename(tmp_path / "CamVid/valannot/0.png")
    val = camvid(tmp_path, "val", **CELLS | {"val_folder": "val"})
    np.testing.assert_array_equal(val[0]["mask"], corner(255))


def test_masks_of_16_bits(tmp_path):
    source = cells(tmp_path, corner(1, np.uint16), corner(700, np.uint16))
    np.testing.assert_array_equal(source[0]["mask"], corner(1))
    with pytest.raises(DataError, match=r"1.png has the label 700 at x=0, y=0, which is none of 0..1, 255; data.out"):
        source[1]


def test_an_index_in_one_channel_of_three_is_refused_with_its_colours(tmp_path):
    red = np.stack([corner(1), corner(0), corner(0)], -1)
    with pytest.raises(DataError, match=r"mode RGB; .* set data.colors, .* has \(0, 0, 0\), \(1, 0, 0\)"):
        cells(tmp_path, red)[0]
    np.testing.assert_array_equal(cells(tmp_path, red, colors=((0, 0, 0), (1, 0, 0)))[0]["mask"], corner(1))


def test_a_photo_that_is_turned_turns_its_mask_or_is_refused(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise
    options = {"exif": turned, "size": (6, 4), "height": 6, "width": 4}
    stored = corner(1, shape=(4, 6))
    np.testing.assert_array_equal(cells(tmp_path / "stored", stored, **options)[0]["mask"], np.rot90(stored, -1))
    upright = corner(1, shape=(6, 4))
    np.testing.assert_array_equal(cells(tmp_path / "upright", upright, **options)[0]["mask"], upright)
    with pytest.raises(DataError, match=r"^.*/train/0.jpg is turned by its EXIF tag, .*; save the photo upright"):
        cells(tmp_path / "square", corner(1), exif=turned)[0]
    turned[0x0112] = 3  # half a turn
    with pytest.raises(DataError, match=r"^.*/train/0.jpg is turned by its EXIF tag"):
        cells(tmp_path / "half", stored, **options)[0]


def test_a_mask_has_one_frame(tmp_path):
    path = tmp_path / "CamVid/trainannot/0.gif"
    source = cells(tmp_path, corner(1), suffix=".gif")
    Image.fromarray(corner(1)).save(path, save_all=True, append_images=[Image.fromarray(corner(0))])
    with pytest.raises(DataError, match=rf"^{path}: it has 2 frames, a mask has one"):
        source[0]


def test_colours_of_land_cover(tmp_path):
    """The rule of the land-cover data: 4 R + 2 G + B of the channels from 128 on; red is nothing, so unknown."""
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 256, (4, 4, 3)) for _ in range(20)]
    data_files.land_cover(tmp_path / "land/train", masks)
    source = land(tmp_path, threshold=128, outside=6)
    assert source.names[:2] == ["0000", "0001"] and len(source) == 20
    code = (np.stack(masks) >= 128) @ (4, 2, 1)
    expected = np.array([6, 4, 3, 0, 6, 2, 1, 5])[code]
    np.testing.assert_array_equal(gather(source, np.arange(20))["mask"], expected)
    assert set(code.flat) == set(range(8))
    assert source.info.palette == LAND["colors"]


def test_colours_that_no_class_has(tmp_path):
    mask = np.array([[CYAN, BLACK], [BLACK, RED]], np.uint8).repeat(2, 0).repeat(2, 1)
    data_files.land_cover(tmp_path / "land/train", [mask])
    path = tmp_path / "land/train/0000_mask.png"
    with pytest.raises(DataError, match=rf"^{path} has the colour \[255, 0, 0\] at x=2, y=2, which is none of data"):
        land(tmp_path)[0]
    assert land(tmp_path, outside=255)[0]["mask"].tolist() == [[0, 0, 6, 6]] * 2 + [[6, 6, 255, 255]] * 2
    near = land(tmp_path, colors=(*LAND["colors"][:-1], (1, 0, 0)), outside=255)  # colours are compared exactly
    assert near[0]["mask"].tolist() == [[0, 0, 255, 255]] * 2 + [[255] * 4] * 2
    merged = land(tmp_path, colors=(BLACK, CYAN, RED), remap=(1, 0, 1), classes=("a", "b"), outside=-1)
    assert merged[0]["mask"].tolist() == [[0, 0, 1, 1]] * 2 + [[1] * 4] * 2


def test_canvas(tmp_path):
    """Images are stretched bilinearly, as Pillow does it; masks take the label at the place of each pixel's centre."""
    data_files.camvid(tmp_path / "CamVid", counts={"train": 1})
    source = camvid(tmp_path, height=6, width=48, holdout=0)
    example, full = source[0], camvid(tmp_path, holdout=0)[0]
    assert example["image"].shape == source.info.shape == (6, 48, 3)
    np.testing.assert_array_equal(example["mask"], full["mask"][1::3][:, np.arange(48) // 2])
    np.testing.assert_array_equal(example["image"], Image.fromarray(full["image"]).resize((48, 6), Image.BILINEAR))


def test_pairs_that_do_not_fit(tmp_path):
    root = tmp_path / "CamVid"
    data_files.camvid(root, counts={"train": 2})
    image, mask = root / "train/train_001.png", root / "trainannot/train_001.png"
    data_files.mask(mask, np.zeros((18, 23)))
    with pytest.raises(DataError, match=rf"^{image} has 24x18 pixels, but its mask {mask} 23x18$"):
        camvid(tmp_path)[1]
    data_files.mask(mask, np.zeros((18, 24, 3)))
    with pytest.raises(DataError, match=rf"^{mask} has the mode RGB; a mask of labels has L or P, for colours set"):
        camvid(tmp_path)[1]
    Image.fromarray(np.full((18, 24), 256, np.uint16)).save(mask)
    with pytest.raises(DataError, match=rf"^{mask} has the label 256 at x=0, y=0, which is none of 0..11; data.out"):
        camvid(tmp_path)[1]
    Image.fromarray(np.zeros((18, 24), np.uint8)).save(mask, "JPEG")  # its labels would be blurred
    with pytest.raises(DataError, match=rf"^{mask}: this is no PNG image"):
        camvid(tmp_path)[1]
    for path in (image, mask):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=rf"^{path}: "):
            camvid(tmp_path)[1]
        path.write_bytes(whole)


def test_partners_that_are_missing(tmp_path):
    root = tmp_path / "CamVid"
    data_files.camvid(root, counts={"train": 2, "val": 0, "test": 1})
    (root / "train/train_000.png").rename(root / "train/other.png")
    with pytest.raises(DataError, match=rf"no mask {root}/trainannot/other.png, the partner of {root}/train/other.png"):
        camvid(tmp_path)
    (root / "train/other.png").unlink()
    with pytest.raises(DataError, match=rf"no image {root}/train/train_000.jpg, .*, the partner of {root}/trainannot"):
        camvid(tmp_path)
    with pytest.raises(
        DataError, match=rf"there is no val in {root}, and this data set needs CamVid with val, valannot in it"
    ):
        camvid(tmp_path, "val")
    (root / "val").mkdir()
    (root / "valannot").mkdir()
    with pytest.raises(DataError, match=rf"there is no image in {root}/val/\*: it should hold \.jpeg, \.jpg, \.png"):
        camvid(tmp_path, "val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ()}, r"data.classes has 0 names; it must have 1 to 255"),
        ({"palette": (BLACK, WHITE)}, r"data.classes has 11 names, but data.palette 2 colours"),
        ({"colors": (BLACK, WHITE)}, r"data.classes has 11 names, but data.colors 2 colours"),
        ({"colors": (BLACK, (0, 0, 256))}, r"colours \(r, g, b\) in 0..255, not \(0, 0, 256\)"),
        ({"remap": (0, 12)}, r"data.remap has 12, neither a class, 0..10, nor data.ignore"),
        ({"remap": (0, 1), "colors": (BLACK,)}, r"data.remap has 2 labels; it needs one for each of 1"),
        ({"outside": 12}, r"data.outside has 12, neither a class"),
        ({"ignore": 256}, r"config.data.ignore=256 must be in \[0, 255\]"),
        ({"height": 0}, r"config.data.height=0 must be 1 or more"),
        ({"image": "{folder}/x"}, r"data.image='{folder}/x' must have one \* for the name, in its last part"),
        ({"mask": "*/*"}, r"data.mask='\*/\*' must have one \*"),
        ({"train_folder": ""}, r"the split 'train' has no folder: set data.train_folder"),
    ],
)
def test_bad_options(tmp_path, options, message):
    data_files.camvid(tmp_path / "CamVid", counts={"train": 2})
    with pytest.raises(ConfigError, match=message):
        camvid(tmp_path, **options)


def test_fingerprint_is_of_files_and_labels(tmp_path):
    for place in ("here", "there"):
        data_files.camvid(tmp_path / place / "CamVid", counts={"train": 2})
    here = camvid(tmp_path / "here").info.fingerprint
    assert camvid(tmp_path / "there").info.fingerprint == camvid(tmp_path / "here", width=9).info.fingerprint == here
    assert camvid(tmp_path / "here", outside=11).info.fingerprint != here
    data_files.mask(tmp_path / "there/CamVid/trainannot/train_000.png", np.zeros((18, 24)))
    assert camvid(tmp_path / "there").info.fingerprint != here


def test_a_source_goes_to_workers_without_its_pixels(tmp_path):
    data_files.camvid(tmp_path / "CamVid", counts={"train": 3})
    source = camvid(tmp_path)
    first = [source[i] for i in range(3)]
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert len(pickle.dumps(source)) < sum(x["image"].nbytes for x in first)
    np.testing.assert_array_equal(copy[2]["mask"], first[2]["mask"])


# Polygons


def _corners(rng, count, *, star=False):
    angle = np.sort(rng.uniform(0, 2 * np.pi, count)) * (2 if star else 1)  # round twice: crosses itself
    radius = rng.uniform(5, 25, count)
    return np.stack([20 + radius * np.cos(angle), 16 + radius * np.sin(angle)], 1)


@pytest.mark.parametrize("star", [False, True])
def test_fill_is_matplotlibs_point_in_polygon(star):
    y, x = np.mgrid[:33, :41] + 0.5
    for seed in range(20):
        polygon = _corners(np.random.default_rng(seed), 3 + seed, star=star)
        inside = Curve(polygon).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
        np.testing.assert_array_equal(coco.fill(polygon, 33, 41), inside)
        assert inside.any()


def test_fill_is_the_area_of_a_rectangle():
    """Neighbours share no pixel and leave none out, also where edges meet a pixel's centre."""
    whole = np.zeros((8, 10), int)
    for x0, x1 in ((-3, 2.5), (2.5, 7), (7, 99)):
        for y0, y1 in ((-3, 4), (4, 5.5), (5.5, 99)):
            whole += coco.fill(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float), 8, 10)
    assert (whole == 1).all()


def square(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def photos(tmp_path, objects, split="train2017", **options):
    data_files.coco(tmp_path / "coco", split, objects, (12, 10))
    options = {"groups": ("animal", "vehicle"), "height": 10, "width": 12, "holdout": 0} | options
    return coco.source("train", dir=str(tmp_path), **options)


def test_masks_of_supercategories(tmp_path):
    runs = [0] * 3 + [1] * 4 + [0] * 113  # of column 0, rows 3 to 6
    objects = {
        "b": [("dog", [square(1, 1, 4, 3), square(8, 5, 11, 9)]), ("person", [square(0, 0, 12, 10)])],
        "a": [("person", [square(0, 0, 12, 10)])],
        "c": [("car", [square(2, 2, 4, 4)]), ("cat", [square(0, 0, 8, 8)]), ("car", _rle(runs))],
    }
    source = photos(tmp_path, objects)
    assert source.names == ["b", "c"]  # in a there is nothing of the groups
    assert source.info.classes == ("background", "animal", "vehicle") and len(source.info.palette) == 3
    assert source.info._replace(fingerprint="") == coco.outline(
        folder="coco", groups=("animal", "vehicle"), height=10, width=12
    )
    expected = np.zeros((2, 10, 12), np.uint8)
    expected[0, 1:3, 1:4] = expected[0, 5:9, 8:11] = expected[1, :8, :8] = 1
    expected[1, 2:4, 2:4] = expected[1, 3:7, 0] = 2  # the smaller is on top, whatever their order in the file
    np.testing.assert_array_equal(gather(source, np.arange(2))["mask"], expected)
    assert source[0]["image"].shape == (10, 12, 3)
    half = photos(tmp_path / "half", objects, height=5, width=6)
    np.testing.assert_array_equal(gather(half, np.arange(2))["mask"], expected[:, 1::2, 1::2])
    assert pickle.loads(pickle.dumps(source))[1]["mask"].max() == 2  # noqa: S301


def _rle(pixels):
    """An RLE of 12x10 pixels as COCO has it for crowds, from its 120 pixels down the columns."""
    ends = np.flatnonzero(np.diff([0, *pixels, 2]))
    return {"counts": np.diff([0, *ends]).tolist(), "size": [10, 12]}


def test_rle_goes_down_the_columns():
    rng = np.random.default_rng(0)
    for first in (0, 1):
        mask = rng.integers(0, 2, (10, 12))
        mask[0, 0] = first
        runs = _rle(mask.T.ravel())["counts"]
        assert (runs[0] == 0) == (first == 1)
        np.testing.assert_array_equal(coco.decode_rle(np.array(runs), 10, 12), mask)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"counts": "abc", "size": [10, 12]}, "annotation 1 has a compressed RLE; it must have polygons or a list"),
        ({"counts": [60, 61], "size": [10, 12]}, "annotation 1 has an RLE that does not fit its image of 12x10 pixels"),
        ({"counts": [60, 60], "size": [12, 10]}, "annotation 1 has an RLE that does not fit"),
        ([], "annotation 1 has no polygon, or one that is not x and y of 3 corners or more"),
        ([[1, 2, 3, 4]], "annotation 1 has no polygon, or one"),
        ([[1, 2, 3, 4, 5, 6, 7]], "annotation 1 has no polygon, or one"),
        (None, "annotation 1 has no polygon, or one"),
        (7, "is no file of COCO's form: TypeError"),
        ([["a", 2, 3, 4, 5, 6]], "is no file of COCO's form: ValueError"),
    ],
)
def test_bad_outlines_are_named(tmp_path, segmentation, message):
    with pytest.raises(DataError, match=f"coco/annotations/instances_train2017.json.*{message}"):
        photos(tmp_path, {"a": [("dog", [square(1, 1, 4, 3)]), ("dog", segmentation)]})


def test_bad_annotations(tmp_path):
    objects = {"a": [("dog", [square(1, 1, 4, 3)])], "b": [("bench", [square(1, 1, 4, 3)])]}
    with pytest.raises(DataError, match="has no supercategory 'animals', it has animal, outdoor, person, vehicle"):
        photos(tmp_path, objects, groups=("animals",))
    with pytest.raises(DataError, match="instances_train2017.json has no object of vehicle"):
        photos(tmp_path, objects, groups=("vehicle",))
    with pytest.raises(ConfigError, match=r"data.groups must name one or more supercategories"):
        photos(tmp_path, objects, groups=())
    path = tmp_path / "coco/train2017/a.jpg"
    data_files.picture(path, size=(10, 12))
    source = coco.source("train", dir=str(tmp_path), groups=("animal",), height=5, width=6, holdout=0)
    with pytest.raises(DataError, match=rf"^{path} has 10x12 pixels, but its annotations are for 12x10"):
        source[0]
    path.unlink()
    with pytest.raises(DataError, match=rf"there is no image {path}, which annotations/.*json has annotations for"):
        coco.source("train", dir=str(tmp_path), groups=("animal",), height=5, width=6, holdout=0)
    path = tmp_path / "coco/annotations/instances_train2017.json"
    for text, message in (
        (path.read_text()[:-9], "JSONDecodeError"),
        ("[]", "TypeError"),
        (json.dumps({"images": []}), "KeyError: 'categories'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=f"^{path} is no file of COCO's form: {message}"):
            coco.source("train", dir=str(tmp_path), groups=("animal",), height=5, width=6)


# Trimaps

COLORS = ((0, 0, 0), (128, 0, 0), (128, 128, 0), (128, 128, 128))


@pytest.mark.parametrize("size", [(130, 90), (41, 37), (60, 50)])
def test_trimaps_are_resized_as_opencv_does(tmp_path, size):
    w, h = size
    places = np.random.default_rng(w * h).integers(0, 4, (h // 8 + 1, w // 8 + 1))
    data_files.mask(tmp_path / "x.png", np.array(COLORS)[places.repeat(8, 0).repeat(8, 1)[:h, :w]])
    with np.load(GOLDENS / "flowers17.npz", allow_pickle=False) as golden:
        np.testing.assert_array_equal(flowers17.read_trimap(tmp_path / "x.png", 40, 50), golden[f"{w}x{h}"])


def test_flowers17(tmp_path):
    trimaps = {i: np.random.default_rng(i).choice(np.array(COLORS), (12, 16)) for i in (1, 3, 4, 5, 9)}
    data_files.flowers17(tmp_path, trimaps=trimaps, images=9, trn1=[9, 2, 3], trn2=[3, 1, 7], val1=[4, 8], tst1=[6])
    options = {"dir": str(tmp_path), "height": 12, "width": 16}
    train = flowers17.source("train", **options)
    assert train.names == ["0003", "0009"] and train.info.classes == ("background", "flower")
    assert train.info._replace(fingerprint="") == flowers17.outline(height=12, width=16)
    for i, number in enumerate((3, 9)):
        np.testing.assert_array_equal(train[i]["mask"], (trimaps[number] == COLORS[1]).all(-1))
    assert train[0]["image"].shape == (12, 16, 3) and train[0]["mask"].dtype == np.uint8
    assert flowers17.source("train", **options, train_lists=("trn1", "trn2")).names == ["0001", "0003", "0009"]
    assert flowers17.source("val", **options).names == ["0004"]
    with pytest.raises(DataError, match=r"there is no image with a trimap in tst1 of .*flowers17/datasplits.mat"):
        flowers17.source("test", **options)
    with pytest.raises(DataError, match=r"datasplits.mat has no list 'tst2', it has trn1, trn2, val1, tst1"):
        flowers17.source("test", **options, test_lists=("tst2",))
    exif = Image.Exif()
    exif[0x0112] = 3
    data_files.picture(tmp_path / "flowers17/jpg/image_0003.jpg", size=(16, 12), exif=exif)
    with pytest.raises(DataError, match=r"image_0003.jpg is turned by its EXIF tag"):
        flowers17.source("train", **options)[0]
    (tmp_path / "flowers17/jpg/image_0003.jpg").unlink()
    with pytest.raises(DataError, match=r"no image .*/jpg/image_0003.jpg, the partner of .*/trimaps/image_0003.png"):
        flowers17.source("train", **options)
    (tmp_path / "flowers17/datasplits.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"datasplits.mat is not a whole MATLAB file: "):
        flowers17.source("train", **options)


# Real data


def real(folder):
    if not os.environ.get("JAXCV_DATA"):
        pytest.skip("JAXCV_DATA is unset: no real data to read")
    if not (Path(os.environ["JAXCV_DATA"]) / folder).is_dir():
        pytest.skip(f"JAXCV_DATA has no {folder}")


def test_real_camvid():
    real("CamVid")
    options = {"folder": "CamVid", "classes": CAMVID, "ignore": 11, "val_folder": "val", "height": 90, "width": 120}
    sources = [mask_folder.source(split, **options) for split in ("train", "val", "test")]
    assert [len(source) for source in sources] == [367, 101, 233]
    masks = np.stack([sources[1][i]["mask"] for i in range(0, 101, 4)])
    share = np.bincount(masks.ravel(), minlength=12) / masks.size
    assert len(share) == 12 and share[3] > 0.25 and share[11] < 0.05  # road, void
    assert share[[0, 1, 3, 5]].sum() > 0.7  # sky, building, road, tree


def test_real_tiles():
    real("dubai_512")
    options = LAND | {
        "folder": "dubai_512",
        "classes": ("building", "land", "road", "vegetation", "water", "unlabelled"),
        "colors": ((60, 16, 152), (132, 41, 246), (110, 193, 228), (254, 221, 58), (226, 169, 41), (155, 155, 155)),
        "test_folder": "validation",
        "outside": 255,
        "height": 64,
        "width": 64,
    }
    assert [len(mask_folder.source(split, **options)) for split in ("train", "test")] == [203, 58]
    source = mask_folder.source("train", **options)
    masks = np.stack([source[i]["mask"] for i in range(0, 203, 20)])
    assert set(np.unique(masks)) <= {0, 1, 2, 3, 4, 5, 255} and (masks < 255).mean() > 0.9
