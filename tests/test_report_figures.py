"""Charts: the same bytes twice, and what is on the axes, against scikit-learn, numpy and the standard library."""

import inspect
import math
import statistics
from functools import partial
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from PIL import Image
from sklearn.metrics import accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from jaxcv.errors import DataError
from jaxcv.report import curves, embedding, figures, style


def series(rows):
    """The rows of a log as `Series` reads them."""
    keys = {key for row in rows for key in row} - {"step"}
    points = {key: [(row["step"], row[key]) for row in rows if key in row] for key in keys}
    return {key: (np.array([s for s, _ in pairs]), np.array([v for _, v in pairs])) for key, pairs in points.items()}


def rows():
    rng = np.random.default_rng(0)
    out = []
    for step in range(10, 1001, 10):
        loss = math.nan if step == 500 else math.exp(-step / 300) + 0.1 * rng.normal()
        out.append({"step": step, "train/loss": loss, "train/tau": 1 - 1e-3 / step, "time/s": rng.random()})
        if step % 200 == 0:
            out.append({"step": step, "val/loss": 0.5, "val/knn_accuracy": step / 2000})
    return [*out, {"step": 1000, "test/knn_accuracy": 0.5}]


NAMES = ["T-shirt", "a $long$ name " * 5, "_"]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
LABELS = np.arange(24) % 3
FEATURES = {
    "step 0": np.zeros((24, 5)),
    "step 5": np.full((24, 5), math.nan),
    "step 10": 9 * np.eye(5, dtype=np.float32)[LABELS] + np.random.default_rng(0).normal(size=(24, 5)),
}
SWEEP = {"from scratch": [0.5, 0.6, 0.55], "frozen": [0.2, None], "diverged": [1.0, math.inf], "to come": []}
GROUPS = {"a": [0.5, math.nan, 1], "b": [[0.1, 0.2, 0.3], [0.2, 0.4, 0.6]]}

MASK = {"classes": NAMES, "palette": IMAGES[:, 0, 0], "ignore": 3}
DRAW = {
    "mask_panels": partial(figures.mask_panels, IMAGES, masks={"truth": IMAGES[..., 0] % 4}, names=NAMES, **MASK),
    "curves": partial(figures.curves, series(rows())),
    "schedules": partial(figures.schedules, {"learning_rate": (np.arange(9), np.linspace(0, 1, 9))}),
    "compare_runs": partial(figures.compare_runs, {"a": ([1, 2], [0, math.nan]), "b": ([], [])}, metric="val_loss"),
    "confusion_matrix": partial(figures.confusion_matrix, [[3, 1, 0], [0, 0, 0], [1, 2, 999]], classes=NAMES),
    "class_bars": partial(figures.class_bars, [0.5, math.nan, 1], classes=NAMES),
    "sweep_bars": partial(figures.sweep_bars, SWEEP, metric="accuracy", references={"frozen": 0.2, "none": 7}),
    "group_bars": partial(figures.group_bars, GROUPS, groups=NAMES),
    "draw_pca": partial(figures.draw_pca, FEATURES, labels=LABELS, classes=NAMES),
    "draw_tsne": partial(figures.draw_tsne, FEATURES, labels=LABELS, classes=NAMES),
    "image_rows": partial(figures.image_rows, {"x": IMAGES, "y": IMAGES}, titles=NAMES),
    "image_grid": partial(figures.image_grid, IMAGES, titles=["a\nb", "$x", ""], columns=2),
    "worst_classified": partial(
        figures.worst_classified, IMAGES, labels=[0, 1, 2], probabilities=np.eye(3), classes=NAMES
    ),
}


def test_every_figure_is_drawn_here():
    parameters = {name: [*inspect.signature(f).parameters] for name, f in vars(figures).items() if callable(f)}
    assert {name for name, names in parameters.items() if "path" in names} == set(DRAW)
    assert {names[1] for names in parameters.values()} == {"path", "folder", "palette"}  # the last of `paint`


