"""Tables of results, for the terminal and for reports."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxcv.errors import DataError

Cell = Any  # text, a number, a list of numbers (one for each seed, None where it is missing), or None
Row = Mapping[str, Cell]  # column -> cell
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "–": "--", "\n": " "}
)


def lower_is_better(metric: str) -> bool:
    """Whether a metric, "split/name", is a loss: "val/loss", "val/loss/batch_mean"."""
    return "loss" in metric.split("/")


def statistics(values: Sequence[float | None] | np.ndarray) -> tuple[float, float, int]:
    """(mean, sample standard deviation, number) of the values that are not None; NaN where there are too few."""
    numbers = np.array([value for value in values if value is not None], float)
    with np.errstate(invalid="ignore"):  # infinities
        mean = float(numbers.mean()) if len(numbers) else np.nan
        std = float(numbers.std(ddof=1)) if len(numbers) > 1 else np.nan
    return mean, std, len(numbers)


def wilson_interval(hits: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a share, `hits` of `count` > 0; z: the normal quantile, by default of 95 %."""
    share = hits / count
    middle = share + z**2 / (2 * count)
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, middle - half) / (1 + z**2 / count), min(1.0, (middle + half) / (1 + z**2 / count))


def format_value(name: str, value: Cell) -> str:
    """The text of a metric's value: an accuracy, a fraction, in percent; an integer in full; another number with 4
    significant digits; a list of numbers as mean ± sample standard deviation, or as a number if it has one; None and an
    empty list as a dash. Text stays as it is."""
    if np.ndim(value):
        return _format_seeds(name, [number for number in value if number is not None])
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if "accuracy" in name:
        return f"{100 * float(value):.2f} %"
    if isinstance(value, Integral):
        return str(value)
    return f"{float(value):#.4g}".rstrip(".")


def _format_seeds(name: str, values: Sequence[float]) -> str:
    if len(values) < 2:
        return format_value(name, values[0] if values else None)
    mean, std, _ = statistics(values)
    if "accuracy" in name:
        return f"{100 * mean:.2f} ± {100 * std:.2f} %"
    text = format_value(name, mean)
    decimals = len(text.partition(".")[2])
    return f"{text} ± {std:#.2g}" if "e" in text else f"{text} ± {std:.{decimals}f}"


def closing_table(title: str, values: Mapping[str, Cell | Row], *, console: Console | None = None) -> None:
    """Prints a row for each metric: its value, or several by column, e.g. {"trained": 0.61, "chance": 0.1}.

    It has a box on a terminal and is plain text elsewhere. Columns are in the order of their first appearance.
    """
    console = console or Console()
    rows = {name: cells if isinstance(cells, Mapping) else {"value": cells} for name, cells in values.items()}
    columns = list(dict.fromkeys(chain.from_iterable(rows.values())))
    lines = [
        [name, *(format_value(name, row[column]) if column in row else "" for column in columns)]
        for name, row in rows.items()
    ]
    if not console.is_interactive:
        right = [False] + [True] * len(columns)
        text = ["  ".join(line).rstrip() for line in _aligned([["metric", *columns], *lines], right)]
        console.print("\n".join([title, *text]), markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.ROUNDED)
    table.add_column("metric", overflow="fold")
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)


