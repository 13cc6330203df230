"""Which images a split has and which labels: from class folders, from a CSV, or from the files' names.

What is left out, and what is taken in a way that may not be meant, is said in sentences.
"""

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxcv.data.images import SUFFIXES, no_images
from jaxcv.errors import DataError

CLASS_NUMBER = re.compile(r"(.+)[._]\d+")  # cat_17, cat.17
NO_CLASS = re.compile(r"((img|image|dsc[fn]?|pxl|photo|picture|frame|screenshot)([-_. ]?\d+)*|(19|20)\d{6})", re.I)
SEPARATORS = " ,;|+/&"


class Item(NamedTuple):
    """An image of a split."""

    file: Path
    labels: tuple[str, ...] = ()  # none, or one; with a separator, any number
    group: str = ""  # of images that stay together


class Scan(NamedTuple):
    """The images of a split, sorted by path, what a user should know about them, a sentence each, and how many files
    are left out, by why."""

    items: list[Item]
    notes: list[str]
    left_out: Mapping[str, int]


def subfolders(folder: Path) -> list[Path]:
    """The visible folders directly in `folder`, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def unlabelled(folder: Path) -> Scan:
    """All images in and below `folder`, without labels."""
    images, others = _walk(folder)
    return Scan([Item(image) for image in images], tell_left_out(folder, others), others)


def scan_folders(folder: Path) -> Scan:
    """Class folders: the images in and below each. DataError where one has none."""
    items: list[Item] = []
    others: Counter[str] = Counter()
    deeper = 0
    for class_folder in subfolders(folder):
        images, more = _walk(class_folder)
        if not images:
            raise no_images(class_folder)
        items += [Item(image, (class_folder.name,)) for image in images]
        others += more
        deeper += sum(image.parent != class_folder for image in images)
    beside, more = _walk(folder, deep=False)
    others += more + Counter({"images beside the class folders": len(beside)})
    notes = tell_left_out(folder, others)
    if deeper:
        notes.append(f"{_name(folder)}: folders below the class folders have {deeper} of the {len(items)} images.")
    return Scan(items, notes, others)


def scan_names(folder: Path, known: Collection[str] | None = None) -> Scan:
    """CLASS_NUMBER.png or CLASS.NUMBER.png; no labels where names have fewer than two classes, or only those that
    cameras and programs give (IMG_0001.jpg).

    known: the classes of the training images, which decide for other splits; None: these are the training images.
    DataError for a name without a class among others that have one.
    """
    items, notes, others = unlabelled(folder)
    names = {item.file: match[1] for item in items if (match := CLASS_NUMBER.fullmatch(item.file.stem))}
    classes = set(names.values())
    meant = len(classes) > 1 and not all(map(NO_CLASS.fullmatch, classes)) if known is None else bool(known)
    where = _name(folder)
    if not meant:
        such = f", such as {items[0].file.name}" if items else ""
        return Scan(items, [*notes, f"{where}: the images have no classes, since their names have none{such}."], others)
    for item in items:
        if item.file not in names:
            why = "though other images have one there: expected CLASS_NUMBER"
            raise DataError(f"{item.file} has no class in its name, {why}")
    first = items[0].file
    note = f"{where}: the classes are those in the names of files, such as {names[first]!r} of {first.name}."
    return Scan([item._replace(labels=(names[item.file],)) for item in items], [*notes, note], others)


def scan_csv(path: Path, folder: Path, *, separator: str = "", group: str = "") -> Scan:
    """A CSV of file names below `folder` and their labels, in the columns filename and label.

    separator: stands between several labels of an image, of which it may have none; empty: each has one label.
    group: the column that says which images stay together; empty: none does.
    DataError for a row without a file or label, and for a file with two labels.
    """
    rows = read_rows(path, ["filename", "label", *filter(None, [group])])
    items: dict[Path, tuple[int, Item]] = {}
    blanks = repeated = 0
    for line, row in enumerate(rows, 2):
        name, text = row["filename"].strip(), row["label"].strip()
        blanks += (name, text) != (row["filename"], row["label"])
        if not text and not separator:
            raise DataError(f"{path} line {line}: there is no label")
        file = folder / name
        if Path(name).is_absolute() or not file.is_file():
            raise DataError(f"{path} line {line}: there is no file {file}, a path below {folder}")
        parts = text.split(separator) if separator else [text]
        labels = tuple(sorted({part.strip() for part in parts if part.strip()}))
        item = Item(file, labels, row[group].strip() if group else "")
        before, first = items.setdefault(file, (line, item))
        if first != item:
            raise DataError(
                f"{path} line {line}: {name} is {_said(item)}, but {_said(first)} in line {before}; a file has one row"
            )
        repeated += before != line
    images, others = _walk(folder)
    others[f"images that are not in {path.name}"] = len(set(images) - items.keys())
    found = Scan(sorted(item for _, item in items.values()), [], others)
    if blanks:
        found.notes.append(f"{path.name}: blanks around names and labels do not count (in {blanks} rows).")
    if repeated:
        found.notes.append(f"{path.name}: repeated rows count once ({repeated}).")
    if none := sum(not item.labels for item in found.items):
        found.notes.append(f"{path.name}: some images have no label ({none}).")
    found.notes.extend(tell_left_out(folder, others))
    return found


def tell_classes(name: str, classes: Iterable[str]) -> list[str]:
    """A sentence for each thing about the names of `classes` that may not be meant, in the data set `name`."""
    classes, notes = set(classes), []
    same = defaultdict(list)
    for label in sorted(classes):
        same[label.casefold()].append(label)
    for labels in same.values():
        if len(labels) > 1:
            notes.append(f"{name}: the classes {', '.join(map(repr, labels))} differ only by case.")
    for label in sorted(classes):
        for separator in SEPARATORS:
            parts = {part.strip() for part in label.split(separator)}
            if len(parts) > 1 and parts <= classes:
                what = f"{label!r} is a class of its own, though its parts are classes too"
                notes.append(f"{name}: {what}; data.separator={separator!r} makes it several labels.")
    return notes


def tell_absent(name: str, split: str, items: Sequence[Item], classes: Sequence[str]) -> list[str]:
    """A sentence about the `classes` that no image of the split has, if there are some."""
    seen = {label for item in items for label in item.labels}
    absent = [label for label in classes if label not in seen]
    some = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return [f"{name}: the split {split!r} has no image of these classes: {some}."] if absent else []


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV, only with the `columns`. DataError where it lacks one, and for what is no CSV."""
    if not path.is_file():
        raise DataError(f"there is no CSV of labels {path}: data.labels names it, relative to the data set's folder")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                needs = f"{', '.join(columns[:-1])} and {columns[-1]}"
                raise DataError(f"{path} has the columns {list(reader.fieldnames or ())}, but needs {needs}")
            return [{name: row[name] or "" for name in columns} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from error


def _said(item: Item) -> str:
    labels = " and ".join(map(repr, item.labels)) or "without a label"
    return labels + (f" of the group {item.group!r}" if item.group else "")


def _walk(folder: Path, *, deep: bool = True) -> tuple[list[Path], Counter]:
    """The visible images in `folder` and, if `deep`, below it, sorted; and how many files of other kinds there are."""
    images: list[Path] = []
    others: Counter[str] = Counter()
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        visible = [name for name in folders if not name.startswith(".")]
        others["hidden"] += len(folders) - len(visible)
        folders[:] = visible if deep and real not in seen else []  # a link may lead back
        if real in seen:
            continue
        seen.add(real)
        for path in (Path(root, name) for name in names):
            suffix = path.suffix.lower()
            if path.name.startswith("."):
                others["hidden"] += 1
            elif suffix in (*SUFFIXES, ".npy"):
                images.append(path)
            else:
                others[suffix or "without a suffix"] += 1
    return sorted(images), others


def tell_left_out(folder: Path, others: Mapping[str, int]) -> list[str]:
    """A sentence about the files in `folder` that are not used, how many for each reason, if there are some."""
    kinds = [f"{kind} ({count})" for kind, count in sorted(others.items()) if count]
    return [f"{_name(folder)}: left out: {', '.join(kinds)}."] if kinds else []


def _name(folder: Path) -> str:
    return "/".join(folder.parts[-2:])
