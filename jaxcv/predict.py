"""What a trained network predicts for a folder of images, and the files that hold it: a task's `write` is one of these.

Only the run's network and what it knew of its data are needed, not the data.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxcv.data.image_folder import image_files
from jaxcv.data.images import SUFFIXES, open_image, stretch, to_rgb
from jaxcv.data.pipeline import eval_batches
from jaxcv.data.source import Info
from jaxcv.errors import DataError, UserError
from jaxcv.store.files import write_atomic, write_json


class Trained(NamedTuple):
    """A run's network, ready to predict."""

    info: Info
    devices: int  # a batch is a multiple of it
    tile: int  # px, side of the windows that a segmenter sees; 0: the whole image
    run: Callable[[np.ndarray], dict[str, np.ndarray]]  # uint8 (b, h, w, c) -> what the task's `predict` gives
    write: Callable[..., None] | None  # the task's: (trained, images, out, *, batch_size, tile)


def find_images(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The images in or below `folder` with any of `suffixes`, sorted. DataError if there is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds images.")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))
    if not files:
        raise DataError(f"there is no image in {folder}.")
    return files


def predictions(trained: Trained, images: Path, *, batch_size: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(file relative to `images`, {name: the network's output for it}) for each image in or below `images`, sorted.

    Images are decoded as those of a folder of training images are: short side to the run's canvas, central square.
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


def write_probabilities(trained: Trained, images: Path, out: str, *, batch_size: int = 64, **_: Any) -> None:
    """A row for each image: file, class, and the probability of every class, as `write_rows` writes them."""
    classes = trained.info.classes
    _write_table(trained, images, out, batch_size, "class", lambda probability: classes[int(probability.argmax())])


def write_labels(trained: Trained, images: Path, out: str, *, batch_size: int = 64, **_: Any) -> None:
    """A row for each image: file, labels (the classes of probability above 0.5, joined by ";"), and the probability of
    every class, as `write_rows` writes them."""

    def labels(probability: np.ndarray) -> str:
        return ";".join(name for name, p in zip(trained.info.classes, probability) if p > 0.5)

    _write_table(trained, images, out, batch_size, "labels", labels)


def _write_table(
    trained: Trained, images: Path, out: str, batch_size: int, column: str, answer: Callable[[np.ndarray], str]
) -> None:
    check_table(out)
    rows = []
    for file, prediction in predictions(trained, images, batch_size=batch_size):
        probability = prediction["probability"]
        row = {"file": file, column: answer(probability)}
        rows.append(row | {name: float(p) for name, p in zip(trained.info.classes, probability)})
    write_rows(rows, out)


def write_features(trained: Trained, images: Path, out: str, *, batch_size: int = 64, **_: Any) -> None:
    """A row for each image: file, and its feature's values, as `write_rows` writes them."""
    check_table(out)
    rows = []
    for file, prediction in predictions(trained, images, batch_size=batch_size):
        rows.append({"file": file} | {f"feature_{i}": float(x) for i, x in enumerate(prediction["feature"])})
    write_rows(rows, out)


def write_masks(trained: Trained, images: Path, out: str, *, tile: int | None = None, **_: Any) -> None:
    """For each image the mask, NAME.png, and NAME_overlay.png, in the image's own size, into the folder `out`."""
    from jaxcv.report.masks import save_prediction

    if not out or Path(out).suffix:
        raise UserError("say --out=DIR, a folder for the masks.")
    count = 0
    for file, image, mask in masks(trained, images, tile=tile):
        save_prediction(Path(out) / file.relative_to(images).with_suffix(""), image, mask, trained.info.palette)
        count += 1
    print(f"{out}: masks of {count} images")


def check_table(out: str) -> None:
    """Raises UserError unless `write_rows` can write `out`."""
    if out and Path(out).suffix not in (".csv", ".json"):
        raise UserError(f"--out={out} must end in .csv or .json.")


def write_rows(rows: list[dict[str, Any]], out: str) -> None:
    """Rows of the same columns into `out`, .csv or .json, or where it is empty as CSV to the terminal."""
    if out.endswith(".json"):
        write_json(out, rows)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        if out:
            write_atomic(out, text.getvalue().encode())
        else:
            print(text.getvalue(), end="")
    if out:
        print(f"{out}: {len(rows)} images")


def masks(trained: Trained, images: Path, *, tile: int | None = None) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yields (file, image uint8 (h, w, 3), mask uint8 (h, w)) for each image in or below `images`, in its own size.

    tile: the side in pixels of the windows that are seen one by one, as large as the images of training were before
    they were resized; they overlap by a quarter at least, where their logits are added. 0: the whole image is one.
    None: the run's own. A window is resized to the run's canvas, and its logits back, bilinearly.
    """
    tile = trained.tile if tile is None else tile
    height, width, _ = trained.info.shape
    for file in find_images(images):
        image = to_rgb(open_image(file))
        boxes = windows(image.height, image.width, tile)
        total = np.zeros((len(trained.info.classes), image.height, image.width), np.float32)
        for i in range(0, len(boxes), trained.devices):
            some = boxes[i : i + trained.devices]
            seen = [stretch(image.crop((left, top, right, bottom)), height, width) for top, left, bottom, right in some]
            seen += seen[:1] * (trained.devices - len(some))
            for (top, left, bottom, right), logits in zip(some, trained.run(np.stack(seen))["logits"]):
                for channel, scores in zip(total, logits.transpose(2, 0, 1)):
                    size = (right - left, bottom - top)
                    back = Image.fromarray(scores).resize(size, Image.Resampling.BILINEAR)
                    channel[top:bottom, left:right] += np.asarray(back)
        yield file, np.asarray(image), total.argmax(0).astype(np.uint8)


def windows(height: int, width: int, tile: int) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of windows of `tile` pixels, or less where the image is smaller, that cover an image
    evenly and overlap by a quarter at least; 0: one of the image's size."""

    def spans(size: int) -> list[tuple[int, int]]:
        if not 0 < tile < size:
            return [(0, size)]
        count = 1 + math.ceil((size - tile) / (0.75 * tile))
        starts = np.linspace(0, size - tile, count).round().astype(int)
        return [(int(start), int(start) + tile) for start in starts]

    return [(top, left, bottom, right) for top, bottom in spans(height) for left, right in spans(width)]


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) -> (..., 1): luma, as Pillow's mode L (ITU-R 601-2)."""
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.round(luma)[..., None].astype(np.uint8)
