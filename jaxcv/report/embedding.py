"""Features in the plane, so that one sees what a network tells apart. scikit-learn takes a second to load: not
before it is called for."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import IdentityTransform

from jaxcv.errors import DataError
from jaxcv.report import style
from jaxcv.report.results import Results

_COLOURS = (*style.PALETTE, "#999999", "#882255", "#F0E442")  # ten: the most frequent number of classes
_LOOKS = list(product(("o", "s", "^", "X", "D", "v", "P"), _COLOURS))
_PANEL = 2.3  # inches
_NAME = 1.5  # inches at most for the name of a class
_SIZE = 7  # points


def draw_pca(
    features: Mapping[str, np.ndarray], labels: np.ndarray, path: str | Path, *, classes: Sequence[str]
) -> None:
    """Draw features along their first two principal components, with the part of the variance that each holds;
    every panel has components of its own.

    features: title of a panel, e.g. "step 100" -> (n, d) features of the same n images; centred, not scaled.
    n >= 4, d >= 2. labels: (n,) ints below the number of `classes`, 70 at most.
    """
    _panels(features, labels, path, classes, _pca, "PCA, each panel along its own components")


def draw_tsne(
    features: Mapping[str, np.ndarray], labels: np.ndarray, path: str | Path, *, classes: Sequence[str]
) -> None:
    """Draw features by t-SNE (van der Maaten & Hinton 2008), every panel on its own; arguments as for
    `draw_pca`.

    The distances are Euclidean, after PCA to 50 dimensions; the start is PCA, the perplexity 30, or (n - 1) / 3
    if that is less.
    """
    perplexity = _perplexity(len(labels))
    _panels(features, labels, path, classes, _tsne, f"t-SNE, each panel on its own, perplexity {perplexity:.3g}")


def draw_features(folder: Path, results: Results) -> None:
    """Draw pca.png and tsne.png of the examples' "feature" at each step; nothing without labels, with too few images,
    or with more classes than can be told apart."""
    classes, predictions = results.info.classes, sorted(results.predictions.items())
    if not 0 < len(classes) <= len(_LOOKS) or len(results.batch["label"]) < 4:
        return
    features = {f"step {step}": out["feature"] for step, out in predictions}
    draw_pca(features, results.batch["label"], folder / "pca.png", classes=classes)
    draw_tsne(features, results.batch["label"], folder / "tsne.png", classes=classes)


def _pca(features: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Points (n, 2) and what the axes are."""
    from sklearn.decomposition import PCA

    fitted = PCA(2, random_state=0).fit(features)
    return fitted.transform(features), [
        f"PC {i} ({100 * part:.0f} %)" for i, part in enumerate(fitted.explained_variance_ratio_, 1)
    ]


def _tsne(features: np.ndarray) -> tuple[np.ndarray, list[str]]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features = PCA(min(50, *features.shape), random_state=0).fit_transform(features)
    features /= features[:, 0].std()  # t-SNE does not depend on the scale, but sums float32 squares
    with threadpool_limits(1, user_api="openmp"):  # its threads wait for each other: where cores are shared, for long
        points = TSNE(perplexity=_perplexity(len(features)), init="pca", random_state=0).fit_transform(features)
    return points, ["", ""]


def _perplexity(n: int) -> float:
    return min(30.0, (n - 1) / 3)


def _panels(
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    path: str | Path,
    classes: Sequence[str],
    project: Callable[[np.ndarray], tuple[np.ndarray, list[str]]],
    title: str,
) -> None:
    labels = np.asarray(labels)
    if not 1 <= len(classes) <= len(_LOOKS):
        raise DataError(f"{path} can tell {len(_LOOKS)} classes apart, got {len(classes)}.")
    for name, values in features.items():
        if np.ndim(values) != 2 or len(values) != len(labels) or len(values) < 4 or values.shape[1] < 2:
            raise DataError(
                f"{path} needs ({len(labels)}, d) features in {name!r}, at least (4, 2), got {np.shape(values)}."
            )
    if not np.isin(labels, range(len(classes))).all():
        raise DataError(f"{path} needs labels from 0 to {len(classes) - 1}, got {labels.min()} to {labels.max()}.")
    names = [style.cut(name, _NAME, _SIZE) for name in classes]
    width = max(_PANEL * len(features), 3.5)
    columns = style.legend_columns(names, width, _SIZE)
    with style.drawing(path, width, _PANEL + 0.5 + 0.15 * -(-len(names) // columns)) as figure:
        figure.suptitle(title)
        for axes, (name, values) in zip(figure.subplots(1, len(features), squeeze=False)[0], features.items()):
            axes.set_title(name)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            values = np.asarray(values, np.float64)
            if not np.isfinite(values).all():
                axes.text(0.5, 0.5, "features are not finite", ha="center", transform=axes.transAxes)
            elif not np.ptp(values, axis=0).any():
                axes.text(0.5, 0.5, "all features are equal", ha="center", transform=axes.transAxes)
            else:
                points, (x, y) = project(values)
                _scatter(axes, points, labels)
                axes.set_xlabel(x)
                axes.set_ylabel(y)
        handles = [
            Line2D([], [], linestyle="", marker=marker, color=colour, label=name)
            for (marker, colour), name in zip(_LOOKS, names)
        ]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            prop=style.font(_SIZE),
            handlelength=1,
            handletextpad=0.3,
            columnspacing=1,
        )


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Points in the looks of their classes, in mixed order: no class covers the others."""
    order = np.random.default_rng(0).permutation(len(points))
    markers, colours = zip(*(_LOOKS[label] for label in labels[order]))
    markers = [MarkerStyle(marker) for marker in markers]
    dots = PathCollection(
        [marker.get_path().transformed(marker.get_transform()) for marker in markers],
        sizes=[np.clip(7000 / len(points), 6, 14)],
        offsets=points[order],
        offset_transform=axes.transData,
        facecolors=colours,
        edgecolors="none",
        alpha=0.8,
        transform=IdentityTransform(),  # a marker's size is in points
    )
    axes.add_collection(dots)
    axes.autoscale_view()
