"""What data sets share: sources, the check of their contract, hold-out, fingerprints, errors for missing data."""

import pickle

import numpy as np
import pytest

from jaxcv.data import files, source
from jaxcv.errors import ConfigError, DataError

INFO = source.Info("toy", ("a", "b"), (2, 2, 3), (0.5,) * 3, (0.2,) * 3, "")


def test_arrays_gives_single_and_stacked_examples():
    images = np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3)
    toy = source.Arrays({"image": images, "label": np.arange(5, dtype=np.int32)}, INFO)
    assert len(toy) == 5 and toy.info is INFO
    assert toy[3]["label"] == 3 and toy[3]["label"].dtype == np.int32
    batch = toy.take(np.array([4, 0, 4]))
    np.testing.assert_array_equal(batch["image"], images[[4, 0, 4]])
    batch["image"][:] = 0
    assert images.any()
    with pytest.raises(IndexError):
        toy[5]


def test_arrays_of_unequal_length_are_refused():
    with pytest.raises(DataError, match=r"toy: arrays of one data set differ in length: {'image': 3, 'label': 2}"):
        source.Arrays({"image": np.zeros((3, 2, 2, 3)), "label": np.zeros(2)}, INFO)


@pytest.mark.parametrize(("holdout", "count"), [(20, 20), (0.1, 10), (0.25, 25)])
def test_hold_out_is_a_disjoint_cover_in_file_order(holdout, count):
    train, val = (files.held_out(split, 100, holdout) for split in ("train", "val"))
    assert len(val) == count and files.held_out("test", 100, holdout).tolist() == list(range(100))
    assert sorted([*train, *val]) == list(range(100))
    assert (np.diff(train) > 0).all() and (np.diff(val) > 0).all()


def test_hold_out_never_changes():
    assert files.held_out("val", 100, 8).tolist() == [5, 16, 20, 36, 52, 82, 93, 94]


def test_hold_out_bounds():
    assert len(files.held_out("train", 10, 0)) == 10
    with pytest.raises(ConfigError, match="holdout=0 of 10 training images leaves none for the split 'val'"):
        files.held_out("val", 10, 0)
    for holdout in (10, 5000, -1):
        with pytest.raises(ConfigError, match=f"holdout={holdout} of 10 training images"):
            files.held_out("train", 10, holdout)


@pytest.mark.parametrize("bad", [-1, 2, 255])
def test_labels_out_of_range_are_named(bad):
    with pytest.raises(DataError, match=rf"x\.gz has label {bad} at index 1, outside 0\.\.1"):
        files.check_labels(np.array([0, bad, 1, bad]), ("a", "b"), "x.gz")
    assert files.check_labels(np.array([0, 1], np.uint8), ("a", "b"), "x").dtype == np.int32


def test_fingerprint_sees_bytes_shape_type_and_order():
    a, b = np.arange(6, dtype=np.uint8), np.arange(6, dtype=np.uint8)[::-1]
    prints = [
        source.fingerprint(parts)
        for parts in (
            [a, b],
            [b, a],
            [a.reshape(2, 3), b],
            [a.view(np.int8), b],
            ["ab", "c"],
            ["a", "bc"],
            [],
        )
    ]
    assert len(set(prints)) == len(prints)
    assert source.fingerprint([a, b.copy()]) == prints[0] == "75d49e0bf2fa3558"
    assert all(len(p) == 16 and int(p, 16) >= 0 for p in prints)


def test_find_says_what_is_missing_and_how_to_mend_it(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXCV_DATA", raising=False)
    how = r"; set --config.data.dir=DIR or \$JAXCV_DATA$"
    with pytest.raises(DataError, match=f"no data folder is given, and .* needs toy with a, b in it{how}"):
        files.find("", "toy", ["a", "b"])
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/toy, and .* toy with a, b in it{how}"):
        files.find(str(tmp_path), "toy", ["a", "b"])
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a").touch()
    with pytest.raises(DataError, match=f"there is no b in {tmp_path}/toy, and .* toy with a, b in it{how}"):
        files.find(str(tmp_path), "toy", ["a", "b"])
    (tmp_path / "toy" / "b").touch()
    monkeypatch.setenv("JAXCV_DATA", str(tmp_path))
    assert files.find("", "toy", ["a", "b"]) == tmp_path / "toy"
    with pytest.raises(DataError, match="/nowhere/toy"):  # an option goes before the environment
        files.find("/nowhere", "toy", ["a", "b"])


def test_unknown_split():
    with pytest.raises(ConfigError, match="there is no split 'valid': a split is one of train, val, test"):
        source.check_split("valid")


def test_some_examples_are_spread_over_a_source_which_its_fingerprint_says():
    whole = source.Arrays({"x": np.arange(7)}, INFO)
    cut = source.evenly(whole, 3)
    assert source.names_of(whole) == ["0", "1", "2", "3", "4", "5", "6"] and cut.names == ["0", "2", "4"]
    assert len(cut) == 3 and [int(cut[i]["x"]) for i in range(3)] == [0, 2, 4]
    assert cut.info.fingerprint != INFO.fingerprint and cut.info._replace(fingerprint=INFO.fingerprint) == INFO
    assert source.evenly(whole, 0) is whole and source.evenly(whole, 7) is whole
    with pytest.raises(IndexError):
        cut[3]


def test_examples_by_name():
    whole = source.Arrays({"x": np.arange(5)}, INFO)
    some = source.select(whole, ("3", "0"))
    assert some.names == ["3", "0"] and [int(some[i]["x"]) for i in range(len(some))] == [3, 0]
    with pytest.raises(DataError, match="has no example '7' in this split; its names are like 0, 1, 2"):
        source.select(whole, ("3", "7"))


class Squares:
    """Counts how often it is asked."""

    asked = 0

    def __call__(self, index):
        self.asked += 1
        return {"x": np.full(10, index**2)}  # 80 bytes


@pytest.mark.parametrize(("cache_bytes", "asked"), [(240, 3), (239, 6)])
def test_files_are_read_once_where_all_of_them_fit(cache_bytes, asked):
    decode = Squares()
    squares = files.Files(["a", "b", "c"], range(3), decode, INFO, cache_bytes=cache_bytes)
    assert len(squares) == 3 and squares.names == ["a", "b", "c"] and squares.info is INFO
    for _ in range(2):
        assert [int(squares[i]["x"][0]) for i in (0, 1, -1)] == [0, 1, 4]
    assert decode.asked == asked
    copy = pickle.loads(pickle.dumps(squares))  # noqa: S301
    assert copy[2]["x"][0] == 4 and copy._decode.asked == asked + 1
    with pytest.raises(IndexError):
        squares[3]


def test_palette_is_pascal_vocs():
    expected = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert list(source.voc_palette(7)) == expected
    assert source.voc_palette(21)[20] == (0, 64, 128) and len(set(source.voc_palette(256))) == 256
