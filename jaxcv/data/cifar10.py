"""CIFAR-10 from its official python batches: 32x32 colour images of 10 classes (Krizhevsky 2009).

Files: https://www.cs.toronto.edu/~kriz/cifar.html. They are pickles, which can run any code, so the reader here builds
plain containers and numpy arrays and refuses everything else.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.files import check_labels, find, held_out
from jaxcv.data.source import Arrays, Info, check_split, fingerprint, form
from jaxcv.errors import DataError
from jaxcv.ranges import NonNegative

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 official training images

# What rebuilds arrays and byte strings in any version of numpy and of the pickle protocol; none of it can run code.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("builtins", "bytes"),
    ("builtins", "bytearray"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core").replace("__builtin__", "builtins")  # older writers
        if (module, name) not in ALLOWED:
            raise DataError(f"it asks for {module}.{name}, which no CIFAR-10 batch needs and which could run code")
        return super().find_class(module, name)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 32, 32, 3) and labels int32 (n,) of one batch file. DataError names the file."""
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        data, labels = batch["data"], np.asarray(batch["labels"])
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise DataError(f"{path} is not a whole CIFAR-10 batch: {type(error).__name__}: {error}") from error
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise DataError(f"{path} has {form(data)} for data, expected uint8 (n, 3072)")
    if labels.dtype.kind not in "iu" or labels.shape != (len(data),):
        raise DataError(f"{path} has {form(labels)} for labels, expected {len(data)} integers")
    images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # n c h w -> n h w c
    return images, check_labels(labels, CLASSES, path)


def outline(**options: Any) -> Info:
    """The Info without the fingerprint."""
    return Info("cifar10", CLASSES, (32, 32, 3), MEAN, STD)


def source(split: str, *, dir: str = "", holdout: NonNegative = 5000) -> Arrays:
    """Examples {"image": uint8 (32, 32, 3), "label": int32}, read from `dir`/cifar-10-batches-py.

    "test" is the official test set; "val" is `holdout` images of the official training set (a count, or a fraction
    below 1) and "train" the rest.
    """
    check_split(split)
    names = ("test_batch",) if split == "test" else tuple(f"data_batch_{i}" for i in range(1, 6))
    folder = find(dir, "cifar-10-batches-py", names)
    batches = [read_batch(folder / name) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches))
    rows = held_out(split, len(images), holdout)
    images, labels = np.ascontiguousarray(images[rows]), labels[rows]
    info = outline()._replace(fingerprint=fingerprint([images, labels]))
    return Arrays({"image": images, "label": labels}, info)
