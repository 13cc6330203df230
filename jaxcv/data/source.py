"""What a source of examples is (`Source`), facts about it (`Info`), sources in memory, and subsets of sources."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxcv.config import call
from jaxcv.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")


class Info(NamedTuple):
    """Facts about the data of a source. `describe` makes it from arrays."""

    name: str
    classes: tuple[str, ...]  # empty: there are none
    shape: tuple[int, int, int]  # of an image, (h, w, c)
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    fingerprint: str = ""  # of the data, see `fingerprint`: the same on every machine; empty without the data
    palette: tuple[tuple[int, int, int], ...] = ()  # (r, g, b) in 0..255 of each class, if masks have them
    ignore: int = 255  # the label of mask pixels that do not count
    notes: tuple[str, ...] = ()  # what a user should know about the data, one sentence each


class Source(Protocol):
    """The examples of one split. An example is a dictionary of numpy arrays:

    image  uint8 (h, w, c), as `info.shape` says
    label  int32 (), in 0..len(info.classes)-1; absent where there are no classes
    labels uint8 (len(info.classes),), 1 for each class of an image, instead of label where it may have several
    mask   uint8 or int32 (h, w), the class of each pixel or `info.ignore`; absent where there are no masks

    Five attributes are optional: `names`, a different string for each example (see `names_of`); `contents`, a string
    for each example that only equal images share, or empty; `files`, the path of each image, or empty; `left_out`, how
    many files are not used, by why; and `take(indices) -> dict`, the examples at indices (b,) stacked, if that is
    faster than one at a time. With config.data.workers a source is pickled.
    """

    info: Info

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


def names_of(source: Source) -> Sequence[str]:
    """The names by which figures and config.eval.named refer to examples; their indices where they have none."""
    return source.names if hasattr(source, "names") else [str(index) for index in range(len(source))]


def outline_of(module: ModuleType, options: Mapping[str, Any]) -> Info | None:
    """The Info of the data set `module` without its data; None where the module has no `outline`."""
    return call(module.outline, options, group="data") if hasattr(module, "outline") else None


def check_split(split: str) -> None:
    """Raises ConfigError unless `split` is "train", "val" or "test"."""
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
    """The Info of a data set in memory, for `Arrays`; with "mask" and without "label" the palette is PASCAL VOC's.

    arrays: "image" uint8 (n, h, w, c), and "label" or "mask" as of `Source`, (n, ...).  classes: their names, if any.
    Raises DataError for other images.
    """
    image = arrays.get("image")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 4 or not image.size:
        raise DataError(f"{name}: image is {form(image)}, expected uint8 (n, h, w, c)")
    pixels = image.reshape(-1, image.shape[-1])  # sums of whole numbers, exact in float64
    mean = pixels.mean(0, dtype=np.float64)
    variance = np.einsum("nc,nc->c", pixels, pixels, dtype=np.float64) / len(pixels) - mean**2
    std = np.sqrt(np.where(variance > 0, variance, 1))  # 1 for a constant channel: images are divided by it
    statistics = tuple((mean / 255).tolist()), tuple((std / 255).tolist())
    palette = voc_palette(len(classes)) if "mask" in arrays and "label" not in arrays else ()
    identity = fingerprint(itertools.chain(*arrays.items()))
    return Info(name, tuple(classes), image.shape[1:], *statistics, identity, palette)


class Subset:
    """The examples of a source at `indices`; made by `evenly` and `select`."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self._source, self._indices = source, indices
        identity = fingerprint([source.info.fingerprint, np.asarray(indices, np.int64)])
        self.info = source.info._replace(fingerprint=identity)
        names, contents, files = names_of(source), getattr(source, "contents", ()), getattr(source, "files", ())
        self.names = [names[index] for index in indices]
        self.contents, self.files = ([values[index] for index in indices if values] for values in (contents, files))
        self.left_out = {**getattr(source, "left_out", {}), "beyond data.limit": len(source) - len(indices)}

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._source[self._indices[index]]


def evenly(source: Source, count: int) -> Source:
    """`count` examples of `source` at even distances, since files are often sorted by class; all of them if `count` is
    0 or more than there are."""
    return Subset(source, [i * len(source) // count for i in range(count)]) if 0 < count < len(source) else source


def select(source: Source, names: Sequence[str]) -> Source:
    """The examples of `source` called `names`, in that order. DataError for a name that does not exist."""
    index = {name: i for i, name in enumerate(names_of(source))}
    for name in names:
        if name not in index:
            some = ", ".join(list(index)[:3])
            raise DataError(f"{source.info.name} has no example {name!r} in this split; its names are like {some}")
    return Subset(source, [index[name] for name in names])


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """`count` <= 256 distinct colours, the first one black: PASCAL VOC's colour map."""

    def channel(index: int, first: int) -> int:  # every third bit of the index, from the `first`, highest last
        return sum((index >> (3 * i + first) & 1) << (7 - i) for i in range(3))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(count))


def fingerprint(parts: Iterable[bytes | str | np.ndarray]) -> str:
    """16 hex digits of SHA-256 over `parts`: their number, order, lengths, types and bytes all count."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape};".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            content = part.encode() if isinstance(part, str) else part
            digest.update(b"bytes%d;" % len(content) + content)
    return digest.hexdigest()[:16]
