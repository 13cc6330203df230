"""Tables of results: plain, boxed and Markdown."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from jaxcv.report.tables import closing_table, format_value, markdown


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
        ("accuracy", None, "-"),
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


def test_markdown():
    rows = [["a|b", 11, 0.93, None], ["c\nd", 2222222, 0.5, math.nan]]
    assert markdown(["model", "params", "test_accuracy", "loss"], rows).splitlines() == [
        "| model |  params | test_accuracy | loss |",
        "| ----- | ------: | ------------: | ---: |",
        "| a\\|b  |      11 |       93.00 % |    - |",
        "| c d   | 2222222 |       50.00 % |  nan |",
    ]


def test_markdown_of_nothing_and_of_ragged_rows():
    assert markdown(["a", "b"], []) == "| a   | b   |\n| --- | --- |\n"
    with pytest.raises(ValueError):
        markdown(["a", "b"], [["x"]])