@pytest.mark.parametrize("name", DRAW)
def test_the_same_numbers_give_the_same_bytes(name, tmp_path):
    DRAW[name](path=tmp_path / "one.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # a user's own style does not matter
        DRAW[name](path=tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert set(image.info) == {"dpi"}
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert min(image.size) > 100 and np.asarray(image).std() > 5


@pytest.fixture
def drawn(monkeypatch):
    """The figures as objects, laid out but not saved."""
    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or figure.draw_without_rendering())
    return kept


def extents(figure, texts):
    """Bounding boxes in pixels, once the figure is laid out."""
    renderer = RendererAgg(figure.bbox.width, figure.bbox.height, style.DPI)
    return [text.get_window_extent(renderer) for text in texts]


def texts(artists):
    return [text.get_text() for text in artists]


def test_panels_of_curves(drawn):
    figures.curves(series(rows()), "x.png")
    panels = {axes.get_ylabel(): axes for axes in drawn[0].axes}
    assert list(panels) == ["loss", "knn accuracy (%)", "tau"]
    assert {axes.get_xlabel() for axes in drawn[0].axes} == {"step"}
    raw, smooth, val = panels["loss"].lines
    assert raw.get_alpha() < 0.5 and smooth.get_alpha() is None and val.get_marker() == "o"
    assert texts(drawn[0].legends[0].texts) == ["train", "val", "test"]
    val, test = panels["knn accuracy (%)"].lines
    np.testing.assert_array_equal(val.get_xdata(), [200, 400, 600, 800, 1000])
    assert test.get_xdata() == [1000] and test.get_marker() == "o"  # a single point is visible
    assert "40" in texts(panels["knn accuracy (%)"].get_yticklabels())


def test_at_most_three_columns(drawn):
    for count in (1, 2, 4, 7):
        row = {"step": 1, **{f"train/m{i}": 1.0 for i in range(count)}}
        figures.curves(series([row]), "x.png")
        columns = drawn[-1].axes[0].get_subplotspec().get_gridspec().ncols
        assert columns == {1: 1, 2: 2, 4: 2}.get(count, 3)
        assert len(drawn[-1].axes) == count


def test_running_mean_against_a_plain_loop():
    values = np.random.default_rng(0).normal(size=50)
    values[[7, 20, 21, 22, 23, 24]] = np.nan
    expected = []
    for i in range(50):
        near = values[max(0, i - 2) : i + 3]
        near = near[np.isfinite(near)]
        expected.append(near.mean() if len(near) else np.nan)
    np.testing.assert_allclose(curves._running_mean(values, 5), expected, atol=1e-12)


def test_a_long_series_is_drawn_by_the_extremes_and_means_of_its_parts(drawn):
    values = np.random.default_rng(0).normal(size=100_001)
    values[[31_000, 62_000]], values[5] = (9.0, -9.0), np.nan
    values[7_000:7_200] = np.nan
    figures.curves({"train/loss": (np.arange(100_001), values)}, "x.png")
    raw, smooth = drawn[0].axes[0].lines
    x, y = raw.get_data()
    assert len(x) <= 2 * curves._PARTS and (np.diff(x) > 0).all()
    np.testing.assert_array_equal(y, values[x])
    assert dict(zip(x, y))[31_000] == 9 and dict(zip(x, y))[62_000] == -9 and np.isnan(y).sum() == 3
    x, y = smooth.get_data()
    assert len(x) == len(y) <= curves._PARTS
    half = 51 * (len(x) // 20 // 2)  # 51 values are a part
    expected = [np.nanmean(values[max(0, 51 * i - half) : 51 * (i + 1) + half]) for i in range(len(x))]
    np.testing.assert_allclose(y, expected, atol=2e-3)
    short = np.arange(3), np.array([1.0, np.nan, 2.0])
    np.testing.assert_equal(curves._extremes(*short), short)


def test_curves_of_only_nan_are_drawn(tmp_path):
    diverged = [{"step": 1, "train/loss": math.nan}, {"step": 2, "train/loss": math.inf}]
    figures.curves(series(diverged), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_characters_without_a_glyph_are_numbers_and_do_not_warn(drawn, monkeypatch):
    monkeypatch.setattr(style, "_characters", lambda: frozenset(map(ord, "a bc…U+0123456789ABCDEF")))
    assert style.readable(" a\t猫b\n🐶") == "a U+732Bb U+1F436"
    assert style.cut("a" * 99 + "猫", 1.0, 7).endswith("aaa…")
    names = ["猫", "🐶", "a" * 99]
    figures.confusion_matrix(np.eye(3), "x.png", classes=names)  # a warning is an error here
    figures.class_bars(np.ones(3), "x.png", classes=names)
    figures.group_bars({name: np.ones(3) for name in names}, "x.png", groups=names)
    figures.compare_runs({name: ([1], [1]) for name in names}, "x.png", metric="猫")
    figures.curves({"val/猫": (np.array([1]), np.array([1.0]))}, "x.png")
    assert texts(drawn[0].axes[0].get_yticklabels())[:2] == ["U+732B", "U+1F436"]
    for figure in drawn[2:4]:
        assert texts(figure.legends[0].texts)[:2] == ["U+732B", "U+1F436"]
        width = figure.bbox.width
        assert all(box.x0 >= 0 and box.x1 <= width for box in extents(figure, figure.legends[0].texts))


def test_no_metrics_is_said():
    with pytest.raises(DataError, match="no metrics"):
        figures.curves(series([{"step": 3, "time/x": 1.0}]), "x.png")
    with pytest.raises(DataError, match="no run has logged val_loss"):
        figures.compare_runs({"a": ([], [])}, "x.png", metric="val_loss")


def test_runs_are_told_apart(drawn):
    runs = {f"run {i}": ([0, 10], [i, math.nan if i else 1]) for i in range(9)}
    figures.compare_runs(runs, "x.png", metric="val_accuracy")
    (axes,) = drawn[0].axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 9
    np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], [y for _, y in runs.values()])
    assert texts(drawn[0].legends[0].texts) == list(runs)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "val accuracy (%)")


