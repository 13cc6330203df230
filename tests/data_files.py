"""Writes tiny data sets in each of the forms that jaxcv.data reads, for tests."""

import csv
import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    """`array` (uint8) in the IDX format."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def fashion_mnist(root: Path, *, train: int = 20, test: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """The four gzipped IDX files under root/fashion_mnist. Returns the arrays by file prefix."""
    rng = np.random.default_rng(seed)
    folder = root / "fashion_mnist"
    folder.mkdir(parents=True)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
        arrays |= {f"{prefix}_images": images, f"{prefix}_labels": labels}
    return arrays


def python2_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """{"data": data, "labels": labels} as Python 2 with an old numpy wrote it, in protocol 0."""

    def string(value: bytes) -> bytes:
        body = "".join(chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in value)
        return f"S'{body}'\n".encode()

    shape = b"(" + b"".join(b"I%d\n" % n for n in data.shape) + b"t"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + string(b"b") + b"tR"
        b"(I1\n" + shape + b"cnumpy\ndtype\n(" + string(b"u1") + b"I0\nI1\ntR"
        b"(I3\n" + string(b"|") + b"NNNI-1\nI-1\nI0\ntbI00\n" + string(data.tobytes()) + b"tb"
    )
    numbers = b"(l" + b"".join(b"I%d\na" % n for n in labels)
    return b"(d" + string(b"data") + array + b"s" + string(b"labels") + numbers + b"s."


def cifar10(root: Path, *, each: int = 4, protocol: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """The six batch files under root/cifar-10-batches-py. Protocol 0 is written as Python 2 wrote it."""
    rng = np.random.default_rng(seed)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    arrays = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (each, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, each).tolist()
        if protocol == 0:
            content = python2_pickle(data, labels)
        else:
            content = pickle.dumps({b"data": data, b"labels": labels}, protocol=protocol)
        (folder / name).write_bytes(content)
        arrays[name] = (data, np.array(labels))
    return arrays


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 20), **save) -> np.ndarray:
    """Saves a random RGB picture of size (w, h) at `path` and returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return pixels


def class_folders(folder: Path, counts: dict[str, int], *, suffix: str = ".png") -> None:
    """folder/CLASS/IMAGE for as many images of each class as `counts` says."""
    for c, (name, count) in enumerate(counts.items()):
        for i in range(count):
            picture(folder / name / f"{i:03d}{suffix}", seed=100 * c + i)


def csv_labels(folder: Path, labels: list[str]) -> None:
    """folder/IMAGE and folder.csv beside it, with the columns id, filename, label."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "filename", "label"])
        for i, label in enumerate(labels):
            picture(folder / f"{i:05d}.jpg", seed=i)
            writer.writerow([i, f"{i:05d}.jpg", label])


def named_files(folder: Path, labels: list[str]) -> None:
    """folder/CLASS_NUMBER.png."""
    for i, label in enumerate(labels):
        picture(folder / f"{label}_{i}.png", seed=i)
