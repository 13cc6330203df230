"""Pictures of images: whole pixels, and text that is neither cut off nor overlaps."""

from functools import partial

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from PIL import Image

from jaxcv.errors import DataError
from jaxcv.report import style
from jaxcv.report.images import image_grid, image_rows, worst_classified

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    """The figures saved, as objects."""
    kept = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def tile(path, x, y, h, w):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[y : y + h, x : x + w]


@pytest.mark.parametrize("size", [(5, 7), (32, 32), (33, 128), (200, 1)])
def test_images_are_enlarged_by_whole_factors(tmp_path, size):
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8)
    image_grid(images, tmp_path / "x.png")
    factor = max(1, round(128 / max(size)))
    h, w = size[0] * factor, size[1] * factor
    for i, image in enumerate(images):
        expected = np.kron(image, np.ones((factor, factor, 1), np.uint8))
        np.testing.assert_array_equal(tile(tmp_path / "x.png", 6 + i * (w + 6), 6, h, w), expected)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (6 + 2 * (w + 6), 12 + h)


def test_large_images_are_averaged(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (1, 601, 400, 3), np.uint8)
    image_grid(image, tmp_path / "x.png")
    expected = np.asarray(Image.fromarray(image[0, :600, :399]).reduce(3))
    got = tile(tmp_path / "x.png", 6, 6, 200, 133)
    assert np.abs(got.astype(int) - expected).max() <= 1  # Pillow rounds halves its own way


def test_floats_and_grey(tmp_path):
    grey = np.linspace(0, 1, 16 * 16, dtype=np.float32).reshape(1, 16, 16, 1)
    image_grid(grey, tmp_path / "x.png")
    expected = np.kron(np.rint(grey[0] * 255).astype(np.uint8), np.ones((8, 8, 3), np.uint8))
    np.testing.assert_array_equal(tile(tmp_path / "x.png", 6, 6, 128, 128), expected)


def test_rows_have_titles_and_the_count_is_cut(tmp_path, drawn):
    images = np.zeros((5, 16, 16, 1), np.float32)
    rows = {"image": np.zeros((9, 20, 20, 3), np.uint8), **{f"version {i}": images for i in range(1, 5)}}
    image_rows(rows, tmp_path / "x.png", count=4)
    assert [text.get_text() for text in drawn[0].texts] == list(rows)
    with Image.open(tmp_path / "x.png") as image:
        assert 4 * 128 < image.width < 5 * 128 and 5 * 120 < image.height < 6 * 128


def test_the_worst_classified_stand_first(tmp_path, drawn):
    images = np.stack([np.full((128, 128, 3), 40 * i, np.uint8) for i in range(4)])
    probabilities = np.array([[0.9, 0.06, 0.04], [0.3, 0.6, 0.1], [0.004, 0.006, 0.99], [0.2, 0.5, 0.3]])
    draw = partial(worst_classified, images, tmp_path / "x.png", labels=[0, 2, 1, 1], probabilities=probabilities)
    draw(classes=["cat", "dog", "bird"], count=3)
    assert [text.get_text() for text in drawn[0].texts] == [
        "1 % dog\n→ 99 % bird",
        "10 % bird\n→ 60 % dog",
        "50 % dog\n→ 50 % dog",
    ]
    shown = [tile(tmp_path / "x.png", 6 + 134 * i, 6 + 2 * 16, 128, 128) for i in range(3)]
    np.testing.assert_array_equal(shown, images[[2, 1, 3]])
    with pytest.raises(DataError, match=r"labels \(4,\) and probabilities \(4, 2\), got \(4,\) and \(4, 3\)"):
        draw(classes=["cat", "dog"])


def test_no_text_is_cut_off_or_overlaps(tmp_path, drawn):
    titles = [name * 4 for name in ("WWWW", "iiii", "dog ", "$_^")]
    image_rows(
        dict.fromkeys(("image", "view 1", "a longer title"), IMAGES[[0, 1, 2, 0]]), tmp_path / "x.png", titles=titles
    )
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
        image_grid(images, tmp_path / "x.png")


def test_uneven_rows_are_named(tmp_path):
    with pytest.raises(DataError, match=r"{'image': 3, 'view': 2}"):
        image_rows({"image": IMAGES, "view": IMAGES[:2]}, tmp_path / "x.png")
    with pytest.raises(DataError, match="got {}"):
        image_rows({}, tmp_path / "x.png")
