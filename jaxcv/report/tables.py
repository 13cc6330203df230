"""Tables of results, for the terminal and for a report."""

from collections.abc import Mapping, Sequence
from itertools import chain
from numbers import Integral

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def format_value(name: str, value: object) -> str:
    """A number as its metric is read: an accuracy (a fraction, called so in `name`) in percent, a count in
    full, any other number with 4 significant digits. None is a dash, text stays text."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if "accuracy" in name:
        return f"{100 * float(value):.2f} %"
    if isinstance(value, Integral):
        return str(value)
    return f"{float(value):#.4g}".rstrip(".")


def closing_table(
    title: str, rows: Mapping[str, float | Mapping[str, float]], *, console: Console | None = None
) -> None:
    """Print the numbers a run ends with: one row for each metric, with the column `value`, or with the
    columns that the metric's own mapping names, e.g. {"trained": 0.61, "at init": 0.28, "chance": 0.1}.

    Boxed on a terminal, plain aligned text elsewhere. Columns stand in the order of their first appearance.
    """
    console = console or Console()
    rows = {name: cells if isinstance(cells, Mapping) else {"value": cells} for name, cells in rows.items()}
    columns = list(dict.fromkeys(chain.from_iterable(rows.values())))
    cells = [
        [name, *(format_value(name, row[column]) if column in row else "" for column in columns)]
        for name, row in rows.items()
    ]
    if not console.is_interactive:
        right = [False] + [True] * len(columns)
        lines = ["  ".join(line).rstrip() for line in _aligned([["metric", *columns], *cells], right)]
        console.print("\n".join([title, *lines]), markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.ROUNDED)
    table.add_column("metric", overflow="fold")
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, padded so that its source reads well too. A column of numbers (and None) stands to
    the right, each formatted by `format_value` under the column's header; text is taken as it is."""
    columns = list(zip(*rows)) if rows else [()] * len(header)
    right = [bool(column) and not any(isinstance(value, str) for value in column) for column in columns]
    cells = [[format_value(name, value) for name, value in zip(header, row, strict=True)] for row in rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [list(header), *cells]]
    rule = ["--:" if r else "---" for r in right]
    lines = _aligned([cells[0], rule, *cells[1:]], right)
    lines[1] = [cell.strip().rjust(len(cell), "-") for cell in lines[1]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> list[list[str]]:
    """The cells padded to the width of their column, to the right where `right` says so."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right)] for line in lines]
