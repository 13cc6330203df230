"""The figures with which a run ends that learns features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.report import figures

MOST_CLASSES = 70  # that a scatter plot can tell apart


def draw(
    folder: Path,
    *,
    info: Any,
    names: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[int, Mapping[str, np.ndarray]],
    batch: Mapping[str, np.ndarray],
) -> None:
    """Draws PCA and t-SNE of the features of `batch` at each step of `examples`; nothing without labels."""
    if not 0 < len(info.classes) <= MOST_CLASSES or len(batch["label"]) < 4:
        return
    features = {f"step {step}": out["feature"] for step, out in sorted(examples.items())}
    figures.draw_pca(features, batch["label"], folder / "pca.png", classes=info.classes)
    figures.draw_tsne(features, batch["label"], folder / "tsne.png", classes=info.classes)
