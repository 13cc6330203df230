"""What a trained network says of a folder of images, from its workdir alone."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from jaxcv.data.image_folder import Folder, scan
from jaxcv.data.images import open_image, stretch
from jaxcv.data.pipeline import eval_batches
from jaxcv.data.source import Info
from jaxcv.errors import DataError, UserError
from jaxcv.experiment import make_network
from jaxcv.mesh import make_mesh, put, replicated
from jaxcv.store.weights import read_config, read_state


class Trained(NamedTuple):
    """A run's network, ready to be asked."""

    info: Info
    config: Any
    mesh: Mesh
    run: Callable  # uint8 (b, h, w, c) -> {name: array}: what the task's `predict` says


def load_run(workdir: Path) -> Trained:
    """The network of the run in `workdir`, at the state that it reported on, or the latest."""
    info, config = read_info(workdir), read_config(workdir)
    network, mesh = make_network(config, info), make_mesh()
    params, model_state = jax.device_put(read_state(workdir, reported_step(workdir)), replicated(mesh))
    forward = jax.jit(network.predict, out_shardings=replicated(mesh))

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        return jax.device_get(forward(params, model_state, put(mesh, {"image": image})["image"]))

    return Trained(info, config, mesh, run)


def find_images(folder: Path) -> list[Path]:
    """The images in or below `folder`, sorted. DataError if there is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name one that holds images.")
    files = [file for file, _ in scan(folder)]
    if not files:
        raise DataError(f"there is no image in {folder}.")
    return files


def class_rows(trained: Trained, images: Path, *, batch_size: int = 64) -> Iterator[dict[str, Any]]:
    """A row for each image in or below `images`, sorted: file, class, and the probability of every class.

    Images are decoded as those of a folder of training images are: short side to the run's canvas, central square.
    """
    files = find_images(images)
    height, width, channels = trained.info.shape
    if height != width:
        raise UserError(f"this run's images are {height} x {width}; only square ones can be decoded from a folder.")
    info = trained.info._replace(shape=(height, width, 3))
    source = Folder("images", files, np.zeros(len(files), np.int32), info, cache_bytes=0)
    batch_size = -(-batch_size // trained.mesh.size) * trained.mesh.size
    for i, batch in enumerate(eval_batches(source, batch_size=batch_size)):
        out = trained.run(batch["image"] if channels == 3 else grey(batch["image"]))
        for file, probability in zip(files[i * batch_size :], out["probability"]):
            name = file.relative_to(images).as_posix()
            row = {"file": name, "class": trained.info.classes[int(probability.argmax())]}
            yield row | {name: float(p) for name, p in zip(trained.info.classes, probability)}


def masks(trained: Trained, images: Path, *, tile: int | None = None) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yields (file, image uint8 (h, w, 3), mask uint8 (h, w)) for each image in or below `images`, in its own size.

    tile: the side in pixels of the windows that are seen one by one, as large as the images of training were before
    they were resized; they overlap by a quarter at least, where their logits are added. 0: the whole image is one.
    None: the run's config.eval.tile, 0 where it has none. A window is resized to the run's canvas, and its logits back,
    bilinearly.
    """
    tile = trained.config.eval.get("tile", 0) if tile is None else tile
    height, width, _ = trained.info.shape
    for file in find_images(images):
        image = open_image(file).convert("RGB")
        boxes = windows(image.height, image.width, tile)
        total = np.zeros((len(trained.info.classes), image.height, image.width), np.float32)
        for i in range(0, len(boxes), trained.mesh.size):
            some = boxes[i : i + trained.mesh.size]
            seen = [stretch(image.crop((left, top, right, bottom)), height, width) for top, left, bottom, right in some]
            seen += seen[:1] * (trained.mesh.size - len(some))
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


def read_info(workdir: Path) -> Info:
    """What the run knew of its data: classes, shape, mean and standard deviation."""
    try:
        info = json.loads((workdir / "manifest.json").read_text())["info"]
        return Info(**{name: tuple(value) if isinstance(value, list) else value for name, value in info.items()})
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{workdir} is not the workdir of a run: it has no readable manifest.json.") from None


def reported_step(workdir: Path) -> int | None:
    """The step whose test result the run reported, None where it has not finished."""
    file = workdir / "result.json"
    return json.loads(file.read_text())["reported_step"] if file.exists() else None
