"""What every data set shares: the facts about it, sources in memory and in files, the hold-out, and words for bad data.

A source is any object with `__len__`, `__getitem__(int) -> dict of numpy`, `info`, and `names`, a string for each
example by which figures find it. It may also offer `take(indices) -> dict of numpy`, the examples stacked, where that
is quicker than one at a time.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcv.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")


class Info(NamedTuple):
    """What is known of a source.

    `shape` is an image's (h, w, c), `mean` and `std` are per channel for pixels in [0, 1], and `fingerprint`
    is 16 hex digits of SHA-256 over what the data are: equal on every machine, different when the data are.
    Where `classes` are those of a mask's pixels, `palette` has the colour (r, g, b) in 0..255 of each, for figures,
    and `ignore` is the label that does not count.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore: int = 255


class Arrays:
    """A source in memory. `arrays` maps each name of an example to an array whose rows are the examples."""

    def __init__(self, arrays: Mapping[str, np.ndarray], info: Info):
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"{info.name}: arrays of one data set differ in length: {lengths}")
        self.arrays = dict(arrays)
        self.info = info

    @property
    def names(self) -> list[str]:
        return [str(index) for index in range(len(self))]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices` (b,), stacked: a copy."""
        return {name: array[indices] for name, array in self.arrays.items()}


class Kept:
    """What `count` calls of a slow function gave, kept where all of it fits `limit` bytes.

    A copy in another process starts empty: it gets the way to the examples, not the examples.
    """

    def __init__(self, count: int, limit: int):
        self._count, self._limit, self._examples = count, limit, {}

    def __reduce__(self) -> tuple:
        return Kept, (self._count, self._limit)

    def get(self, index: int, decode: Callable[[int], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """`decode(index)`, or what it gave before. Two threads may both decode, and keep the same."""
        if index in self._examples:
            return self._examples[index]
        example = decode(index)
        if self._count * sum(array.nbytes for array in example.values()) <= self._limit:
            self._examples[index] = example
        return example


class Files:
    """A source on disk: `decode(index)` reads an example, whose name is `names[index]`."""

    def __init__(
        self,
        names: Sequence[str],
        decode: Callable[[int], dict[str, np.ndarray]],
        info: Info,
        *,
        cache_bytes: int,
    ):
        self.names, self.info = list(names), info
        self._decode, self._kept = decode, Kept(len(names), cache_bytes)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._kept.get(range(len(self))[index], self._decode)


class Subset:
    """The examples of a source at `indices`; made by `evenly` and `select`."""

    def __init__(self, source, indices: Sequence[int]):
        self._source, self._indices = source, indices
        parts = [source.info.fingerprint, np.asarray(indices, np.int64)]
        self.info = source.info._replace(fingerprint=fingerprint(parts))

    @property
    def names(self) -> list[str]:
        names = self._source.names
        return [names[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._source[self._indices[index]]


def evenly(source, count: int):
    """`count` examples of `source` at even distances, as files are often in the order of their classes; all where
    count is 0 or it has no more."""
    return Subset(source, [i * len(source) // count for i in range(count)]) if 0 < count < len(source) else source


def select(source, names: Sequence[str]):
    """The examples of `source` that are called `names`, in that order. DataError if one is not there."""
    index = {name: i for i, name in enumerate(source.names)}
    for name in names:
        if name not in index:
            near = ", ".join(list(index)[:3])
            raise DataError(f"{source.info.name} has no example {name!r} in this split; its names are like {near}")
    return Subset(source, [index[name] for name in names])


def check_split(split: str) -> None:
    """Raise ConfigError unless `split` is "train", "val" or "test"."""
    if split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}: a split is one of {', '.join(SPLITS)}")


def split_folder(split: str, *, train_folder: str, val_folder: str, test_folder: str) -> str:
    """The folder that `split` is in; that of "train", where "val" has none and is held out of it."""
    check_split(split)
    own = {"train": train_folder, "val": val_folder or train_folder, "test": test_folder}[split]
    if not own:
        raise ConfigError(f"the split {split!r} has no folder: set data.{split}_folder")
    return own


def held_out(split: str, size: int, holdout: float) -> np.ndarray:
    """Which of the `size` official training examples belong to `split` ("train" or "val"), in file order.

    "val" is a random part that never changes, "train" is the rest. `holdout` is how many examples "val" has
    or, below 1, which fraction of them. Zero keeps all for training and leaves no "val".
    """
    count = round(holdout * size) if 0 < holdout < 1 else int(holdout)
    if not 0 <= count < size:
        raise ConfigError(f"holdout={holdout} of {size} training images would leave none to train on")
    if split == "val" and count == 0:
        raise ConfigError(f"holdout={holdout} of {size} training images leaves none for the split 'val'")
    order = np.random.default_rng(0).permutation(size)
    return np.sort(order[:count] if split == "val" else order[count:])


def check_labels(labels: np.ndarray, classes: Sequence[str], where: object) -> np.ndarray:
    """`labels` as int32, or a DataError that names `where` and the first label outside 0..len(classes)-1."""
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        raise DataError(f"{where} has label {labels[bad[0]]} at index {bad[0]}, outside 0..{len(classes) - 1}")
    return labels.astype(np.int32)


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """`count` <= 256 colours that differ well, the first one black: PASCAL VOC's colour map."""

    def channel(index: int, first: int) -> int:  # every third bit of the index, from the `first`, highest last
        return sum((index >> (3 * i + first) & 1) << (7 - i) for i in range(3))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count))


def fingerprint(parts: Iterable[bytes | str | np.ndarray]) -> str:
    """16 hex digits of SHA-256 over `parts`: their number, order, lengths, types and bytes all count."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            head, body = f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).data
        else:
            body = part.encode() if isinstance(part, str) else part
            head = f"bytes{len(body)}"
        digest.update(f"{head};".encode())
        digest.update(body)
    return digest.hexdigest()[:16]


def find(dir: str, folder: str, expected: Sequence[str]) -> Path:
    """`dir`/`folder` ($JAXCV_DATA/`folder` without `dir`). DataError unless it holds all of `expected`."""
    how = "say where the data are with --config.data.dir=DIR or $JAXCV_DATA"
    wants = f"{folder or 'the folder'} with {', '.join(expected)} in it"
    root = dir or os.environ.get("JAXCV_DATA", "")
    if not root:
        raise DataError(f"nobody said where the data are, and this data set needs {wants}; {how}")
    path = Path(root).expanduser() / folder
    if not path.is_dir():
        raise DataError(f"there is no folder {path}, and this data set needs {wants}; {how}")
    for name in expected:
        if not (path / name).exists():
            raise DataError(f"there is no {name} in {path}, and this data set needs {wants}; {how}")
    return path
