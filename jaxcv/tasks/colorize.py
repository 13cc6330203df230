"""Colourisation: a grey image to one of a palette's colours for each pixel, which is segmentation of a grey image.

The mask holds the palette's index of each pixel's colour; the network sees the mean of the channels over 256.
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
    """Colourisation, from grey images to logits for the colours, which are the classes; loss as in segment."""
    call(lambda: None, setup.augment, group="augment")  # nothing is augmented
    return segment.make_task(setup, augment=augment, prepare=grey, loss=loss)._replace(draw=draw)


def grey(image: jax.Array) -> jax.Array:
    """uint8 (..., c) -> float32 (..., 1) in [0, 1): the mean of the channels over 256."""
    return image.astype(jnp.float32).mean(-1, keepdims=True) / 256


def augment(key: jax.Array, batch: Batch) -> dict:
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
