"""The commands beside main.py: what they print and write, and their one line where something is missing."""

import re
import subprocess
import sys

import pytest

import data_files
import runs

TINY = "--config=configs/colorize.py:tiny"


def test_preview_draws_what_the_network_will_see(tmp_path):
    code, out, err = runs.run("preview.py", TINY, "--rows=2", f"--out={tmp_path / 'seen.png'}")
    assert code == 0 and "8 training images and 2 augmented versions of each" in out, err
    assert (tmp_path / "seen.png").stat().st_size > 1000


def test_summary_needs_no_data_and_counts_what_is_published():
    code, out, err = runs.run("summary.py", "--config=configs/networks.py:alexnet")
    assert code == 0 and "61,100,840" in out and "1.428 G" in out, err  # twice torchvision's 0.714 GMACs
    code, out, err = runs.run("summary.py", "--config=configs/networks.py:pool_upsample", "--connections")
    assert code == 0, err
    assert [cell.strip() for cell in out.split("\n")[-3].split("|")[-4:-1]] == ["172032", "49728", "14618624"], out
    code, out, err = runs.run("summary.py", "--config=configs/fashion_mnist.py:baseline")
    assert code == 0 and "4,414" in out, err


@pytest.mark.parametrize("file", sorted((runs.ROOT / "launch").glob("[!_]*.py")), ids=lambda file: file.stem)
def test_where_nothing_is_installed_it_is_said_in_one_line(file):
    command = [sys.executable, "-I", "-S", str(file)]  # without site-packages
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 1
    told = r"error: (jaxcv|ml_collections) is not installed; run `pip install -e .` in the checkout first.\n"
    assert re.fullmatch(told, said.stderr)


def test_predict_writes_the_features_of_byol_to_the_terminal(whole, tmp_path):
    data_files.picture(tmp_path / "a.png")
    code, out, err = runs.run("predict.py", "--workdir", whole[0], f"--images={tmp_path}")
    assert code == 0, err
    header, row = (line.split(",") for line in out.splitlines())
    assert header[:2] == ["file", "feature_0"] and row[0] == "a.png"
    assert len(row) == len(header) == 1 + 8 * 4  # ResNet-18 of width 4
    assert all(float(value) >= 0 for value in row[1:])  # behind a ReLU


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["predict.py"], "give --workdir=DIR, the folder of a run, and --images=DIR, the images to predict."),
        (["convert.py"], "give one of --weights=FILE (into a run) and --export=FILE.safetensors (out of one)."),
        (["convert.py", "--weights=x"], "give --workdir=DIR, the folder of the run."),
        (["convert.py", "--export=x", "--dry-run"], "give --workdir=DIR, the folder of the run."),
        (["sweep.py", TINY], "this config has no sweep; run it with jaxcv train."),
        (["summary.py", TINY, "--image=32"], "--image=32 must be height x width x channels, such as 224x224x3."),
        (
            ["main.py"],
            "give the config to run as --config=NAME, or --config=NAME:VARIANT for one of its variants.",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(command, message):
    code, _, err = runs.run(*command)
    assert code == 1 and err.startswith(f"error: {message}") and err.count("\n") == 1
