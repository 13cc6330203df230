"""Features in the plane, which show what a network tells apart.

scikit-learn takes a second to load, so it is imported where it is used.
"""

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

_COLOURS = (*style.PALETTE, "#999999", "#882255", "#F0E442")  # ten: the most common number of classes
_LOOKS = list(product(("o", "s", "^", "X", "D", "v", "P"), _COLOURS))
_PANEL = 2.3  # inches


def draw_pca(
    features: Mapping[str, np.ndarray], path: str | Path, *, labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Plots features along their first two principal components, which each panel has of its own, with the share of the
    variance that each explains.

    features: title of a panel, e.g. "step 100" -> (n, d) features of the same n images, n >= 4, d >= 2; centred, not
    scaled. labels: (n,) ints below the number of `classes`, 70 at most.
    """
    _panels(features, path, labels, classes, _pca, "PCA, each panel along its own components")


def draw_tsne(
    features: Mapping[str, np.ndarray], path: str | Path, *, labels: np.ndarray, classes: Sequence[str]
) -> None:
    """Plots features by t-SNE (van der Maaten & Hinton 2008), each panel on its own; arguments as for `draw_pca`.

    Distances are Euclidean, after PCA to 50 dimensions; PCA also gives the initial points. The perplexity is 30, or
    (n - 1) / 3 if that is less.
    """
    perplexity = _perplexity(len(labels))
    _panels(features, path, labels, classes, _tsne, f"t-SNE, each panel on its own, perplexity {perplexity:.3g}")


def draw_features(results: Results, folder: Path) -> None:
    """Plots pca.png and tsne.png of the examples' "feature" at each step; nothing without labels, with too few images,
    or with more classes than can be told apart."""
    classes, predictions = results.info.classes, sorted(results.predictions.items())
    if not 0 < len(classes) <= len(_LOOKS) or len(results.batch["label"]) < 4:
        return
    features = {f"step {step}": out["feature"] for step, out in predictions}
    draw_pca(features, folder / "pca.png", labels=results.batch["label"], classes=classes)
    draw_tsne(features, folder / "tsne.png", labels=results.batch["label"], classes=classes)


def _pca(features: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Points (n, 2) and the labels of the two axes."""
    from sklearn.decomposition import PCA

    pca = PCA(2, random_state=0).fit(features)
    axes = [f"PC {i} ({100 * share:.0f} %)" for i, share in enumerate(pca.explained_variance_ratio_, 1)]
    return pca.transform(features), axes


def _tsne(features: np.ndarray) -> tuple[np.ndarray, list[str]]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features = PCA(min(50, *features.shape), random_state=0).fit_transform(features)
    features /= features[:, 0].std()  # t-SNE does not depend on the scale, but sums float32 squares
    with threadpool_limits(1, user_api="openmp"):  # its threads wait for each other, for long where cores are shared
        points = TSNE(perplexity=_perplexity(len(features)), init="pca", random_state=0).fit_transform(features)
    return points, ["", ""]


def _perplexity(n: int) -> float:
    return min(30.0, (n - 1) / 3)


def _panels(
    features: Mapping[str, np.ndarray],
    path: str | Path,
    labels: np.ndarray,
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
    names = [style.cut(name, style.NAME, style.SMALL) for name in classes]
    width = max(_PANEL * len(features), 3.5)
    columns = style.legend_columns(names, width, style.SMALL)
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
        style.legend_below(figure, handles, columns)


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Plots points as markers of their classes, in random order, so that no class covers the others."""
    order = np.random.default_rng(0).permutation(len(points))
    names, colours = zip(*(_LOOKS[label] for label in labels[order]))
    markers = [MarkerStyle(name) for name in names]
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