def test_confusion_matrix_against_sklearn(drawn):
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 3, 2000), rng.choice(4, 2000, p=[0.5, 0.4, 0.099, 0.001])
    counts = sklearn_confusion(true, predicted, labels=range(4))
    figures.confusion_matrix(counts, "x.png", classes=["a", "b", "c", "none"])
    axes = drawn[0].axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown[:3], sklearn_confusion(true, predicted, labels=range(4), normalize="true")[:3])
    assert shown.mask[3].all()  # grey: there are no examples
    cells = {text.get_position(): text.get_text() for text in axes.texts}  # (predicted, true)
    for row, column in np.ndindex(3, 4):
        percent = 100 * counts[row, column] / counts[row].sum()
        expected = None if percent == 0 else "<1" if percent < 1 else f"{percent:.0f}"
        assert cells.get((column, row)) == expected
    assert "<1" in cells.values()
    assert axes.get_title() == f"accuracy {100 * accuracy_score(true, predicted):.2f} % of 2000 examples"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


@pytest.mark.parametrize("n", [10, 100])
def test_the_names_of_many_classes_stay_apart(n, drawn):
    classes = [f"{i} is a class" for i in range(n)]
    figures.confusion_matrix(np.full((n, n), 7), "x.png", classes=classes)
    figures.class_bars(np.full(n, 0.7), "x.png", classes=classes)
    matrix, bars = drawn
    axes = matrix.axes[0]
    assert len(axes.texts) == (n * n if n <= 10 else 0)  # numbers only where they fit
    groups = [axes.get_xticklabels(), axes.get_yticklabels()]
    groups += [[*part.get_yticklabels(), *part.texts] for part in bars.axes]
    for figure, labels in zip([matrix, matrix, *[bars] * len(bars.axes)], groups):
        boxes = extents(figure, labels)
        for one, two in pairwise(boxes):
            assert not one.overlaps(two)
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert [name for part in bars.axes for name in texts(part.get_yticklabels())] == classes
    assert max(*matrix.get_size_inches(), *bars.get_size_inches()) < 11


