"""Masks and overlays pixel by pixel, their panels, and the figures with which runs end that predict masks."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import ndimage
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from jaxcv.errors import DataError
from jaxcv.report import figures, style
from jaxcv.report.masks import overlay, paint
from jaxcv.report.results import Results
from jaxcv.tasks import colorize, segment

RNG = np.random.default_rng(0)
PALETTE = RNG.integers(0, 256, (5, 3), np.uint8)
IMAGES = RNG.integers(0, 256, (3, 20, 30, 3), np.uint8)
MASKS = RNG.integers(0, 5, (3, 4, 6), np.uint8).repeat(5, 1).repeat(5, 2)
CLASSES = ["sky", "road", "$a$", "tree", "a long name " * 9]
LOOKS = {"classes": CLASSES, "palette": PALETTE}


@pytest.fixture
def drawn(monkeypatch):
    """The figures as objects by the name of their file, laid out but not saved."""
    kept = {}

    def save(figure, path):
        kept[getattr(path, "name", path)] = figure
        figure.draw_without_rendering()

    monkeypatch.setattr(style, "save", save)
    return kept


def texts(artists):
    return [text.get_text() for text in artists]


def assert_apart_and_inside(figure, labels):
    renderer = RendererAgg(figure.bbox.width, figure.bbox.height, style.DPI)
    boxes = [label.get_window_extent(renderer) for label in labels]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_paint_against_pillow():
    picture = Image.fromarray(MASKS[0])
    picture.putpalette(PALETTE.tobytes())
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(paint(MASKS[0], PALETTE), expected)
    np.testing.assert_array_equal(paint(MASKS.astype(np.int32), PALETTE.tolist())[0], expected)
    assert paint(MASKS, PALETTE).dtype == np.uint8


@pytest.mark.parametrize("label", [255, 2])  # no class, and one
def test_what_is_ignored_is_striped(label):
    mask = MASKS[0].copy()
    mask[:, 8:] = label
    found, known = paint(mask, PALETTE, ignore=label), mask != label
    np.testing.assert_array_equal(found[known], PALETTE[mask[known]])
    stripes = found[:, 8:, 0]
    assert set(np.unique(stripes)) == {150, 255} and (found[:, 8:] == stripes[..., None]).all()
    np.testing.assert_array_equal(stripes[1:, :-1], stripes[:-1, 1:])  # they rise to the right
    changes = np.flatnonzero(np.diff(stripes[0].astype(int)))
    assert set(np.diff(changes)) == {2}


def test_overlay_against_pillow_and_scipy():
    found = overlay(IMAGES[0], MASKS[0], PALETTE, alpha=0.3)
    cross = ndimage.generate_binary_structure(2, 1)
    border = ndimage.morphological_gradient(MASKS[0], footprint=cross, mode="nearest") > 0
    painted = paint(MASKS[0], PALETTE)
    np.testing.assert_array_equal(found[border], painted[border])
    blended = np.asarray(Image.blend(Image.fromarray(IMAGES[0]), Image.fromarray(painted), 0.3))
    assert 0 < border.sum() < border.size and found.dtype == np.uint8
    assert np.abs(found[~border] - blended[~border].astype(int)).max() <= 1  # Pillow cuts decimals off


def test_overlay_of_many_and_of_grey_images():
    mask = np.where(MASKS == 4, 255, MASKS)
    found = overlay(IMAGES[..., :1], mask, PALETTE, ignore=255)
    for i in range(3):
        grey = IMAGES[i, ..., :1].repeat(3, -1)
        np.testing.assert_array_equal(found[i], overlay(grey, mask[i], PALETTE, ignore=255))
    flat = overlay(IMAGES[0], np.zeros((20, 30), int), PALETTE, alpha=0)
    np.testing.assert_array_equal(flat, IMAGES[0])


def test_borders_of_large_images_are_wider():
    mask = np.zeros((4, 1200), int)
    mask[:, 600:] = 1
    found = overlay(np.zeros((4, 1200, 3), np.uint8), mask, [[255] * 3, [255] * 3])
    np.testing.assert_array_equal(np.flatnonzero(found[0, :, 0] == 255), range(597, 603))


def test_mask_panels(drawn):
    masks = {"truth": np.where(MASKS == 4, 255, MASKS), "step 5": MASKS}
    figures.mask_panels(IMAGES, "x.png", masks=masks, names=["a", "$b", "c" * 99], ignore=255, **LOOKS)
    figure = drawn["x.png"]
    grid = np.reshape(figure.axes, (3, 3))
    assert [axes.get_title() for axes in grid[0]] == ["image", "truth", "step 5"]
    rows = [axes.get_ylabel() for axes in grid[:, 0]]
    assert rows[:2] == ["a", "$b"] and rows[2].endswith("c…")
    for row, image, truth, mask in zip(grid, IMAGES, *masks.values()):
        shown = [axes.images[0].get_array() for axes in row]
        expected = image, paint(truth, PALETTE, ignore=255), paint(mask, PALETTE)
        np.testing.assert_array_equal(shown, expected)
    legend = figure.legends[0]
    assert texts(legend.texts)[:4] == CLASSES[:4] and texts(legend.texts)[4].endswith("…")
    assert texts(legend.texts)[5:] == ["ignored"]
    *patches, striped = legend.get_patches()
    np.testing.assert_allclose([to_rgb(patch.get_facecolor()) for patch in patches], PALETTE / 255)
    assert striped.get_hatch() and not any(patch.get_hatch() for patch in patches)


def test_a_class_may_be_what_is_ignored(drawn):
    figures.mask_panels(IMAGES, "x.png", masks={"truth": MASKS}, names="abc", ignore=1, **LOOKS)
    legend = drawn["x.png"].legends[0]
    assert [*texts(legend.texts)[:3], texts(legend.texts)[4]] == ["sky", "$a$", "tree", "road (ignored)"]
    faces = [to_rgb(patch.get_facecolor()) for patch in legend.get_patches()[:4]]
    np.testing.assert_allclose(faces, PALETTE[[0, 2, 3, 4]] / 255)


@pytest.mark.parametrize("shape", [(8, 12), (600, 400)])
def test_only_the_colours_of_the_palette_in_the_file(tmp_path, shape, monkeypatch):
    mask = np.kron(np.arange(24).reshape(4, 6) % 5, np.ones((shape[0] // 4, shape[1] // 6), int))
    mask = np.pad(mask, [(0, a - b) for a, b in zip(shape, mask.shape)], mode="edge")
    kept, save = [], style.save
    monkeypatch.setattr(style, "save", lambda figure, path: (kept.append(figure), save(figure, path)))
    images = np.zeros((1, *shape, 3), np.uint8)
    figures.mask_panels(images, tmp_path / "x.png", masks={"truth": mask[None]}, names=["a"], **LOOKS)
    with Image.open(tmp_path / "x.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    box = kept[0].axes[1].get_window_extent()
    h, w = box.height, box.width
    assert max(h, w) == pytest.approx(style.DPI * 1.7, rel=0.1) and h / w == pytest.approx(
        shape[0] / shape[1], rel=0.02
    )
    centres = [(np.arange(n) + 0.5) / n for n in (4, 6)]  # of the blocks
    y = (len(pixels) - box.y1 + centres[0] * h).astype(int)
    x = (box.x0 + centres[1] * w).astype(int)
    np.testing.assert_array_equal(pixels[y][:, x], PALETTE[np.arange(24).reshape(4, 6) % 5])
    inside = pixels[int(y[0]) : int(y[-1]), int(x[0]) : int(x[-1])].reshape(-1, 3)
    assert {tuple(colour) for colour in inside.tolist()} == {tuple(colour) for colour in PALETTE.tolist()}


def test_overlay_panels(drawn):
    masks = {"truth": MASKS, "prediction": MASKS[::-1]}
    figures.mask_panels(IMAGES, "x.png", masks=masks, names="abc", alpha=0.4, **LOOKS)
    grid = np.reshape(drawn["x.png"].axes, (3, 3))
    assert [axes.get_title() for axes in grid[0]] == ["image", "truth", "prediction"]
    for row, image, truth, mask in zip(grid, IMAGES, *masks.values()):
        shown = [axes.images[0].get_array() for axes in row]
        expected = image, overlay(image, truth, PALETTE, alpha=0.4), overlay(image, mask, PALETTE, alpha=0.4)
        np.testing.assert_array_equal(shown, expected)
    assert len(drawn["x.png"].legends[0].texts) == 5


@pytest.mark.parametrize("n, h, w", [(2, 16, 16), (25, 16, 4), (25, 4, 16)])
def test_no_text_is_cut_off_or_overlaps(n, h, w, drawn):
    masks = dict.fromkeys(("truth", "step 0", "step 1000"), np.full((2, h, w), n))
    figures.mask_panels(
        np.zeros((2, h, w, 1), np.uint8),
        "x.png",
        masks=masks,
        names=["one", "two"],
        classes=[f"a class, number {i}" for i in range(n)],
        palette=np.zeros((n, 3), int),
        ignore=n,
    )
    figure = drawn["x.png"]
    labels = [*figure.legends[0].texts, *(axes.title for axes in figure.axes[:4])]
    labels += [axes.yaxis.label for axes in figure.axes[::4]]
    assert len(labels) == n + 7
    assert_apart_and_inside(figure, labels)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": IMAGES / 255}, r"uint8 \(3, h, w, c\) images, got float64 \(3, 20, 30, 3\)"),
        ({"images": IMAGES[:2]}, r"uint8 \(3, h, w, c\) images, got uint8 \(2, 20, 30, 3\)"),
        ({"masks": {"step 5": MASKS[:, 1:]}}, r"\(3, 20, 30\) masks in 'step 5', got \(3, 19, 30\)"),
        ({"classes": CLASSES[1:]}, "each of the 4 classes, got 5"),
        ({"masks": {"truth": MASKS.astype(int) - 1}}, "has the label -1, expected 0 to 4, or 255"),
        ({"masks": {"truth": MASKS + 1}, "ignore": 6}, "has the label 5, expected 0 to 4, or 6"),
        ({"palette": PALETTE / 255}, r"ints, got \(5, 3\) float64"),
        ({"palette": PALETTE[:, :2]}, r"ints, got \(5, 2\) uint8"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    given = {"images": IMAGES, "masks": {"truth": MASKS}, "path": "x.png", "names": "abc", **LOOKS}
    for alpha in (0.5, 1.0):
        with pytest.raises(DataError, match=message):
            figures.mask_panels(**given | change, alpha=alpha)


def test_scores_beside_the_confusion_matrix_against_sklearn(drawn):
    truth, predicted = RNG.integers(0, 3, 900), RNG.choice(4, 900, p=[0.5, 0.4, 0.09, 0.01])
    counts = sklearn_confusion(truth, predicted, labels=range(4))
    iou = jaccard_score(truth, predicted, labels=range(4), average=None)
    ap = [0.25, np.nan, 0.75, np.nan]
    draw = partial(figures.confusion_matrix, counts, classes=["a", "b", "c", "none"], unit="pixels")
    draw("plain.png")
    draw("x.png", scores={"AP": ap, "IoU": iou})
    axes, plain = drawn["x.png"].axes[0], drawn["plain.png"].axes[0]
    assert axes.get_title() == plain.get_title() and axes.get_title().endswith("of 900 pixels")
    np.testing.assert_array_equal(axes.images[0].get_array(), plain.images[0].get_array())
    assert texts(axes.get_xticklabels()) == ["a", "b", "c", "none", "AP, mean 0.50", f"IoU, mean {iou.mean():.2f}"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert {text.get_position(): text.get_text() for text in plain.texts}.items() <= cells.items()
    for column, image, x in zip((ap, iou), axes.images[1:], axes.get_xticks()[4:]):
        np.testing.assert_array_equal(image.get_array().filled(np.nan)[:, 0], column)
        left, right, bottom, top = image.get_extent()
        assert left >= 3.5 and (left + right) / 2 == pytest.approx(x) and (bottom, top) == (3.5, -0.5)
        assert [cells[x, row] for row in range(4)] == ["–" if np.isnan(score) else f"{score:.2f}" for score in column]
    with pytest.raises(DataError, match=r"IoU for each of the 4 classes, got \(3,\)"):
        draw("x.png", scores={"IoU": iou[:3]})


@pytest.mark.parametrize("n, numbers", [(2, 8), (60, 120)])  # too small for the numbers of the matrix
def test_scores_stay_apart(n, numbers, drawn):
    scores = {"AP": np.ones(n), "IoU": np.full(n, np.nan)}
    figures.confusion_matrix(np.full((n, n), 7), "x.png", classes=[f"class {i}" for i in range(n)], scores=scores)
    axes = drawn["x.png"].axes[0]
    assert len(axes.texts) == numbers
    assert_apart_and_inside(drawn["x.png"], [*axes.get_xticklabels(), *axes.texts, axes.title, axes.xaxis.label])


def test_what_a_segmentation_run_ends_with(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "_MOST", 2)
    info = SimpleNamespace(classes=tuple(CLASSES), palette=tuple(map(tuple, PALETTE.tolist())), ignore=255)
    arrays = {"test/confusion": np.eye(6), "test/class_iou": np.array([0.1, 0.2, 0.3, np.nan, 0.4])}

    def draw(n, **more):
        steps = {step: RNG.integers(0, 5, (n, 8, 8), np.uint8) for step in (1000, 0)}
        results = Results(
            info=info,
            names=[f"{i:04}" for i in range(n)],
            batch={"image": np.zeros((n, 8, 8, 3), np.uint8), "mask": np.full((n, 8, 8), 255, np.uint8)},
            predictions={step: {"prediction": mask} for step, mask in steps.items()},
            arrays=arrays | more,
        )
        segment.draw(results, tmp_path)
        return steps[1000]

    last = draw(3)
    assert set(drawn) == {"confusion.png", "class_iou.png", "masks.png", "overlays.png"}
    masks = np.reshape(drawn["masks.png"].axes, (2, 4))
    assert [axes.get_title() for axes in masks[0]] == ["image", "truth", "step 0", "step 1000"]
    assert [axes.get_ylabel() for axes in masks[:, 0]] == ["0000", "0001"]
    np.testing.assert_array_equal(masks[1, 3].images[0].get_array(), paint(last[1], PALETTE))
    over = np.reshape(drawn["overlays.png"].axes, (2, 3))
    assert [axes.get_title() for axes in over[0]] == ["image", "truth", "prediction"]
    expected = overlay(np.zeros((8, 8, 3), np.uint8), last[1], PALETTE)
    np.testing.assert_array_equal(over[1, 2].images[0].get_array(), expected)
    assert texts(drawn["class_iou.png"].axes[0].texts) == ["0.100", "0.200", "0.300", "–", "0.400"]
    assert drawn["class_iou.png"].axes[0].get_xlabel() == "IoU"
    assert texts(drawn["confusion.png"].axes[0].get_xticklabels())[5:] == ["IoU, mean 0.25"]
    draw(1, **{"test/class_ap": np.full(5, 0.5)})
    assert texts(drawn["confusion.png"].axes[0].get_xticklabels())[5:] == ["AP, mean 0.50", "IoU, mean 0.25"]


def test_what_a_colourisation_run_ends_with(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(figures, "image_rows", lambda rows, path, *, titles: given.append((rows, path, titles)))
    steps = {5: MASKS[::-1], 0: MASKS}
    results = Results(
        info=SimpleNamespace(palette=PALETTE),
        names=["a", "b", "c"],
        batch={"image": IMAGES, "mask": 4 - MASKS},
        predictions={step: {"prediction": mask} for step, mask in steps.items()},
        arrays={},
    )
    colorize.draw(results, tmp_path)
    ((rows, path, titles),) = given
    assert list(rows) == ["input", "truth", "step 0", "step 5"]
    assert path == tmp_path / "colors.png" and titles == ["a", "b", "c"]
    np.testing.assert_allclose(rows["input"][..., 0], IMAGES.mean(-1), atol=0.5)
    for name, mask in {"truth": 4 - MASKS, "step 0": MASKS, "step 5": MASKS[::-1]}.items():
        np.testing.assert_array_equal(rows[name], PALETTE[mask])
