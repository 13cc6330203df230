"""All figures under one name, e.g. `figures.curves(rows, path)`: each draws plain numbers into a PNG."""

from jaxcv.report.bars import class_bars, group_bars, sweep_bars
from jaxcv.report.confusion import confusion_matrix
from jaxcv.report.curves import compare_runs, curves, schedules
from jaxcv.report.embedding import draw_pca, draw_tsne
from jaxcv.report.images import image_grid, image_rows, worst_classified
from jaxcv.report.masks import mask_panels, overlay_panels

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
