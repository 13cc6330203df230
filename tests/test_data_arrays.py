"""Fashion-MNIST and CIFAR-10: their official file formats, whole and damaged."""

import gzip
import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import data_files
from jaxcv.data import cifar10, fashion_mnist
from jaxcv.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")


def test_fashion_mnist_splits(tmp_path):
    files = data_files.fashion_mnist(tmp_path)
    train, val, test = (fashion_mnist.source(s, dir=str(tmp_path), holdout=5) for s in SPLITS)
    assert (len(train), len(val), len(test)) == (15, 5, 10)
    np.testing.assert_array_equal(test.arrays["image"][..., 0], files["t10k_images"])
    np.testing.assert_array_equal(test.arrays["label"], files["t10k_labels"])
    both = np.concatenate([train.arrays["image"], val.arrays["image"]])[..., 0]
    assert sorted(map(bytes, both)) == sorted(map(bytes, files["train_images"]))
    example = train[0]
    assert example["image"].shape == train.info.shape == (28, 28, 1) and example["image"].dtype == np.uint8
    assert example["label"].dtype == np.int32 and len(train.info.classes) == 10
    assert len({s.info.fingerprint for s in (train, val, test)}) == 3
    assert fashion_mnist.source("val", dir=str(tmp_path), holdout=5).info.fingerprint == val.info.fingerprint


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
DAMAGE = [
    (IMAGES, lambda b: gzip.compress(b)[:-20], "is not a whole gzip file: "),
    (IMAGES, lambda b: b"<html>404</html>", "is not a whole gzip file: Not a gzipped file"),
    (IMAGES, lambda b: b"", "ends after 0 bytes, within its header of 16"),
    (IMAGES, lambda b: gzip.compress(b[:10]), "ends after 10 bytes, within its header of 16"),
    (IMAGES, lambda b: gzip.compress(b[:-1]), "announces 20x28x28 bytes of data but holds 15679"),
    (IMAGES, lambda b: gzip.compress(b + b"x"), "announces 20x28x28 bytes of data but holds more"),
    (
        IMAGES,
        lambda b: gzip.compress(b"\0\0\x0d\3" + b[4:]),
        "is not an IDX file of 3-d bytes: magic 3331, expected 2051",
    ),
    (
        IMAGES,
        lambda b: gzip.compress(data_files.idx(np.zeros((20, 9, 28), np.uint8))),
        "images of 9x28, expected 28x28",
    ),
    (
        LABELS,
        lambda b: gzip.compress(b[:4] + struct.pack(">I", 19) + b[8:-1]),
        "holds 20 images but .* 19 labels",
    ),
    (LABELS, lambda b: gzip.compress(b[:-1] + b"\x0a"), r"has label 10 at index 19, outside 0\.\.9"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE)
def test_fashion_mnist_damaged(tmp_path, name, damage, message):
    data_files.fashion_mnist(tmp_path)
    path = tmp_path / "fashion_mnist" / name
    path.write_bytes(damage(gzip.decompress(path.read_bytes())))
    with pytest.raises(DataError, match=f"fashion_mnist/train-.*{message}") as caught:
        fashion_mnist.source("train", dir=str(tmp_path), holdout=5)
    assert "\n" not in str(caught.value)


def test_fashion_mnist_flipped_byte_is_noticed(tmp_path):
    data_files.fashion_mnist(tmp_path)
    path = tmp_path / "fashion_mnist" / IMAGES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a whole gzip file"):
        fashion_mnist.source("val", dir=str(tmp_path), holdout=5)


def test_absent(tmp_path):
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/fashion_mnist, .*t10k-labels-idx1-ubyte.gz"):
        fashion_mnist.source("test", dir=str(tmp_path))
    data_files.cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"there is no data_batch_3 in .*cifar-10-batches-py"):
        cifar10.source("train", dir=str(tmp_path))


