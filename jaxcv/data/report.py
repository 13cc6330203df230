"""What is in the splits of a data set: counts, classes, colours, void pixels, and images that two splits share."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcv.data.source import Info, Source, names_of

READ = 128  # images of each split that are read: classes and duplicates of arrays and files are known without
_LISTED = 12  # classes that a line lists


def inspect(sources: Mapping[str, Source]) -> dict[str, Any]:
    """The report on the splits, for JSON:

    {split: {"images", "read": numbers of images,
             "left_out": {why: number of files that are not used},
             "shape": (h, w, c),
             "width", "height": [smallest, median, largest] of the files that were read, px,
             "mean_color": per channel, 0 to 255, of the images that were read,
             "classes": {class: number of images} or, of masks, {class: number of pixels}, of "counted" images,
             "void": share of the pixels that have no class, of masks alone}
     "duplicates": [{"split", "of": splits, "images": how many of `split` are in `of` too, "example": their names}]}

    Reads at most `READ` images of each split, at even distances; the labels of arrays are all counted.
    """
    report: dict[str, Any] = {}
    contents = {}
    for split, source in sources.items():
        report[split], contents[split] = _inspect_split(source)
    same = sources["val"].info.fingerprint == sources["test"].info.fingerprint
    pairs = [("val", "train"), ("test", "train"), *([] if same else [("test", "val")])]
    found = [_shared(split, of, contents[split], contents[of]) for split, of in pairs]
    return report | {"duplicates": [row for row in found if row["images"]]}


def _inspect_split(source: Source) -> tuple[dict[str, Any], dict[str, str]]:
    """The report on a split, and {content: name} of its images, as far as they are known."""
    info, size = source.info, len(source)
    indices = [i * size // min(size, READ) for i in range(min(size, READ))]
    color = np.zeros(info.shape[2])
    counts = np.zeros(len(info.classes) + 1, int)  # the last one: void
    names = names_of(source)
    known = _contents(source)
    contents = dict(zip(known, names))
    for index, example in zip(indices, _read(source, indices)):
        color += example["image"].mean((0, 1))
        counts += _count(example, info)
        if not known:
            contents[_digest(example["image"])] = names[index]
    counted = len(indices)
    labels = getattr(source, "arrays", {}).get("label")
    if labels is not None and info.classes and not info.palette:  # of masks the pixels are counted
        counts, counted = np.bincount(labels, minlength=len(counts)), size
    report = {"images": size, "read": len(indices), "shape": list(info.shape)}
    report["left_out"] = {why: count for why, count in getattr(source, "left_out", {}).items() if count}
    files = getattr(source, "files", ())
    report |= _sizes(files[index] for index in indices if files)
    report["mean_color"] = (color / len(indices)).round(1).tolist()
    if info.classes:
        report |= {"counted": counted, "classes": dict(zip(info.classes, counts[:-1].tolist()))}
    if info.palette:
        report["void"] = round(float(counts[-1] / counts.sum()), 4)
    return report, contents


def _sizes(files: Iterable[Path]) -> dict[str, list[int]]:
    """The smallest, median and largest width and height of image files, as stored."""
    sizes = []
    for file in files:
        with suppress(Exception), Image.open(file) as image:  # a .npy has no header that Pillow reads
            sizes.append(image.size)
    of = dict(zip(("width", "height"), zip(*sizes)))
    return {name: [min(x), int(np.median(x)), max(x)] for name, x in of.items()}


def _read(source: Source, indices: list[int]) -> Iterator[Mapping[str, np.ndarray]]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(source.__getitem__, indices)


def _count(example: Mapping[str, np.ndarray], info: Info) -> np.ndarray:
    """How many labels or pixels of an example each class has, and at last no class."""
    classes = len(info.classes)
    if "labels" in example:
        return np.append(example["labels"].astype(int), 0)
    label = example.get("mask", example.get("label"))
    if label is None or not classes:
        return np.zeros(classes + 1, int)
    values = np.asarray(label, int).ravel()
    return np.bincount(np.where((values < 0) | (values > classes), classes, values), minlength=classes + 1)


def _contents(source: Source) -> list[str]:
    """A string for each example that only equal images share, of files and of arrays; otherwise nothing."""
    if contents := getattr(source, "contents", ()):
        return list(contents)
    return [_digest(image) for image in getattr(source, "arrays", {}).get("image", ())]


def _digest(image: np.ndarray) -> str:
    return hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()


def _shared(split: str, of: str, contents: Mapping[str, str], others: Mapping[str, str]) -> dict[str, Any]:
    both = [content for content in contents if content in others]
    example = [contents[both[0]], others[both[0]]] if both else []
    return {"split": split, "of": of, "images": len(both), "example": example}


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a reader, a line for each split and one for each thing that may be wrong."""
    splits = {name: part for name, part in report.items() if name != "duplicates"}
    return [_line(name, part) for name, part in splits.items()] + doubts(report)


def _line(split: str, part: Mapping[str, Any]) -> str:
    h, w, _ = part["shape"]
    color = ", ".join(f"{value:.0f}" for value in part["mean_color"])
    text = f"{split}: {part['images']} images, {w}x{h} px, mean colour ({color})"
    if "width" in part:
        spans = [f"{name} {x[0]} to {x[2]} (median {x[1]})" for name in ("width", "height") if (x := part[name])]
        text += f", files of {' and '.join(spans)}"
    classes = part.get("classes", {})
    if not classes:
        return text
    total = sum(classes.values()) or 1

    def amount(name: str) -> str:
        return f"{name} {100 * classes[name] / total:.1f} %" if "void" in part else f"{name} {classes[name]}"

    if len(classes) > _LISTED:
        least, most = min(classes, key=classes.get), max(classes, key=classes.get)
        listed = f"{len(classes)} classes, from {amount(least)} to {amount(most)}"
    else:
        listed = ", ".join(map(amount, classes))
    void = f", void {100 * part['void']:.1f} % of all pixels" if part.get("void") else ""
    among = f"of {part['counted']} that were read " if part["counted"] < part["images"] else ""
    return f"{text}; {among}{listed}{void}"


def doubts(report: Mapping[str, Any]) -> list[str]:
    """What may be wrong with the data, a sentence each."""
    found = []
    for split, part in report.items():
        if split == "duplicates":
            continue
        classes = part.get("classes", {})
        among = f" among the {part['counted']} that were read" if classes and part["counted"] < part["images"] else ""
        absent = [repr(name) for name, count in classes.items() if not count]
        if absent:
            names = ", ".join(absent[:_LISTED]) + (f" and {len(absent) - _LISTED} more" if absent[_LISTED:] else "")
            what = "pixel" if "void" in part else "image"
            found.append(f"NOTE: the split {split!r} has no {what} of {names}{among}.")
        if part.get("void", 0) > 0.5:
            found.append(f"NOTE: {100 * part['void']:.1f} % of the mask pixels of the split {split!r} are void.")
    for row in report["duplicates"]:
        name, other = row["example"]
        found.append(
            f"NOTE: {row['images']} images of the split {row['split']!r} are in {row['of']!r} too: {name} is {other}."
        )
    return found
