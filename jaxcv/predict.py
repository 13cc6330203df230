"""What a trained network says of a folder of images, from its workdir alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcv.data.image_folder import Folder, scan
from jaxcv.data.pipeline import eval_batches
from jaxcv.data.source import Info
from jaxcv.errors import DataError, UserError
from jaxcv.experiment import make_network
from jaxcv.mesh import make_mesh, put, replicated
from jaxcv.pretrained import read_config, read_state


def predict(workdir: Path, images: Path, *, batch_size: int = 64) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """Yields (file, {name: array}) for each image in or below `images`, sorted: what the task's `predict` says.

    The state is the one that the run reported on, or the latest. Images are decoded as those of a folder of training
    images are: short side to the run's canvas, central square.
    """
    info = read_info(workdir)
    network = make_network(read_config(workdir), info)
    mesh = make_mesh()
    params, extra = jax.device_put(read_state(workdir, reported_step(workdir)), replicated(mesh))
    if not images.is_dir():
        raise DataError(f"there is no folder {images}; name one that holds images.")
    files = [file for file, _ in scan(images)]
    if not files:
        raise DataError(f"there is no image in {images}.")
    height, width, channels = info.shape
    if height != width:
        raise UserError(f"this run's images are {height} x {width}; only square ones can be decoded from a folder.")
    source = Folder(
        "images", files, np.zeros(len(files), np.int32), info._replace(shape=(height, width, 3)), cache_bytes=0
    )
    run = jax.jit(network.predict, out_shardings=replicated(mesh))
    done = 0
    batch_size = -(-batch_size // mesh.size) * mesh.size
    for batch in eval_batches(source, batch_size=batch_size):
        image = batch["image"] if channels == 3 else grey(batch["image"])
        out = jax.device_get(run(params, extra, put(mesh, {"image": image})["image"]))
        for row in range(min(batch_size, len(files) - done)):
            yield files[done + row], {name: value[row] for name, value in out.items()}
        done += batch_size


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


def class_rows(workdir: Path, images: Path, **options: Any) -> Iterator[dict[str, Any]]:
    """A row for each image: file, class, and the probability of every class. UserError if the run is no classifier."""
    classes = read_info(workdir).classes
    for file, out in predict(workdir, images, **options):
        if "probability" not in out:
            raise UserError(f"the run in {workdir} gives no class probabilities: its task is no classification.")
        probability = out["probability"]
        row = {"file": file.relative_to(images).as_posix(), "class": classes[int(probability.argmax())]}
        yield row | {name: float(p) for name, p in zip(classes, probability)}