def test_class_bars(drawn):
    figures.class_bars([0.25, math.nan, 0.75], "x.png", classes=["a", "b", "c"])
    (axes,) = drawn[0].axes
    np.testing.assert_array_equal([bar.get_width() for bar in axes.patches], [0.25, math.nan, 0.75])
    assert axes.lines[0].get_xdata() == [0.5, 0.5] and texts(drawn[0].legends[0].texts) == ["mean 50.0"]
    assert texts(axes.texts) == ["25.0", "–", "75.0"]
    assert axes.yaxis_inverted() and axes.get_xlabel() == "accuracy (%)"
    figures.class_bars([math.nan, math.nan], "x.png", classes="ab", metric="iou")
    assert texts(drawn[1].legends[0].texts) == ["mean –"] and drawn[1].axes[0].get_xlabel() == "IoU"


def test_sweep_bars(drawn):
    figures.sweep_bars(SWEEP, "x.png", metric="test_accuracy", references={"to come": 0.4, "unknown": 9.0})
    (axes,) = drawn[0].axes
    expected = [statistics.mean(SWEEP["from scratch"]), 0.2, math.nan, math.nan]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], expected)
    (mean, row), (end, _) = axes.collections[0].get_segments()[0].mean(0), axes.collections[0].get_segments()[0][1]
    assert (mean, row) == pytest.approx((expected[0], 0))
    assert end - mean == pytest.approx(statistics.stdev(SWEEP["from scratch"]))
    seeds, reference = axes.lines[-2:]
    np.testing.assert_allclose(seeds.get_xdata(), [0.5, 0.6, 0.55, 0.2, 1.0, math.inf])
    np.testing.assert_array_equal(reference.get_xydata(), [[0.4, 3]])
    assert texts(axes.texts) == ["55.00 ± 5.00 %", "20.00 %", "inf ± nan %", "–"]
    assert texts(drawn[0].legends[0].texts) == ["one seed", "reference"]
    figures.sweep_bars({"to come": []}, "x.png", metric="loss")
    assert texts(drawn[1].legends[0].texts) == ["one seed"]


def test_group_bars(drawn):
    figures.group_bars(GROUPS, "x.png", groups=NAMES)
    (axes,) = drawn[0].axes
    heights = [[bar.get_height() for bar in bars] for bars in (axes.containers[1], axes.containers[3])]
    np.testing.assert_allclose(heights, [[0.5, math.nan, 1], [0.15, 0.3, 0.45]])
    starts = np.array([bar.get_x() for bars in (axes.containers[1], axes.containers[3]) for bar in bars])
    np.testing.assert_allclose(starts, [-0.4, 0.6, 1.6, 0, 1, 2], atol=1e-9)
    lows, highs = zip(*(segment[:, 1] for segment in axes.collections[1].get_segments()))
    spread = [statistics.stdev(pair) for pair in zip(*GROUPS["b"])]
    np.testing.assert_allclose((np.array(highs) - lows) / 2, spread)
    classes = [f"class {i}" for i in range(50)]
    figures.group_bars({"a": np.ones(50), "b": np.ones(50)}, "x.png", groups=classes)
    assert len(drawn[1].axes) == 2
    labels = [label for axes in drawn[1].axes for label in axes.get_xticklabels()]
    assert texts(labels) == classes
    boxes = extents(drawn[1], labels)
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])


