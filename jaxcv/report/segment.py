"""The figures with which a segmentation run ends."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.report import figures

_MOST = 8  # images in a figure


def draw(
    folder: Path,
    *,
    info: Any,
    names: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[int, Mapping[str, np.ndarray]],
    batch: Mapping[str, np.ndarray],
) -> None:
    """Draws confusion matrix and class scores of the test split, and of the first examples the predicted masks, as
    they became and, the last ones, over their images.

    info: what is known of the data: `classes`, their `palette`, and the label to `ignore`. names: of the images of
    `batch`. arrays: "split/name" -> what the evaluation gave as an array, with nan for a class that its mean leaves
    out. examples: step -> what `predict` says of `batch`; the last step's are those that are reported.
    """
    iou = arrays["test/class_iou"]
    ap = {"AP": arrays["test/class_ap"]} if "test/class_ap" in arrays else {}
    figures.confusion_matrix(
        arrays["test/confusion"][:-1, :-1],  # without void pixels
        folder / "confusion.png",
        classes=info.classes,
        scores={**ap, "IoU": iou},
        unit="pixels",
    )
    figures.class_bars(iou, folder / "class_iou.png", classes=info.classes, metric="iou")

    truth = {"truth": batch["mask"][:_MOST]}
    predictions = {f"step {step}": out["prediction"][:_MOST] for step, out in sorted(examples.items())}
    last = {"prediction": predictions[f"step {max(examples)}"]}
    images, looks = batch["image"][:_MOST], {"classes": info.classes, "palette": info.palette, "ignore": info.ignore}
    figures.mask_panels(images, truth | predictions, folder / "masks.png", names=names[:_MOST], **looks)
    figures.overlay_panels(images, truth | last, folder / "overlays.png", names=names[:_MOST], **looks)
