"""One style for all figures. The same data give the same bytes: a file holds no times or versions."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.layout_engine import LayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcv.store.files import write_atomic

# Okabe & Ito, "Color Universal Design", for any common colour blindness; without their yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# The second and later ones, where they are installed, have the characters that the first one lacks.
_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "Arial Unicode MS")
FONTS = [name for name in _FONTS if name in fontManager.get_font_names()]
DPI = 150
SMALL = 7  # points
NAME = 1.5  # inches at most for the name of a class or row
LEGEND = 7.5  # points
STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten
_STYLE = {
    "font.family": FONTS,
    "font.size": 8,
    "text.parse_math": False,  # a "$" in a class name is a "$"
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": LEGEND,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}


Layout = LayoutEngine | Literal["constrained", "compressed"] | None


@contextmanager
def drawing(path: str | Path, width: float, height: float, *, layout: Layout = "constrained") -> Iterator[Figure]:
    """A figure of `width` x `height` inches, saved to `path` at the end. The user's matplotlibrc has no effect."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
        yield figure
        save(figure, path)


def save(figure: Figure, path: str | Path) -> None:
    """Writes `figure` as a PNG that holds only its pixels and their density."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def label_metric(axis: Axis, name: str) -> None:
    """Labels `axis` with the metric `name`; an accuracy, a fraction, is shown in percent."""
    if "accuracy" in name:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
        axis.set_label_text(f"{words(name)} (%)")
    else:
        axis.set_label_text(words(name))
    axis.set_major_locator(MaxNLocator(6, steps=STEPS))


def words(name: str) -> str:
    """The name of a metric as people write it: "class_iou" is "class IoU"."""
    return readable(" ".join({"iou": "IoU", "miou": "mIoU"}.get(word, word) for word in name.split("_")))


def font(size: float) -> FontProperties:
    """The font of all figures; size in points."""
    return FontProperties(family=FONTS, size=size)


def text_width(text: str, size: float) -> float:
    """The width in inches of a line of text of `size` points."""
    return RendererAgg(1, 1, DPI).get_text_width_height_descent(text, font(size), ismath=False)[0] / DPI


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Adds a legend below the panels."""
    spacing = {"handlelength": 1.4, "handletextpad": 0.5, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, prop=font(SMALL), **spacing)


def legend_columns(names: Sequence[str], width: float, size: float) -> int:
    """How many columns fit into a legend of `width` inches in text of `size` points, evenly filled."""
    most = max(1, int(width / (0.5 + max(text_width(name, size) for name in names))))
    lines = -(-len(names) // most)
    return -(-len(names) // lines)


@cache
def _characters() -> frozenset[int]:
    return frozenset[int]().union(*(get_font(findfont(name)).get_charmap() for name in FONTS))


def readable(text: str) -> str:
    """`text` on one line; a character that no font has, such as 猫, is shown as its number, "U+732B"."""
    known = _characters()
    return "".join(c if ord(c) in known else f"U+{ord(c):04X}" for c in " ".join(text.split()))


def cut(text: str, width: float, size: float) -> str:
    """`text`, readable, and shortened with an ellipsis to fit into `width` inches; size in points."""
    text = readable(text)
    if text_width(text, size) <= width:
        return text
    length = max((n for n in range(1, len(text)) if text_width(text[:n] + "…", size) <= width), default=1)
    return text[:length] + "…"
