"""Figures: the same bytes twice, whole pixels, and what is on the axes."""

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from PIL import Image

from jaxcv.errors import DataError
from jaxcv.report import figures


def rows():
    rng = np.random.default_rng(0)
    out = []
    for step in range(10, 1001, 10):
        loss = math.nan if step == 500 else math.exp(-step / 300) + 0.1 * rng.normal()
        out.append({"step": step, "train/loss": loss, "train/tau": 1 - 1e-3 / step, "time/s": rng.random()})
        if step % 200 == 0:
            out.append({"step": step, "val/loss": 0.5, "val/knn_accuracy": step / 2000})
    return [*out, {"step": 1000, "test/knn_accuracy": 0.5}]


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)

DRAW = {
    "curves": lambda path: figures.curves(rows(), path),
    "groups": lambda path: figures.curves(rows(), path, groups={"health": ("tau", "none"), "no": ("none",)}),
    "schedules": lambda path: figures.schedules({"learning_rate": (np.arange(9), np.linspace(0, 1, 9))}, path),
    "view_pairs": lambda path: figures.view_pairs((IMAGES, IMAGES), path, titles=["a", "b", "c" * 99]),
    "image_grid": lambda path: figures.image_grid(IMAGES, path, titles=["a\nb", "$x", ""], columns=2),
}


