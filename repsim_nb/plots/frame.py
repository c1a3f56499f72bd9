"""What every picture stands on: axes and figures, PNG, colours and marks."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")  # Okabe and Ito: told apart by all
CLASS_COLOURS = (*COLOURS, "#8800FF", "#884422", "#AAEE99", "#BB55FF")  # further from these, for every kind of colour vision, than these are from each other
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MASKED = "#c8c8c8"


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only here: pyplot shows the picture at the end of a notebook cell

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def new_figure(figure: Figure | None, width: float, height: float) -> Figure:
    if figure is not None:
        figure.set_size_inches(width, height)
        return figure
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def side_by_side(columns: int, number: int) -> tuple[int, int]:
    """Rows and columns of a figure of so many pictures."""
    if not isinstance(columns, Integral) or columns < 1:
        raise ValueError(f"columns is how many pictures stand side by side, a whole number from 1; got {columns!r}")
    columns = min(int(columns), number)
    return -(-number // columns), columns


def bold_headings(legend: Legend, handles: Sequence[Line2D]) -> None:
    """An entry that shows neither line nor mark is the heading of those after it."""
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        text.set_fontweight("bold" if handle.get_linestyle() == handle.get_marker() == "None" else "normal")


def png(draw: Callable[[Axes], Any], width: float, height: float, dpi: int = 100) -> bytes:
    """The picture that `draw(ax)` makes, as PNG; safe in any thread (no pyplot)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.add_subplot())
    return figure_png(figure, dpi)


def figure_png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def decimals(low: float, high: float) -> int:
    """How many decimals tell values between these apart: two, and more where all of them are small."""
    return max(2, 1 + int(np.ceil(-np.log10(high - low)))) if high > low else 2


def colours_of(name: str, steps: int = 256) -> list[str]:
    """A colour map as hexadecimal colours from its low to its high end, for a view that draws by itself."""
    return [mpl.colors.to_hex(c) for c in mpl.colormaps[name](np.linspace(0, 1, steps))]
