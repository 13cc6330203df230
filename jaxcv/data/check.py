"""Checks that the source of a data set keeps the contract of `jaxcv.data.source.Source`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxcv.data.source import Info, Source, form, names_of
from jaxcv.errors import DataError


def check_source(source: Any, name: str) -> None:
    """Raises DataError unless `source`, of the data set `name`, keeps the contract. Reads one example."""
    if fault := next(_faults(source), None):
        raise DataError(f"data set {name!r}: {fault}")


def _faults(source: Any) -> Iterator[str]:
    """What is wrong with a source, one sentence each; later ones assume that there are no earlier ones."""
    for attribute in ("__len__", "__getitem__", "info"):
        if not hasattr(source, attribute):
            yield f"its source is a {type(source).__name__} without {attribute}; see jaxcv.data.source.Source"
    info = source.info
    if not isinstance(info, Info):
        yield f"info is a {type(info).__name__}, expected a jaxcv.data.source.Info"
    if np.shape(info.shape) != (3,):
        yield f"info.shape is {info.shape}, expected (height, width, channels)"
    for key in ("mean", "std"):
        numbers = getattr(info, key)
        if np.shape(numbers) != (info.shape[2],) or np.asarray(numbers).dtype.kind not in "iuf":
            yield f"info.{key} is {numbers}, expected a number for each channel of info.shape {info.shape}"
    if min(info.std) <= 0:
        yield f"info.std is {info.std}, expected numbers above 0"
    if not isinstance(info.classes, tuple) or not all(isinstance(label, str) for label in info.classes):
        yield f"info.classes is {info.classes!r}, expected a tuple of names"
    if info.palette and len(info.palette) != len(info.classes):
        yield f"info.palette has {len(info.palette)} colours for the {len(info.classes)} names of info.classes"
    if not info.fingerprint:
        yield "info.fingerprint is empty; jaxcv.data.source.fingerprint makes one of arrays or file names"
    if not len(source):
        yield "there are no examples"
    if len(names_of(source)) != len(source):
        yield f"there are {len(names_of(source))} names for {len(source)} examples"
    example = source[0]
    if not isinstance(example, Mapping):
        yield f"an example is a {form(example)}, expected a dictionary of numpy arrays"
    for key, value in example.items():
        if not isinstance(value, np.ndarray | np.generic):
            yield f"{key} is a {form(value)}, expected a numpy array"
    if "image" not in example:
        yield f"an example has {', '.join(example) or 'nothing'}, but no image"
    yield from _array_faults(example, info)


def _array_faults(example: Mapping[str, np.ndarray], info: Info) -> Iterator[str]:
    shape, last = tuple(info.shape), len(info.classes) - 1
    expected = {
        "image": ("uint8", shape),
        "label": ("int32", ()),
        "labels": ("uint8", (last + 1,)),
        "mask": ("uint8 or int32", shape[:2]),
    }
    for key, (dtypes, shape) in expected.items():
        if key in example and (example[key].dtype.name not in dtypes.split(" or ") or example[key].shape != shape):
            yield f"{key} is {form(example[key])}, expected {dtypes} {shape} (info.shape is {info.shape})"
    if info.palette:
        if "mask" not in example:
            yield "info.palette has colours for masks, but an example has no mask"
    elif "label" not in example:
        if "mask" in example:
            yield "an example has a mask, but info.palette has no colours; jaxcv.data.source.voc_palette makes some"
        if info.classes and "labels" not in example:
            yield f"info.classes has {last + 1} names, but an example has neither label nor labels nor mask"
    yield from _label_faults(example, info)


def _label_faults(batch: Mapping[str, np.ndarray], info: Info) -> Iterator[str]:
    """What is wrong with the labels, or with masks, of an example or a batch, as to what `info` says."""
    last = len(info.classes) - 1
    label = np.asarray(batch.get("mask" if info.palette else "label", ()))
    wrong = (label < 0) | (label > last)
    if info.palette:
        wrong &= label != info.ignore
    if wrong.any():
        first = label[wrong].flat[0]
        if info.palette:
            yield f"a mask has the label {first}, which is neither in 0..{last} nor info.ignore={info.ignore}"
        yield f"a label is {first}, but info.classes has {last + 1} names"


def check_labels(batch: Mapping[str, np.ndarray], source: Source, indices: np.ndarray) -> None:
    """Raises DataError, naming the example, for a label in a batch of the examples at `indices` that is no class."""
    if any(_label_faults(batch, source.info)):
        for row, index in enumerate(indices):
            if fault := next(_label_faults({name: x[row] for name, x in batch.items()}, source.info), None):
                raise DataError(f"{source.info.name}, example {names_of(source)[index]}: {fault}")
