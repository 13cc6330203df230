"""Tables of results: plain, boxed, Markdown, LaTeX and comma-separated."""

import csv
import io
import math
import statistics

import numpy as np
import pytest
from rich.console import Console

from jaxcv.errors import DataError
from jaxcv.report import sweeps
from jaxcv.report.tables import closing_table, format_value, lower_is_better, markdown, to_csv, to_latex, to_markdown


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("test/accuracy", 0.93214, "93.21 %"),
        ("knn_accuracy", np.float32(1), "100.00 %"),
        ("accuracy", 0, "0.00 %"),
        ("loss", 0.3, "0.3000"),
        ("loss", 1234.56, "1235"),
        ("loss", 0.00123456, "0.001235"),
        ("loss", 1.0e-9, "1.000e-09"),
        ("loss", math.nan, "nan"),
        ("params", 11123123, "11123123"),
        ("images", np.int64(7), "7"),
        ("name", "as it is", "as it is"),
        ("accuracy", None, "–"),
        ("accuracy", [0.5, 0.52, None, 0.54], "52.00 ± 2.00 %"),
        ("accuracy", np.array([0.5]), "50.00 %"),
        ("epoch", [40], "40"),
        ("epoch", [40, 42], "41.00 ± 1.41"),
        ("loss", [1234.0, 1250.0], "1242 ± 11"),
        ("loss", [1e-9, 3e-9], "2.000e-09 ± 1.4e-09"),
        ("loss", [1.0, math.nan], "nan ± nan"),
        ("loss", [1.0, math.inf], "inf ± nan"),
        ("loss", [None], "–"),
    ],
)
def test_format_value(name, value, text):
    assert format_value(name, value) == text


def table(*, terminal, width=80):
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        force_interactive=terminal,
        color_system=None,
        width=width,
    )
    rows = {
        "knn_accuracy": {"trained": 0.61234, "at init": 0.28, "chance": 0.1},
        "feature_std": {"trained": 0.00123456},
    }
    closing_table("BYOL [tiny]", rows, console=console)
    return console.file.getvalue()


def test_plain_table_is_aligned_whatever_the_width():
    expected = """\
BYOL [tiny]
metric         trained  at init   chance
knn_accuracy   61.23 %  28.00 %  10.00 %
feature_std   0.001235
"""
    assert table(terminal=False) == table(terminal=False, width=10) == expected


def test_terminal_table_is_boxed():
    lines = table(terminal=True).splitlines()
    assert lines[0].rstrip() == "BYOL [tiny]"
    assert lines[2] == "│ metric       │  trained │ at init │  chance │"
    assert lines[4] == "│ knn_accuracy │  61.23 % │ 28.00 % │ 10.00 % │"
    assert lines[5] == "│ feature_std  │ 0.001235 │         │         │"


def test_single_values(capsys):
    closing_table("done", {"test/accuracy": 0.5, "params": 12})
    assert capsys.readouterr().out == "done\nmetric           value\ntest/accuracy  50.00 %\nparams              12\n"


ROWS = [
    {
        "name": "A | scratch_x",
        "test_accuracy": [0.53, 0.52, 0.54],
        "loss": [1.2, None, 1.3],
        "reported_accuracy": 0.5271,
    },
    {"name": "B & 50%\n{x}~^\\", "test_accuracy": [0.5527], "loss": [math.nan], "params": 11123},
    {"name": "C", "test_accuracy": [], "note": "<to come>"},
]


def test_markdown():
    expected = """\
| name           |  test_accuracy |                    loss | reported_accuracy | params | note      | seeds |
| -------------- | -------------: | ----------------------: | ----------------: | -----: | --------- | ----: |
| A \\| scratch_x | 53.00 ± 1.00 % | **1.250 ± 0.071 (n=2)** |           52.71 % |      – | –         |     3 |
| B & 50% {x}~^\\ |    **55.27 %** |                     nan |                 – |  11123 | –         |     1 |
| C              |              – |                       – |                 – |      – | <to come> |     0 |
"""
    assert to_markdown(ROWS, best={"test_accuracy": max, "loss": min}) == expected


