"""Colourisation: one of a palette's colours for each pixel of a grey image, which is segmentation of that image.

The mask holds the index in the palette of each pixel's colour.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.config import call
from jaxcv.report import figures
from jaxcv.report.results import Results
from jaxcv.task import Batch, Setup, Task
from jaxcv.tasks import segment


def make(setup: Setup, *, loss: str = "cross_entropy") -> Task:
    """Segmentation of grey images; the classes are the colours.  loss: one of jaxcv.tasks.segment.LOSSES."""
    call(lambda: None, setup.augment, group="augment")  # no augmentation
    return segment.make_task(setup, augment, grey, segment.make_loss(setup.info, loss))._replace(draw=draw)


def grey(image: jax.Array) -> jax.Array:
    """uint8 (..., c) -> float32 (..., 1) in [0, 1): the mean of the channels over 256."""
    return image.astype(jnp.float32).mean(-1, keepdims=True) / 256


def augment(key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """The batch with the grey `image` and its `mask`, int32; nothing is random."""
    return {**batch, "image": grey(batch["image"]), "mask": batch["mask"].astype(jnp.int32)}


def draw(results: Results, folder: Path) -> None:
    """The first examples: what the network sees, the colours to be found, and those predicted at each step."""
    batch, palette = results.batch, results.info.palette
    masks = {"truth": batch["mask"]}
    masks |= {f"step {step}": out["prediction"] for step, out in sorted(results.predictions.items())}
    seen = batch["image"].mean(-1, keepdims=True).round().astype(np.uint8)
    colours = {title: figures.paint(mask, palette) for title, mask in masks.items()}
    figures.image_rows({"input": seen, **colours}, folder / "colors.png", titles=results.names)
