"""The figures with which a classification run ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.report import byol, figures


def draw(
    folder: Path,
    *,
    info: Any,
    names: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[int, Mapping[str, np.ndarray]],
    batch: Mapping[str, np.ndarray],
) -> None:
    """Draws confusion matrix and class accuracies of the test split, and of the examples features and worst errors.

    arrays: "split/name" -> what the evaluation gave as an array.  examples: step -> what `predict` says of `batch`;
    the last step's are those that are reported.  names: the examples'.
    """
    classes = info.classes
    figures.confusion_matrix(arrays["test/confusion"][:, :-1], folder / "confusion.png", classes=classes)
    figures.class_bars(arrays["test/class_accuracy"], folder / "class_accuracy.png", classes=classes)
    byol.draw(folder, info=info, names=names, arrays=arrays, examples=examples, batch=batch)
    last = examples[max(examples)]["probability"]
    figures.worst_classified(batch["image"], batch["label"], last, folder / "worst.png", classes=classes)
