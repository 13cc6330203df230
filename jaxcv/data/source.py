"""What a source of examples is (`Source`), the facts about it (`Info`), sources in memory, and parts of sources."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxcv.config import call
from jaxcv.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")


class Info(NamedTuple):
    """What is known of a source. `describe` makes it from arrays."""

    name: str
    classes: tuple[str, ...]  # empty: there are none
    shape: tuple[int, int, int]  # of an image, (h, w, c)
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    # 16 hex digits, see `fingerprint`: equal on every machine, different when the data are; empty without the data
    fingerprint: str = ""
    palette: tuple[tuple[int, int, int], ...] = ()  # (r, g, b) in 0..255 of each class, where they are those of masks
    ignore: int = 255  # the label in masks that does not count
    notes: tuple[str, ...] = ()  # what a user should know of the data, a sentence each


class Source(Protocol):
    """The examples of one split. An example is a dictionary of numpy arrays:

    image  uint8 (h, w, c), as `info.shape` says
    label  int32 (), in 0..len(info.classes)-1; not there where there are no classes
    labels uint8 (len(info.classes),), 1 for each class that an image has, instead of label where it may have several
    mask   uint8 or int32 (h, w), the class of each pixel or `info.ignore`; not there where there are no masks

    Two attributes are optional: `names`, a string for each example, no two alike (see `names_of`); and
    `take(indices) -> dict`, the examples at indices (b,) stacked, where that is quicker than one at a time. With
    config.data.workers a source is pickled.
    """

    info: Info

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


def names_of(source: Source) -> Sequence[str]:
    """A name for each example, by which figures and config.eval.named refer to it; its index where it has none."""
    return source.names if hasattr(source, "names") else [str(index) for index in range(len(source))]


def outline_of(module: Any, options: Mapping[str, Any]) -> Info | None:
    """What the data set of `module` is known to be without its data; None where the module has no `outline`."""
    return call(module.outline, options, group="data") if hasattr(module, "outline") else None


def check_split(split: str) -> None:
    """Raise ConfigError unless `split` is "train", "val" or "test"."""
    if split not in SPLITS:
        raise ConfigError(f"there is no split {split!r}: a split is one of {', '.join(SPLITS)}")


def form(value: Any) -> str:
    """The dtype and shape of an array, the type of anything else: for messages."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray | np.generic) else type(value).__name__


class Arrays:
    """A source in memory. `arrays` maps each key of an example to an array whose rows are the examples."""

    def __init__(self, arrays: Mapping[str, np.ndarray], info: Info):
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"{info.name}: arrays of one data set differ in length: {lengths}")
        self.arrays = dict(arrays)
        self.info = info

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.arrays.items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices` (b,), stacked: a copy."""
        return {name: array[indices] for name, array in self.arrays.items()}


def describe(arrays: Mapping[str, np.ndarray], *, name: str, classes: Sequence[str] = ()) -> Info:
    """The Info of a data set in memory, for `Arrays`; a "mask" without a "label" gets PASCAL VOC's colours.

    arrays: "image" uint8 (n, h, w, c), and "label" or "mask" as of `Source`, (n, ...).  classes: their names, if any.
    Raises DataError for images of another form.
    """
    image = arrays.get("image")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 4 or not image.size:
        raise DataError(f"{name}: image is {form(image)}, expected uint8 (n, h, w, c)")
    pixels = image.reshape(-1, image.shape[-1])  # sums of whole numbers, exact in float64
    mean = pixels.mean(0, dtype=np.float64)
    variance = np.einsum("nc,nc->c", pixels, pixels, dtype=np.float64) / len(pixels) - mean**2
    std = np.sqrt(np.where(variance > 0, variance, 1))  # of a constant channel: 1, to divide by
    palette = voc_palette(len(classes)) if "mask" in arrays and "label" not in arrays else ()
    parts = [part for pair in arrays.items() for part in pair]
    mean, std = (tuple((x / 255).tolist()) for x in (mean, std))
    return Info(name, tuple(classes), image.shape[1:], mean, std, fingerprint(parts), palette)


class Subset:
    """The examples of a source at `indices`; made by `evenly` and `select`."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self._source, self._indices = source, indices
        parts = [source.info.fingerprint, np.asarray(indices, np.int64)]
        self.info = source.info._replace(fingerprint=fingerprint(parts))

    @property
    def names(self) -> list[str]:
        names = names_of(self._source)
        return [names[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._source[self._indices[index]]


def evenly(source: Source, count: int) -> Source:
    """`count` examples of `source` at even distances, as files are often in the order of their classes; all where
    count is 0 or it has no more."""
    return Subset(source, [i * len(source) // count for i in range(count)]) if 0 < count < len(source) else source


def select(source: Source, names: Sequence[str]) -> Source:
    """The examples of `source` that are called `names`, in that order. DataError if one is not there."""
    index = {name: i for i, name in enumerate(names_of(source))}
    for name in names:
        if name not in index:
            near = ", ".join(list(index)[:3])
            raise DataError(f"{source.info.name} has no example {name!r} in this split; its names are like {near}")
    return Subset(source, [index[name] for name in names])


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
