"""All figures under one name, e.g. `figures.curves(rows, path)`: each puts plain numbers into a PNG.

matplotlib takes a second to load, so a figure's file is imported when it is called for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcv.report.bars import class_bars, group_bars, sweep_bars
    from jaxcv.report.confusion import confusion_matrix
    from jaxcv.report.curves import compare_runs, curves, schedules
    from jaxcv.report.embedding import draw_pca, draw_tsne
    from jaxcv.report.images import image_grid, image_rows, worst_classified
    from jaxcv.report.masks import mask_panels, overlay_panels

_HOMES = {
    "bars": ("class_bars", "group_bars", "sweep_bars"),
    "confusion": ("confusion_matrix",),
    "curves": ("compare_runs", "curves", "schedules"),
    "embedding": ("draw_features", "draw_pca", "draw_tsne"),
    "images": ("image_grid", "image_rows", "worst_classified"),
    "masks": ("mask_panels", "overlay_panels", "paint"),
}

__all__ = [
    "class_bars",
    "compare_runs",
    "confusion_matrix",
    "curves",
    "draw_pca",
    "draw_tsne",
    "group_bars",
    "image_grid",
    "image_rows",
    "mask_panels",
    "overlay_panels",
    "schedules",
    "sweep_bars",
    "worst_classified",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"jaxcv.report.{home}"), name)
    raise AttributeError(f"there is no figure {name!r}")