def test_pca_against_numpy(drawn):
    figures.draw_pca(FEATURES, "x.png", labels=LABELS, classes=NAMES)
    first, second, axes = drawn[0].axes
    assert [panel.get_title() for panel in drawn[0].axes] == list(FEATURES)
    assert texts(first.texts) == ["all features are equal"] and texts(second.texts) == ["features are not finite"]
    centred = FEATURES["step 10"] - FEATURES["step 10"].mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    parts = 100 * s**2 / (s**2).sum()
    assert axes.get_xlabel() == f"PC 1 ({parts[0]:.0f} %)" and axes.get_ylabel() == f"PC 2 ({parts[1]:.0f} %)"
    points = axes.collections[0].get_offsets()
    order = np.random.default_rng(0).permutation(24)
    np.testing.assert_allclose(np.abs(points), np.abs(u * s)[order, :2], atol=1e-9)
    assert [tuple(colour[:3]) for colour in axes.collections[0].get_facecolors()] == [
        to_rgb(style.PALETTE[label]) for label in LABELS[order]
    ]
    legend = drawn[0].legends[0]
    assert texts(legend.texts)[::2] == NAMES[::2] and texts(legend.texts)[1].endswith("…")
    assert [line.get_color() for line in legend.get_lines()] == list(style.PALETTE[:3])


def test_tsne_keeps_what_is_together_at_any_scale():
    features = FEATURES["step 10"]
    points, _ = embedding._tsne(features)
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(24)
    np.testing.assert_array_equal(LABELS[distances.argmin(1)], LABELS)
    scaled, _ = embedding._tsne(features * 2.0**80)
    np.testing.assert_array_equal(scaled, points)


def test_seventy_classes_fit_and_look_different(drawn):
    classes = [f"Some_class_{i}" for i in range(70)]
    features = np.random.default_rng(0).normal(size=(70, 4))
    figures.draw_pca({"step 0": features, "step 1": features}, "x.png", labels=np.arange(70), classes=classes)
    lines = drawn[0].legends[0].get_lines()
    assert len({(line.get_marker(), line.get_color()) for line in lines}) == 70
    boxes = extents(drawn[0], drawn[0].legends[0].texts)
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drawn[0].bbox.x1 for box in boxes)
    assert drawn[0].axes[0].get_position().height * drawn[0].get_size_inches()[1] > 1.5  # room for the points


@pytest.mark.parametrize(
    "draw, message",
    [
        (partial(figures.confusion_matrix, np.ones((2, 3)), classes="ab"), r"2 x 2 counts .* got \(2, 3\)"),
        (partial(figures.confusion_matrix, np.ones((1, 1)), classes="a"), "at least 2"),
        (partial(figures.class_bars, [1.0], classes="ab"), r"each of the 2 classes, got \(1,\)"),
        (partial(figures.sweep_bars, {}, metric="loss"), "no rows"),
        (partial(figures.group_bars, {"a": [1.0]}, groups="ab"), r"\(seeds, 2\) .* {'a': \(1, 1\)}"),
        (
            partial(figures.draw_pca, {"s": np.ones((9, 2))}, labels=np.zeros(8, int), classes="a"),
            r"\(8, d\) .* got \(9, 2\)",
        ),
        (
            partial(figures.draw_tsne, {"s": np.ones((3, 2))}, labels=np.zeros(3, int), classes="a"),
            r"at least \(4, 2\)",
        ),
        (
            partial(figures.draw_pca, {"s": np.ones((4, 2))}, labels=np.arange(4), classes="abc"),
            "from 0 to 2, got 0 to 3",
        ),
        (
            partial(figures.draw_pca, {"s": np.ones((4, 2))}, labels=np.arange(4), classes="a" * 71),
            "70 classes apart, got 71",
        ),
    ],
)
def test_wrong_shapes_are_named(draw, message):
    with pytest.raises(DataError, match=message):
        draw(path="x.png")
