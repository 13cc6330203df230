"""The figures with which a colourisation run ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.report import figures
from jaxcv.report.masks import paint


def draw(
    folder: Path,
    *,
    info: Any,
    names: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[int, Mapping[str, np.ndarray]],
    batch: Mapping[str, np.ndarray],
) -> None:
    """Draws the first examples: what the network sees, the colours to be found, and those found at each step.

    info: of the data, with the `palette` (k, 3) that a mask's numbers stand for. names: of the images of `batch`.
    examples: step -> what `predict` says of `batch`.
    """
    masks = {"truth": batch["mask"]} | {f"step {step}": out["prediction"] for step, out in sorted(examples.items())}
    grey = batch["image"].mean(-1, keepdims=True).round().astype(np.uint8)
    colours = {title: paint(mask, info.palette) for title, mask in masks.items()}
    figures.image_rows({"input": grey, **colours}, folder / "colors.png", titles=names)
