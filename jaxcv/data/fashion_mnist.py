"""Fashion-MNIST from its four official files: 28x28 grey images of 10 kinds of clothing (Xiao et al. 2017).

Files: https://github.com/zalandoresearch/fashion-mnist, in the IDX format of http://yann.lecun.com/exdb/mnist.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.files import check_labels, find, held_out
from jaxcv.data.source import Arrays, Info, check_split, fingerprint
from jaxcv.errors import DataError
from jaxcv.ranges import NonNegative

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
MEAN, STD = (0.2860,), (0.3530,)  # of the 60,000 official training images


def read_idx(path: Path, dims: int) -> np.ndarray:
    """The array in the gzipped IDX file at `path`: uint8 with `dims` axes. DataError if it is damaged."""
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(4 + 4 * dims)
            if len(head) < 4 + 4 * dims:
                raise DataError(f"{path} ends after {len(head)} bytes, within its header of {4 + 4 * dims}")
            magic, *shape = np.frombuffer(head, ">u4").tolist()
            if magic != 0x0800 + dims:
                raise DataError(f"{path} is not an IDX file of {dims}-d bytes: magic {magic}, expected {0x0800 + dims}")
            body = file.read(math.prod(shape) + 1)  # one byte more, to notice surplus data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error
    if len(body) != math.prod(shape):
        found = "more" if len(body) > math.prod(shape) else len(body)
        raise DataError(f"{path} announces {'x'.join(map(str, shape))} bytes of data but holds {found}")
    return np.frombuffer(body, np.uint8).reshape(shape)


def outline(**options: Any) -> Info:
    """The Info without the fingerprint."""
    return Info("fashion_mnist", CLASSES, (28, 28, 1), MEAN, STD)


def source(split: str, *, dir: str = "", holdout: NonNegative = 5000) -> Arrays:
    """Examples {"image": uint8 (28, 28, 1), "label": int32}, read from `dir`/fashion_mnist.

    "test" is the official test set; "val" is `holdout` images of the official training set (a count, or a fraction
    below 1) and "train" the rest.
    """
    check_split(split)
    prefix = "t10k" if split == "test" else "train"
    names = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    images_file, labels_file = (find(dir, "fashion_mnist", names) / name for name in names)
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_file} holds images of {images.shape[1]}x{images.shape[2]}, expected 28x28")
    if len(images) != len(labels):
        raise DataError(f"{images_file} holds {len(images)} images but {labels_file.name} {len(labels)} labels")
    labels = check_labels(labels, CLASSES, labels_file)
    rows = held_out(split, len(images), holdout)
    images, labels = images[rows], labels[rows]
    info = outline()._replace(fingerprint=fingerprint([images, labels]))
    return Arrays({"image": images[..., None], "label": labels}, info)
