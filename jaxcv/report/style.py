"""One style for all figures. The same numbers give the same bytes: no times or versions in a file."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxcv.store.files import write_atomic

# Okabe & Ito, "Color Universal Design": told apart with any common colour blindness; without their yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DPI = 150
LEGEND = 7.5  # points
STEPS = (1, 2, 2.5, 5, 10)  # between ticks, times a power of ten
_STYLE = {
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


@contextmanager
def drawing(path: str | Path, width: float, height: float, *, layout: str = "constrained") -> Iterator[Figure]:
    """A figure of so many inches in our style, whatever the user's matplotlibrc says; saved to `path` in the
    end."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
        yield figure
        save(figure, path)


def save(figure: Figure, path: str | Path) -> None:
    """Write `figure` as a PNG that holds nothing but its pixels and their density."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def label_metric(axis: Axis, name: str) -> None:
    """Name the metric that `axis` shows, an accuracy (a fraction, called so in `name`) in percent."""
    if "accuracy" in name:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
        axis.set_label_text(f"{words(name)} (%)")
    else:
        axis.set_label_text(words(name))
    axis.set_major_locator(MaxNLocator(6, steps=STEPS))


def words(name: str) -> str:
    """A key of a metric as people write it."""
    return " ".join({"iou": "IoU", "miou": "mIoU"}.get(word, word) for word in name.split("_"))


def font(size: float) -> FontProperties:
    """The one font of all figures; size in points."""
    return FontProperties(family="DejaVu Sans", size=size)


def text_width(text: str, size: float) -> float:
    """Inches of a line of text of `size` points."""
    return RendererAgg(1, 1, DPI).get_text_width_height_descent(text, font(size), ismath=False)[0] / DPI


def legend_columns(names: Sequence[str], width: float, size: float) -> int:
    """How many columns a legend of `width` inches has in text of `size` points, so that none stands half empty."""
    most = max(1, int(width / (0.5 + max(text_width(name, size) for name in names))))
    lines = -(-len(names) // most)
    return -(-len(names) // lines)


def cut(text: str, width: float, size: float) -> str:
    """`text`, or as much of its start as fits into `width` inches with an ellipsis; size in points."""
    if text_width(text, size) <= width:
        return text
    length = max((n for n in range(1, len(text)) if text_width(text[:n] + "…", size) <= width), default=1)
    return text[:length] + "…"