def test_bad_split_and_hold_out(tmp_path):
    data_files.fashion_mnist(tmp_path)
    data_files.cifar10(tmp_path)
    for module in (fashion_mnist, cifar10):
        with pytest.raises(ConfigError, match="no split 'dev'"):
            module.source("dev", dir=str(tmp_path))
        with pytest.raises(ConfigError, match="holdout=5000 of 20 training images"):
            module.source("train", dir=str(tmp_path))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_cifar10_splits(tmp_path, protocol):
    files = data_files.cifar10(tmp_path, protocol=protocol)
    train, val, test = (cifar10.source(s, dir=str(tmp_path), holdout=0.25) for s in SPLITS)
    assert (len(train), len(val), len(test)) == (15, 5, 4)
    data, labels = files["test_batch"]
    np.testing.assert_array_equal(test.arrays["label"], labels)
    for i in range(3):  # one plane of 1024 bytes per channel, row by row
        np.testing.assert_array_equal(test.arrays["image"][..., i].reshape(4, -1), data[:, 1024 * i : 1024 * (i + 1)])
    assert test[0]["image"].dtype == np.uint8 and test[0]["image"].shape == test.info.shape == (32, 32, 3)
    both = np.concatenate([train.arrays["label"], val.arrays["label"]])
    everything = np.concatenate([files[f"data_batch_{i}"][1] for i in range(1, 6)])
    assert sorted(both) == sorted(everything)


def test_cifar10_refuses_pickles_that_run_code(tmp_path):
    data_files.cifar10(tmp_path)
    trap = tmp_path / "trap"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {trap}",)

    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    for protocol in range(6):
        path.write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}, protocol=protocol))
        with pytest.raises(DataError, match=rf"{re.escape(str(path))} is refused: it asks for \w+\.system"):
            cifar10.source("test", dir=str(tmp_path))
    for name in (b"builtins\neval", b"__builtin__\neval", b"numpy\nload", b"numpy.core.multiarray\nfromfile"):
        path.write_bytes(b"c" + name + b"\n(S'1'\ntR.")
        with pytest.raises(DataError, match="is refused: it asks for"):
            cifar10.source("test", dir=str(tmp_path))
    assert not trap.exists()


DATA = np.zeros((2, 3072), np.uint8)
BAD_BATCHES = [
    ({b"data": DATA, b"labels": [0]}, r"int64 \(1,\) for labels, expected 2 integers"),
    ({b"data": DATA, b"labels": [0.0, 1.0]}, r"float64 \(2,\) for labels, expected 2 integers"),
    ({b"data": DATA, b"labels": [0, 10]}, r"has label 10 at index 1, outside 0\.\.9"),
    ({b"data": DATA, b"labels": [-1, 0]}, r"has label -1 at index 0, outside 0\.\.9"),
    ({b"data": DATA[:, 1:], b"labels": [0, 0]}, r"uint8 \(2, 3071\) for data, expected uint8 \(n, 3072\)"),
    ({b"data": DATA.astype(np.float32), b"labels": [0, 0]}, r"float32 \(2, 3072\) for data"),
    ({b"data": [1, 2], b"labels": [0, 0]}, "has list for data"),
    ({b"labels": [0, 0]}, "is not a whole CIFAR-10 batch: KeyError: 'data'"),
    ([1, 2], "is not a whole CIFAR-10 batch: AttributeError"),
]


@pytest.mark.parametrize(("batch", "message"), BAD_BATCHES)
def test_cifar10_bad_batches(tmp_path, batch, message):
    data_files.cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=f"test_batch .*{message}"):
        cifar10.source("test", dir=str(tmp_path))


def test_cifar10_cut_short_anywhere(tmp_path):
    data_files.cifar10(tmp_path, each=1)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    whole = path.read_bytes()
    for length in (0, 1, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="test_batch is not a whole CIFAR-10 batch"):
            cifar10.source("test", dir=str(tmp_path))


@pytest.mark.skipif(not os.environ.get("JAXCV_DATA"), reason="JAXCV_DATA is unset: no real data to read")
@pytest.mark.parametrize(
    ("module", "folder", "sizes"),
    [
        (fashion_mnist, "fashion_mnist", (55000, 5000, 10000)),
        (cifar10, "cifar-10-batches-py", (45000, 5000, 10000)),
    ],
)
def test_real_files(module, folder, sizes):
    if not (Path(os.environ["JAXCV_DATA"]) / folder).is_dir():
        pytest.skip(f"JAXCV_DATA has no {folder}")
    train, val, test = (module.source(s) for s in SPLITS)
    assert (len(train), len(val), len(test)) == sizes
    assert np.bincount(test.arrays["label"]).tolist() == [1000] * 10
    total = np.bincount(train.arrays["label"]) + np.bincount(val.arrays["label"])
    assert total.tolist() == [sum(sizes[:2]) // 10] * 10
    pixels = train.arrays["image"].reshape(-1, train.info.shape[2]) / 255
    np.testing.assert_allclose(pixels.mean(0), train.info.mean, atol=2e-3)
    np.testing.assert_allclose(pixels.std(0), train.info.std, atol=2e-3)
