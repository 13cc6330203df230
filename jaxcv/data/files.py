"""What data sets in files share: where they are, which examples a split has, and a source that reads from disk."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.source import Info, check_split
from jaxcv.errors import ConfigError, DataError


class Files:
    """A source on disk: `decode(item)` reads an example, where an item is a path or whatever else leads to it.

    Examples are cached if all of them fit into `cache_bytes`, by each process for itself: the cache is not pickled.
    files: each image's file.  digest: of each file, see `jaxcv.data.contents`; empty: not known.
    left_out: why -> how many files of the split are not used.
    """

    def __init__(
        self,
        names: Iterable[str],
        items: Iterable,
        decode: Callable,
        info: Info,
        *,
        files: Sequence[Path] = (),
        digest: Mapping[Path, str] | None = None,
        left_out: Mapping[str, int] | None = None,
        cache_bytes: int,
    ):
        self.names, self.info, self.files, self.left_out = list(names), info, files, left_out or {}
        self.contents = [digest[file] for file in files] if digest else []
        self._items, self._decode, self._cache_bytes = list(items), decode, cache_bytes
        self._cache: dict[int, dict[str, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        index = range(len(self))[index]
        if index in self._cache:
            return self._cache[index]
        example = self._decode(self._items[index])  # two threads may both do so, with the same result
        if len(self) * sum(array.nbytes for array in example.values()) <= self._cache_bytes:
            self._cache[index] = example
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


def split_folder(split: str, *, train_folder: str, val_folder: str, test_folder: str) -> str:
    """The folder of `split`; without a `val_folder`, "val" is held out of "train" and in its folder."""
    check_split(split)
    folder = {"train": train_folder, "val": val_folder or train_folder, "test": test_folder}[split]
    if not folder:
        raise ConfigError(f"the split {split!r} has no folder: set data.{split}_folder")
    return folder


def split_examples(
    split: str, examples: Sequence, *, val_folder: str, holdout: float, labels: Sequence = (), groups: Sequence = ()
) -> list:
    """The `examples` in its `split_folder` that belong to `split`: all, unless "val" is `held_out` of "train"."""
    if split == "test" or val_folder:
        return list(examples)
    return [examples[i] for i in held_out(split, len(examples), holdout, labels=labels, groups=groups)]


def held_out(split: str, size: int, holdout: float, *, labels: Sequence = (), groups: Sequence = ()) -> np.ndarray:
    """Ascending indices of the examples that belong to `split`: all `size` to "test"; of `size` training examples a
    random part, always the same, to "val", and the rest to "train".

    holdout: how many examples "val" has or, below 1, which fraction; at 0 there is no "val".  labels: one for each
    example; "val" has about the same share of each, and at least one example where a label has two.  groups: one for
    each example; those of a group stay together, so "val" may be a little smaller or larger.
    """
    if split == "test":
        return np.arange(size)
    count = round(holdout * size) if 0 < holdout < 1 else int(holdout)
    what = f"config.data.holdout={holdout} of {size} training images"
    if not 0 <= count < size:
        raise ConfigError(f"{what} would leave none to train on; it must be below {size}")
    if split == "val" and count == 0:
        raise ConfigError(f"{what} leaves none for the split 'val'; set it to 1 or more")
    order = np.random.default_rng(0).permutation(size)
    if count and (len(labels) or len(groups)):
        held = np.array(_stratified(order.tolist(), count, labels or [()] * size, groups or range(size)), np.int64)
        if not 0 < len(held) < size:
            raise ConfigError(f"{what} is {count}, to which no choice of whole groups comes near; set another holdout")
    else:
        held = order[:count]
    return np.sort(held) if split == "val" else np.setdiff1d(order, held)


def _stratified(order: Sequence[int], count: int, labels: Sequence, groups: Sequence) -> list[int]:
    """About `count` indices: those groups, in the order of their first index, that bring each label nearer to its
    quota."""
    missing = _quotas(Counter(labels), count)
    members: dict[Any, list[int]] = {}
    for index in order:
        members.setdefault(groups[index], []).append(index)
    held = []
    for indices in members.values():
        of_label = Counter(labels[index] for index in indices)
        if sum(abs(missing[label] - n) - abs(missing[label]) for label, n in of_label.items()) < 0:
            held += indices
            for label, n in of_label.items():
                missing[label] -= n
    return held


def _quotas(sizes: Mapping[Any, int], count: int) -> dict[Any, int]:
    """How many of `count` examples have each label: its share, rounded so that the sum is right, and at least one
    where a label has two."""
    total = sum(sizes.values())
    share = {label: count * sizes[label] / total for label in sorted(sizes)}
    quota = {label: int(share[label]) for label in share}
    rest = sorted(share, key=lambda label: (quota[label] + 1 >= sizes[label], quota[label] - share[label]))
    for label in rest[: count - sum(quota.values())]:
        quota[label] += 1
    for label in share:
        largest = max(quota, key=lambda label: quota[label])
        if not quota[label] and sizes[label] > 1 and quota[largest] > 1:
            quota[label], quota[largest] = 1, quota[largest] - 1
    return quota


def check_labels(labels: np.ndarray, classes: Sequence[str], where: object) -> np.ndarray:
    """`labels` as int32. DataError names `where` and the first label outside 0..len(classes)-1."""
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        raise DataError(f"{where} has label {labels[bad[0]]} at index {bad[0]}, outside 0..{len(classes) - 1}")
    return labels.astype(np.int32)
