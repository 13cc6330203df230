"""Predictions of a trained network for a folder of images, without its training data.

The `write` of a task is one of the functions here that write files.
"""

import csv
import io
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxcv.data.image_folder import image_files
from jaxcv.data.images import SUFFIXES, open_image, stretch, to_rgb
from jaxcv.data.labels import read_rows, unlabelled
from jaxcv.data.pipeline import eval_batches
from jaxcv.data.source import Info
from jaxcv.errors import DataError, UserError
from jaxcv.report.masks import save_prediction
from jaxcv.report.tables import wilson_interval
from jaxcv.store.files import write_atomic, write_json


class Trained(NamedTuple):
    """The network of a run, ready to predict."""

    info: Info
    devices: int  # batch sizes must be multiples of it
    tile: int  # px, side of the windows that a segmentation network gets; 0: the whole image
    run: Callable[[np.ndarray], dict[str, np.ndarray]]  # uint8 (b, h, w, c) -> the outputs of the task's `predict`
    write: Callable[..., None] | None  # the task's: (trained, images, out, *, labels, batch_size, tile)


def find_images(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The images in or below `folder` with any of `suffixes`, sorted. Raises DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds images.")
    files = [item.file for item in unlabelled(folder).items if item.file.suffix.lower() in suffixes]
    if not files:
        raise DataError(f"there is no image in {folder}.")
    return files


def predictions(trained: Trained, images: Path, *, batch_size: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yields (file relative to `images`, {name: output}) for each image in or below `images`, sorted.

    As in training from a folder, the short side is resized to the run's image size and the central square is used.
    """
    files = find_images(images, (*SUFFIXES, ".npy"))
    height, width, channels = trained.info.shape
    if height != width:
        raise UserError(f"this run's images are {height} x {width}; only square ones can be decoded from a folder.")
    info = trained.info._replace(shape=(height, width, 3 if channels == 1 else channels))
    source = image_files("images", images, files, info)
    batch_size = -(-batch_size // trained.devices) * trained.devices
    for i, batch in enumerate(eval_batches(source, batch_size=batch_size)):
        out = trained.run(grey(batch["image"]) if channels == 1 else batch["image"])
        for row, file in enumerate(files[i * batch_size : (i + 1) * batch_size]):
            yield file.relative_to(images).as_posix(), {name: array[row] for name, array in out.items()}


def write_probabilities(
    trained: Trained, images: Path, out: str, *, labels: str = "", batch_size: int = 64, **_: Any
) -> None:
    """Writes a row for each image: file, class, and the probability of every class; see `write_rows`.

    labels: a CSV or class folders, see `true_labels`. The row then has the column "label" too, and the accuracy is
    printed and written beside `out`, as NAME_score.json; the rows of images without a label do not count.
    """
    classes = trained.info.classes
    truth = true_labels(Path(labels), images, classes) if labels else {}

    def row(file: str, prediction: Mapping[str, np.ndarray]) -> dict[str, str | float]:
        probability = prediction["probability"]
        known = {"label": truth.get(file, "")} if labels else {}
        return {"class": classes[int(probability.argmax())], **known, **dict(zip(classes, probability.tolist()))}

    rows = write_rows(trained, images, out, row, batch_size=batch_size)
    if labels:
        hits = [row["class"] == row["label"] for row in rows if row["label"]]
        low, high = wilson_interval(sum(hits), len(hits))
        score = {"accuracy": sum(hits) / len(hits), "accuracy_95_low": low, "accuracy_95_high": high}
        interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f} %, Wilson"
        _say(f"accuracy {100 * score['accuracy']:.2f} % ({interval}): {sum(hits)} of {len(hits)} images")
        if out:
            score_file = Path(out).with_name(f"{Path(out).stem}_score.json")
            write_json(score_file, {**score, "correct": sum(hits), "images": len(hits)})


def true_labels(labels: Path, images: Path, classes: Sequence[str]) -> dict[str, str]:
    """{file relative to `images`: its label}, of the images in or below `images` that have one.

    labels: a CSV with the columns filename, relative to `images`, and label; or a folder of class folders that hold
    images of the same names, such as `images` itself. Says what has no label or no image, and raises DataError for
    labels that are none of the `classes`, and where no image has one.
    """
    if labels.is_dir():
        places = [file.relative_to(labels) for file in find_images(labels, (*SUFFIXES, ".npy"))]
        truth = {place.as_posix(): place.parts[0] for place in places if len(place.parts) > 1}
    elif labels.is_file():
        truth = {}
        for line, row in enumerate(read_rows(labels, ("filename", "label")), 2):
            name, label = Path(row["filename"].strip()).as_posix(), row["label"].strip()
            if truth.setdefault(name, label) != label:
                raise DataError(f"{labels} line {line}: {name} is {label!r}, but {truth[name]!r} in a line before it.")
        truth = {name: label for name, label in truth.items() if label}
    else:
        raise DataError(f"there is no {labels}; --labels is a CSV, or a folder of class folders.")
    if unknown := Counter(label for label in truth.values() if label not in classes):
        some = _some([f"{label!r} ({count})" for label, count in unknown.items()])
        raise DataError(f"{labels} has labels that are no class of this run: {some}; its classes are {_some(classes)}.")
    files = {file.relative_to(images).as_posix() for file in find_images(images, (*SUFFIXES, ".npy"))}
    if not files & truth.keys():
        raise DataError(f"no image in {images} has a label in {labels}, which names {_some(truth) or 'none'}.")
    for names, what in (
        (files - truth.keys(), "images without a label"),
        (truth.keys() - files, "labels without an image"),
    ):
        if names:
            _say(f"{len(names)} {what} are not scored: {_some(sorted(names))}")
    return {name: truth[name] for name in files & truth.keys()}


def _some(names: Collection[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _say(text: str) -> None:
    """Prints beside the standard output, which may be the table."""
    print(text, file=sys.stderr)


def _refuse_labels(labels: str) -> None:
    if labels:
        raise UserError(f"--labels={labels} scores a classifier into one class an image, which this run is not.")


def write_labels(trained: Trained, images: Path, out: str, *, labels: str = "", batch_size: int = 64, **_: Any) -> None:
    """Writes a row for each image: file, labels (the classes of probability above 0.5, joined by ";"), and the
    probability of every class; see `write_rows`."""
    _refuse_labels(labels)
    classes = trained.info.classes

    def row(file: str, prediction: Mapping[str, np.ndarray]) -> dict[str, str | float]:
        probability = dict(zip(classes, prediction["probability"].tolist()))
        return {"labels": ";".join(name for name, p in probability.items() if p > 0.5), **probability}

    write_rows(trained, images, out, row, batch_size=batch_size)


def write_features(
    trained: Trained, images: Path, out: str, *, labels: str = "", batch_size: int = 64, **_: Any
) -> None:
    """Writes a row for each image: file, and the values of its feature; see `write_rows`."""
    _refuse_labels(labels)

    def row(file: str, prediction: Mapping[str, np.ndarray]) -> dict[str, str | float]:
        return {f"feature_{i}": value for i, value in enumerate(prediction["feature"].tolist())}

    write_rows(trained, images, out, row, batch_size=batch_size)


def write_rows(
    trained: Trained,
    images: Path,
    out: str,
    row: Callable[[str, Mapping[str, np.ndarray]], dict[str, str | float]],
    *,
    batch_size: int,
) -> list[dict[str, str | float]]:
    """Writes the file and `row(file, prediction)` of each image to `out`, .csv or .json; empty: as CSV to the terminal.
    Returns the rows."""
    if out and Path(out).suffix not in (".csv", ".json"):
        raise UserError(f"--out={out} must end in .csv or .json.")
    outputs = predictions(trained, images, batch_size=batch_size)
    rows = [{"file": file, **row(file, prediction)} for file, prediction in outputs]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if not out:
        print(text.getvalue(), end="", flush=True)
        return rows
    if out.endswith(".json"):
        write_json(out, rows)
    else:
        write_atomic(out, text.getvalue().encode())
    print(f"{out}: {len(rows)} images")
    return rows


def write_masks(
    trained: Trained, images: Path, out: str, *, labels: str = "", tile: int | None = None, **_: Any
) -> None:
    """Writes the mask of each image, NAME.png, and NAME_overlay.png, in the image's size, into the folder `out`."""
    _refuse_labels(labels)
    if not out or Path(out).suffix:
        raise UserError("give --out=DIR, a folder for the masks.")
    [(name, times)] = Counter(file.with_suffix("") for file in find_images(images)).most_common(1)
    if times > 1:
        raise DataError(f"{times} images are named {name}, and so would their masks be: rename all but one.")
    count = 0
    for file, image, mask in masks(trained, images, tile=tile):
        path = Path(out) / file.relative_to(images).with_suffix("")
        save_prediction(mask, path, image=image, palette=trained.info.palette)
        count += 1
    print(f"{out}: masks of {count} images")


def masks(trained: Trained, images: Path, *, tile: int | None = None) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yields (file, image uint8 (h, w, 3), mask uint8 (h, w)) for each image in or below `images`, in its own size.

    tile: side in pixels of the windows that the network gets one by one, like that of the training images before they
    were resized; 0: the whole image; None: that of the run. Windows overlap by at least a quarter, where their logits
    are added. A window is resized to the run's image size, and its logits back, bilinearly.
    """
    tile = trained.tile if tile is None else tile
    height, width, _ = trained.info.shape
    for file in find_images(images):
        image = to_rgb(open_image(file))
        boxes = windows(image.height, image.width, tile)
        total = np.zeros((len(trained.info.classes), image.height, image.width), np.float32)
        for i in range(0, len(boxes), trained.devices):
            part = boxes[i : i + trained.devices]
            batch = [
                stretch(image.crop((left, top, right, bottom)), height, width) for top, left, bottom, right in part
            ]
            batch += batch[:1] * (trained.devices - len(part))
            for (top, left, bottom, right), logits in zip(part, trained.run(np.stack(batch))["logits"]):
                for channel, scores in zip(total, logits.transpose(2, 0, 1)):
                    size = (right - left, bottom - top)
                    resized = Image.fromarray(scores).resize(size, Image.Resampling.BILINEAR)
                    channel[top:bottom, left:right] += np.asarray(resized)
        yield file, np.asarray(image), total.argmax(0).astype(np.uint8)


def windows(height: int, width: int, tile: int) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of evenly spaced windows that cover an image and overlap by at least a quarter.

    tile: their side in pixels, less if the image is smaller; 0: one window, the whole image.
    """

    def spans(size: int) -> list[tuple[int, int]]:
        if not 0 < tile < size:
            return [(0, size)]
        count = 1 + math.ceil((size - tile) / (0.75 * tile))
        starts = np.linspace(0, size - tile, count).round().astype(int)
        return [(int(start), int(start) + tile) for start in starts]

    return [(top, left, bottom, right) for top, bottom in spans(height) for left, right in spans(width)]


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) -> uint8 (..., 1): luma (ITU-R 601-2), as in Pillow's mode L."""
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.round(luma)[..., None].astype(np.uint8)
