"""All figures under one name, e.g. `figures.curves(rows, path)`: the data first, then the PNG to write."""
# ruff: noqa: F401

from jaxcv.report.bars import class_bars, group_bars, sweep_bars
from jaxcv.report.confusion import confusion_matrix
from jaxcv.report.curves import compare_runs, curves, schedules
from jaxcv.report.embedding import draw_features, draw_pca, draw_tsne
from jaxcv.report.images import image_grid, image_rows, worst_classified
from jaxcv.report.masks import mask_panels, paint
