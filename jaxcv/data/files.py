"""What data sets in files share: where they are, which examples a split has, and a source that reads one at a time."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.source import Info, check_split
from jaxcv.errors import ConfigError, DataError


class Files:
    """A source on disk: `decode(item)` reads an example, an item being what says where it is, such as its path.

    What is decoded is kept where all examples fit `cache_bytes`, by each process for itself: a pickle has none of it.
    """

    def __init__(self, names: Sequence[str], items: Sequence, decode: Callable, info: Info, *, cache_bytes: int):
        self.names, self.info = list(names), info
        self._items, self._decode, self._cache_bytes, self._kept = list(items), decode, cache_bytes, {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        index = range(len(self))[index]
        if index in self._kept:
            return self._kept[index]
        example = self._decode(self._items[index])  # two threads may both do so, and keep the same
        if len(self) * sum(array.nbytes for array in example.values()) <= self._cache_bytes:
            self._kept[index] = example
        return example


def locate(dir: str, folder: str) -> Path | None:
    """`dir`/`folder`, or $JAXCV_DATA/`folder` without `dir`; None where neither is given."""
    root = dir or os.environ.get("JAXCV_DATA", "")
    return Path(root).expanduser() / folder if root else None


def find(dir: str, folder: str, expected: Sequence[str]) -> Path:
    """`locate(dir, folder)`. DataError unless it holds all of `expected`."""
    path = locate(dir, folder)
    needs = f"this data set needs {folder or 'the folder'} with {', '.join(expected)} in it"
    remedy = "set --config.data.dir=DIR or $JAXCV_DATA"
    if path is None:
        raise DataError(f"no data folder is given, and {needs}; {remedy}")
    if not path.is_dir():
        raise DataError(f"there is no folder {path}, and {needs}; {remedy}")
    for name in expected:
        if not (path / name).exists():
            raise DataError(f"there is no {name} in {path}, and {needs}; {remedy}")
    return path


def sizes(root: Path, files: Iterable[Path]) -> list[str]:
    """The path below `root` and the bytes of each file, as "a/b.png 123": what a fingerprint of files is made of."""
    return [f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files]


def split_folder(split: str, *, train_folder: str, val_folder: str, test_folder: str) -> str:
    """The folder that `split` is in; that of "train", where "val" has none and is held out of it."""
    check_split(split)
    own = {"train": train_folder, "val": val_folder or train_folder, "test": test_folder}[split]
    if not own:
        raise ConfigError(f"the split {split!r} has no folder: set data.{split}_folder")
    return own


def split_examples(split: str, examples: Sequence, *, val_folder: str, holdout: float) -> list:
    """Which of the `examples` in its `split_folder` a split has: all, but where "val" is held out of "train"."""
    if split == "test" or val_folder:
        return list(examples)
    return [examples[i] for i in held_out(split, len(examples), holdout)]


def held_out(split: str, size: int, holdout: float) -> np.ndarray:
    """Which of `size` examples belong to `split`, in file order: all to "test", and of training examples some to "val".

    "val" is a random part that never changes, "train" is the rest. `holdout` is how many examples "val" has
    or, below 1, which fraction of them. Zero keeps all for training and leaves no "val".
    """
    if split == "test":
        return np.arange(size)
    count = round(holdout * size) if 0 < holdout < 1 else int(holdout)
    what = f"data.holdout={holdout} of {size} training images"
    if not 0 <= count < size:
        raise ConfigError(f"{what} would leave none to train on; it must be below {size}")
    if split == "val" and count == 0:
        raise ConfigError(f"{what} leaves none for the split 'val'; set it to 1 or more")
    order = np.random.default_rng(0).permutation(size)
    return np.sort(order[:count] if split == "val" else order[count:])


def check_labels(labels: np.ndarray, classes: Sequence[str], where: object) -> np.ndarray:
    """`labels` as int32, or a DataError that names `where` and the first label outside 0..len(classes)-1."""
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        raise DataError(f"{where} has label {labels[bad[0]]} at index {bad[0]}, outside 0..{len(classes) - 1}")
    return labels.astype(np.int32)