def test_latex():
    rows = [{name: row.get(name) for name in ("name", "test_accuracy", "note")} for row in (ROWS[0], ROWS[2])]
    expected = r"""
\begin{tabular}{lrlr}
\toprule
name                    &               test\_accuracy & note                             & seeds \\
\midrule
A \textbar{} scratch\_x & \textbf{53.00 $\pm$ 1.00 \%} & --                               &     3 \\
C                       &                           -- & \textless{}to come\textgreater{} &     0 \\
\bottomrule
\end{tabular}
"""
    assert to_latex(rows, best={"test_accuracy": max}) == expected.lstrip()


def test_latex_specials():
    text = to_latex([{"name": ROWS[1]["name"] + "$#", "loss": 1.0}]).splitlines()[4]
    assert text == r"B \& 50\% \{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}\$\# & 1.000 \\"


def test_csv_is_in_full_precision_and_read_back():
    text = to_csv(ROWS)
    assert text.splitlines()[0] == (
        "name,test_accuracy_mean,test_accuracy_std,test_accuracy_n,loss_mean,loss_std,loss_n,reported_accuracy,params,note"
    )
    first, second, third = csv.DictReader(io.StringIO(text))
    assert first["name"] == "A | scratch_x" and second["name"] == ROWS[1]["name"]
    assert float(first["test_accuracy_mean"]) == pytest.approx(statistics.mean(ROWS[0]["test_accuracy"]), abs=1e-15)
    assert float(first["loss_std"]) == pytest.approx(statistics.stdev([1.2, 1.3]), abs=1e-15)
    assert (first["loss_n"], first["params"]) == ("2", "")
    assert [second[f"test_accuracy_{x}"] for x in ("mean", "std", "n")] == ["0.5527", "", "1"]
    assert [second[f"loss_{x}"] for x in ("mean", "std", "n")] == ["nan", "", "1"]
    assert [third[f"test_accuracy_{x}"] for x in ("mean", "std", "n")] == ["", "", "0"]
    assert [third[f"loss_{x}"] for x in ("mean", "std", "n")] == ["", "", ""]


def test_a_number_among_lists_is_the_same_for_all_seeds():
    rows = [{"name": "paper", "accuracy": 0.5}, {"name": "ours", "accuracy": [0.5, 0.5]}]
    assert to_markdown(rows, best={"accuracy": max}).splitlines()[2:] == [
        "| paper |        **50.00 %** |     – |",
        "| ours  | **50.00 ± 0.00 %** |     2 |",
    ]
    assert to_csv(rows).splitlines()[1:] == ["paper,0.5,,", "ours,0.5,0.0,2"]


def test_a_table_without_seeds():
    assert markdown(["model", "loss"], [["a|b", None], ["c\nd", 0.5]]).splitlines() == [
        "| model |   loss |",
        "| ----- | -----: |",
        "| a\\|b  |      – |",
        "| c d   | 0.5000 |",
    ]
    with pytest.raises(DataError, match="at least one row"):
        to_markdown([])
    with pytest.raises(ValueError):
        markdown(["a", "b"], [["x"]])


@pytest.mark.parametrize(("metric", "lower"), [("val/loss", 1), ("val/loss/batch_mean", 1), ("test/miou/pooled", 0)])
def test_a_loss_is_better_when_it_is_lower(metric, lower):
    assert lower_is_better(metric) == lower


@pytest.mark.parametrize("measure", ["IoU", "accuracy"])
def test_a_sweep_has_columns_of_iou_where_pixels_have_classes(measure, tmp_path):
    arrays = {"test/class_accuracy": np.array([0.5, 0.25]), "val/class_iou": np.array([0.9, 0.9])}
    arrays |= {"test/class_iou": np.array([0.4, 0.125])} if measure == "IoU" else {}
    results = {"a": [{"values": {"test/miou/pooled": 0.3}, "arrays": arrays}]}
    sweeps.write(results, tmp_path, metrics=("test/miou/pooled",), reference={}, classes=("sky", "road"))
    with (tmp_path / "table.csv").open() as file:
        (row,) = csv.DictReader(file)
    found = [float(row[f"{measure} of {name}_mean"]) for name in ("sky", "road")]
    assert found == ([0.4, 0.125] if measure == "IoU" else [0.5, 0.25])
    assert (tmp_path / f"class_{measure.lower()}.png").exists() and sum("sky" in name for name in row) == 3