def to_markdown(rows: Sequence[Row], *, best: Mapping[str, Callable] | None = None) -> str:
    """A Markdown table, padded so that its source reads well too; numbers are aligned to the right.

    Columns are in the order of their first appearance. Where cells are lists, a last column `seeds` has the largest
    number of seeds of each row, and a cell with fewer says so: "(n=2)". best: column -> `max` or `min`; the best mean
    of the column is bold.
    """
    lines, right = _cells(rows, best or {}, "**{}**", lambda text: text.replace("|", "\\|").replace("\n", " "))
    rule = ["--:" if r else "---" for r in right]
    lines = _aligned([lines[0], rule, *lines[1:]], right)
    lines[1] = [cell.strip().rjust(len(cell), "-") for cell in lines[1]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def markdown(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """`to_markdown` of rows whose cells are in the order of `header`."""
    return to_markdown([dict(zip(header, row, strict=True)) for row in rows])


def to_latex(rows: Sequence[Row], *, best: Mapping[str, Callable] | None = None) -> str:
    """The table of `to_markdown` as a LaTeX tabular, which needs the package booktabs."""
    lines, right = _cells(rows, best or {}, r"\textbf{{{}}}", lambda text: text.translate(_LATEX))
    header, *body = [f"{' & '.join(line)} \\\\\n" for line in _aligned(lines, right)]
    columns = "".join("r" if r else "l" for r in right)
    rules = "\\toprule\n", "\\midrule\n", "\\bottomrule\n"
    table = [rules[0], header, rules[1], *body, rules[2]]
    return f"\\begin{{tabular}}{{{columns}}}\n{''.join(table)}\\end{{tabular}}\n"


def to_csv(rows: Sequence[Row]) -> str:
    """Comma-separated values in full precision, for programs: a column of lists becomes `name_mean`, `name_std` (of the
    sample) and `name_n`; missing values are empty."""
    columns = _columns(rows)
    seeded = {column for row in rows for column, cell in row.items() if np.ndim(cell)}
    header = [[f"{name}_mean", f"{name}_std", f"{name}_n"] if name in seeded else [name] for name in columns]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(chain.from_iterable(header))
    for row in rows:
        cells = []
        for name in columns:
            cell: Cell = row.get(name)
            if name not in seeded:
                cells.append(cell)
            elif np.ndim(cell):
                mean, std, n = statistics(cell)
                cells += [mean if n else None, std if n > 1 else None, n]
            else:
                cells += [cell, None, None]
        writer.writerow(cells)
    return out.getvalue()


def _columns(rows: Sequence[Row]) -> list[str]:
    if not rows:
        raise DataError("A table needs at least one row.")
    return list(dict.fromkeys(chain.from_iterable(rows)))


def _cells(
    rows: Sequence[Row], best: Mapping[str, Callable], bold: str, escape: Callable[[str], str]
) -> tuple[list[list[str]], list[bool]]:
    """The header and the rows as text, and which columns have numbers."""
    columns = _columns(rows)
    cells: list[list[Cell]] = [[row.get(name) for name in columns] for row in rows]
    seeds = [max((statistics(cell)[2] for cell in row if np.ndim(cell)), default=None) for row in cells]
    if any(seeds):
        columns.append("seeds")
        cells = [[*row, number] for row, number in zip(cells, seeds)]
    winners = [_winners(column, best[name]) if name in best else [] for name, column in zip(columns, zip(*cells))]
    lines = [list(map(escape, columns))]
    for i, row in enumerate(cells):
        line = []
        for name, cell, bold_rows in zip(columns, row, winners):
            text = format_value(name, cell)
            if np.ndim(cell) and statistics(cell)[2] not in (0, seeds[i]):
                text += f" (n={statistics(cell)[2]})"
            line.append(bold.format(escape(text)) if i in bold_rows else escape(text))
        lines.append(line)
    present = [[cell for cell in column if cell is not None] for column in zip(*cells)]
    return lines, [bool(column) and not any(isinstance(cell, str) for cell in column) for column in present]


def _winners(column: Sequence[Cell], better: Callable) -> list[int]:
    """The rows with the best mean."""
    means = [np.nan if isinstance(cell, str) else statistics(np.atleast_1d(cell))[0] for cell in column]
    finite = [mean for mean in means if np.isfinite(mean)]
    return [i for i, mean in enumerate(means) if finite and mean == better(finite)]


def _aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> list[list[str]]:
    """The cells padded to the width of their column; right: which columns are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right)] for line in lines]