@pytest.mark.parametrize("name", DRAW)
def test_the_same_numbers_give_the_same_bytes(name, tmp_path):
    DRAW[name](tmp_path / "one.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # a user's own style does not matter
        DRAW[name](tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert set(image.info) == {"dpi"}
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert min(image.size) > 100 and np.asarray(image).std() > 5


@pytest.fixture
def drawn(monkeypatch):
    """The figures saved, as objects."""
    kept = []
    save = figures._save
    monkeypatch.setattr(figures, "_save", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def test_panels_of_curves(tmp_path, drawn):
    figures.curves(rows(), tmp_path / "x.png")
    panels = {axes.get_ylabel(): axes for axes in drawn[0].axes}
    assert list(panels) == ["loss", "knn accuracy (%)", "tau"]
    assert {axes.get_xlabel() for axes in drawn[0].axes} == {"step"}
    raw, smooth, val = panels["loss"].lines
    assert raw.get_alpha() < 0.5 and smooth.get_alpha() is None and val.get_marker() == "o"
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["train", "val", "test"]
    val, test = panels["knn accuracy (%)"].lines
    np.testing.assert_array_equal(val.get_xdata(), [200, 400, 600, 800, 1000])
    assert test.get_xdata() == [1000] and test.get_marker() == "o"  # a single point is visible
    assert "40" in [text.get_text() for text in panels["knn accuracy (%)"].get_yticklabels()]


def test_at_most_three_columns(tmp_path, drawn):
    for count in (1, 2, 4, 7):
        row = {"step": 1, **{f"train/m{i}": 1.0 for i in range(count)}}
        figures.curves([row], tmp_path / "x.png")
        columns = drawn[-1].axes[0].get_subplotspec().get_gridspec().ncols
        assert columns == {1: 1, 2: 2, 4: 2}.get(count, 3)
        assert len(drawn[-1].axes) == count


def test_groups_share_a_panel(tmp_path, drawn):
    row = {"step": 1, "train/a": 1.0, "train/b": 2.0, "val/b": 2.0, "train/loss": 3.0}
    figures.curves([row], tmp_path / "x.png", groups={"both": ("a", "b")})
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["loss", "both"]
    labels = [text.get_text() for text in drawn[0].axes[1].get_legend().texts]
    assert labels == ["a", "b (train)", "b (val)"]


def test_running_mean_against_a_plain_loop():
    values = np.random.default_rng(0).normal(size=50)
    values[[7, 20, 21, 22, 23, 24]] = np.nan
    expected = []
    for i in range(50):
        near = values[max(0, i - 2) : i + 3]
        near = near[np.isfinite(near)]
        expected.append(near.mean() if len(near) else np.nan)
    np.testing.assert_allclose(figures._running_mean(values, 5), expected, atol=1e-12)


def test_curves_of_only_nan_are_drawn(tmp_path):
    figures.curves([{"step": 1, "train/loss": math.nan}, {"step": 2, "train/loss": math.inf}], tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_no_metrics_is_said(tmp_path):
    with pytest.raises(DataError, match="no metrics"):
        figures.curves([{"step": 3, "time/x": 1.0}], tmp_path / "x.png")


def tile(path, x, y, h, w):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[y : y + h, x : x + w]


@pytest.mark.parametrize("size", [(5, 7), (32, 32), (33, 128), (200, 1)])
def test_images_are_enlarged_by_whole_factors(tmp_path, size):
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8)
    figures.image_grid(images, tmp_path / "x.png")
    factor = max(1, round(128 / max(size)))
    h, w = size[0] * factor, size[1] * factor
    for i, image in enumerate(images):
        expected = np.kron(image, np.ones((factor, factor, 1), np.uint8))
        np.testing.assert_array_equal(tile(tmp_path / "x.png", 6 + i * (w + 6), 6, h, w), expected)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (6 + 2 * (w + 6), 12 + h)


def test_large_images_are_averaged(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (1, 601, 400, 3), np.uint8)
    figures.image_grid(image, tmp_path / "x.png")
    expected = np.asarray(Image.fromarray(image[0, :600, :399]).reduce(3))
    got = tile(tmp_path / "x.png", 6, 6, 200, 133)
    assert np.abs(got.astype(int) - expected).max() <= 1  # Pillow rounds halves its own way


def test_floats_and_grey(tmp_path):
    grey = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(1, 16, 16, 1)
    figures.image_grid(grey, tmp_path / "x.png")
    expected = np.kron(np.rint(grey[0] * 255).astype(np.uint8), np.ones((8, 8, 3), np.uint8))
    np.testing.assert_array_equal(tile(tmp_path / "x.png", 6, 6, 128, 128), expected)


def test_view_pairs_labels_rows_and_cuts_the_count(tmp_path, drawn):
    images = np.zeros((5, 16, 16, 1), np.float32)
    figures.view_pairs((np.zeros((9, 20, 20, 3), np.uint8), images, images), tmp_path / "x.png", count=4)
    assert [text.get_text() for text in drawn[0].texts] == ["original", "view 1", "view 2"]
    with Image.open(tmp_path / "x.png") as image:
        assert 4 * 128 < image.width < 5 * 128 and 3 * 120 < image.height < 4 * 128


def test_no_text_is_cut_off_or_overlaps(tmp_path, drawn):
    titles = [name * 4 for name in ("WWWW", "iiii", "dog ", "$_^")]
    figures.view_pairs((IMAGES[[0, 1, 2, 0]],) * 3, tmp_path / "x.png", titles=titles)
    figure = drawn[0]
    renderer = RendererAgg(figure.bbox.width, figure.bbox.height, 150)
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 4, 4)), "b h w c"),
        (np.zeros((2, 4, 4, 2)), "1 or 3 channels"),
        (np.zeros((0, 4, 4, 3)), "b h w c"),
        (np.full((1, 4, 4, 3), 255.0), r"from 255 to 255: expected \[0, 1\]"),
        (np.zeros((1, 4, 4, 3), np.int64), "int64: expected uint8"),
    ],
)
def test_wrong_images_are_named(tmp_path, images, message):
    with pytest.raises(DataError, match=message):
        figures.image_grid(images, tmp_path / "x.png")


def test_wrong_pairs_are_named(tmp_path):
    with pytest.raises(DataError, match="needs 2 arrays"):
        figures.view_pairs((IMAGES,), tmp_path / "x.png")
    with pytest.raises(DataError, match=r"\[3, 2\]"):
        figures.view_pairs((IMAGES, IMAGES[:2]), tmp_path / "x.png")
