"""Predictions for any folder of images, and their score where labels are given; the network is a function here."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from jaxcv import predict
from jaxcv.data.source import Info
from jaxcv.errors import DataError, UserError
from jaxcv.report.tables import wilson_interval

INFO = Info("lights", ("dark", "light"), (8, 8, 3), (0.5,) * 3, (0.5,) * 3, palette=((0, 0, 0), (255, 255, 255)))


def run(image):
    light = image.astype(np.float64).mean((1, 2, 3)) / 255
    return {"probability": np.stack([1 - light, light], -1), "feature": light[:, None]}


TRAINED = predict.Trained(INFO, 2, 0, run, None)


def picture(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 12, 3), grey, np.uint8)).save(path)


@pytest.fixture
def images(tmp_path):
    """Images in and below a folder, whose names mean nothing, beside what is none."""
    folder = tmp_path / "images"
    for name, grey in (("IMG_0012.png", 10), ("a.png", 240), ("sub/b.jpg", 230), ("sub/deep/d.PNG", 20)):
        picture(folder / name, grey)
    picture(folder / ".hidden/e.png", 0)
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("none of them")
    return folder


def test_every_image_in_and_below_a_folder_is_predicted(images, tmp_path):
    out = tmp_path / "out.csv"
    predict.write_features(TRAINED, images, str(out))
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["file"] for row in rows] == ["IMG_0012.png", "a.png", "sub/b.jpg", "sub/deep/d.PNG"]
    assert [float(row["feature_0"]) for row in rows] == pytest.approx([10 / 255, 240 / 255, 230 / 255, 20 / 255])


def test_labels_in_a_csv_score_a_classifier_and_what_does_not_match_is_told(images, tmp_path, capsys):
    labels, out = tmp_path / "labels.csv", tmp_path / "out.csv"
    labels.write_text(
        "filename,label\na.png, light\n./sub/b.jpg,dark\nsub/deep/d.PNG,dark\ngone.png,dark\na.png,light\n"
    )
    predict.write_probabilities(TRAINED, images, str(out), labels=str(labels))
    rows = {row["file"]: row for row in csv.DictReader(out.read_text().splitlines())}
    assert [row["label"] for row in rows.values()] == ["", "light", "dark", "dark"]
    assert [row["class"] for row in rows.values()] == ["dark", "light", "light", "dark"]
    interval = binomtest(2, 3).proportion_ci(method="wilson")
    assert json.loads((tmp_path / "out_score.json").read_text()) == {
        "correct": 2,
        "images": 3,
        "accuracy": pytest.approx(2 / 3),
        "accuracy_95_low": pytest.approx(interval.low),
        "accuracy_95_high": pytest.approx(interval.high),
    }
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "1 images without a label are not scored: IMG_0012.png",
        "1 labels without an image are not scored: gone.png",
        "accuracy 66.67 % (95 % interval 20.77 to 93.85 %, Wilson): 2 of 3 images",
    ]


def test_class_folders_score_a_classifier(tmp_path, capsys):
    for name, grey in (("dark/1.png", 0), ("light/deep/2.png", 255), ("light/3.png", 0), ("4.png", 0)):
        picture(tmp_path / name, grey)
    predict.write_probabilities(TRAINED, tmp_path, "", labels=str(tmp_path))
    out, said = capsys.readouterr()
    rows = csv.DictReader(out.splitlines())
    assert [row["label"] for row in rows] == ["", "dark", "light", "light"]
    assert "not scored: 4.png" in said and "2 of 3 images" in said
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,cat\nsub/b.jpg,cat\n", r"no class of this run: 'cat' \(2\); its classes are dark, light"),
        ("a.png,dark\na.png,light\n", r"line 3: a.png is 'light', but 'dark' in a line before"),
        ("b.png,dark\n", r"no image in .* has a label in .*labels.csv, which names b.png"),
        ("", r"no image in .* which names none"),
        (None, r"there is no .*labels.csv; --labels is a CSV, or a folder of class folders"),
    ],
)
def test_labels_that_cannot_score_stop_before_anything_is_written(text, message, images, tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "out.csv"
    if text is not None:
        labels.write_text(f"filename,label\n{text}")
    with pytest.raises(DataError, match=message):
        predict.write_probabilities(TRAINED, images, str(out), labels=str(labels))
    assert not out.exists()


def test_only_a_classifier_is_scored_by_labels(images, tmp_path):
    for write in (predict.write_features, predict.write_labels, predict.write_masks):
        with pytest.raises(UserError, match="--labels=x scores a classifier"):
            write(TRAINED, images, str(tmp_path / "out"), labels="x")


def test_masks_of_one_name_are_refused(images, tmp_path):
    picture(images / "a.jpg", 0)
    with pytest.raises(DataError, match="2 images are named .*/a, and so would their masks be"):
        predict.write_masks(TRAINED, images, str(tmp_path / "out"))


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (0, 40), (17, 40), (40, 40), (9_134, 10_000)])
def test_wilson_interval_is_scipys(hits, count):
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
