"""What every picture stands on: axes and figures, texts as they are written, PNG, colours and marks."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from repsim_nb.support.validation import check_integer

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")

COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)  # Okabe and Ito: told apart by all
CLASS_COLOURS = (
    *COLOURS,
    "#8800FF",
    "#884422",
    "#AAEE99",
    "#BB55FF",
)  # further from these, for every kind of colour vision, than these are from each other
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
    columns = min(check_integer(columns, "columns", minimum=1), number)
    return -(-number // columns), columns


# -- texts
# -----------------------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"[^A-Za-z0-9 \n.,:;()=+*/-]")  # what TeX reads as more than a character, or not at all


def as_written(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """A function that draws, with every text that it puts into the figure shown character by character.

    Names hold $ and \\, from which matplotlib makes formulas. Texts that were in the figure before keep their own
    setting, and so do numbers along axes. draw takes `ax` or `figure` as keywords and returns Axes, or a sequence whose
    first item leads to one. It must not
    finish the layout of the figure: a formula that cannot be read is an error at that moment.
    """

    @functools.wraps(draw)
    def drawing(*args: Arguments.args, **options: Arguments.kwargs) -> Drawn:
        place = next((options[name] for name in ("ax", "figure") if options.get(name) is not None), None)
        before = {} if place is None else {part: _said(part) for part in _parts(_figure_of(place))}
        drawn = draw(*args, **options)
        for part in _parts(_figure_of(drawn)):
            if before.get(part) != _said(part):
                for text in _names_along(part) if isinstance(part, Axis) else [part]:
                    _show_as_written(text)
        return drawn

    return drawing


def _figure_of(drawn: Any) -> FigureBase:
    if isinstance(drawn, FigureBase):
        return drawn
    return drawn.figure if isinstance(drawn, Axes) else _figure_of(drawn[0])


def _parts(artist: Artist) -> Iterator[Text | Axis]:
    """The texts in a figure, and the axes along which others stand."""
    for child in artist.get_children():
        if isinstance(child, (Text, Axis)):
            yield child
        if isinstance(child, Axis):
            yield child.label
        elif not isinstance(child, Text):
            yield from _parts(child)


def _said(part: Text | Axis) -> Any:
    """What changes where a text is set anew."""
    return part.get_text() if isinstance(part, Text) else part.get_major_formatter()


def _names_along(axis: Axis) -> list[Text]:
    """The names that stand along an axis; none where numbers do, which are matplotlib's business."""
    named = isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter))
    return [label for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)] if named else []


def _show_as_written(text: Text) -> None:
    if "$" in text.get_text() or "\\" in text.get_text():
        text.set_parse_math(False)
    if text.get_usetex() and _SPECIAL.search(text.get_text()):
        text.set_usetex(False)


_ours: WeakSet[Artist] = WeakSet()  # lines and points that have an entry in a legend of ours, whatever they are called


def labelled(ax: Axes, drawn: Sequence[Any]) -> list[Any]:
    """What a legend of these axes shows: what had an entry before, then what was drawn now, also if its name begins
    with an underscore.
    """
    earlier = [*ax.get_legend_handles_labels()[0], *(part for part in (*ax.lines, *ax.collections) if part in _ours)]
    _ours.update(handle for handle in drawn if isinstance(handle, (Line2D, Collection)))
    return [*(handle for handle in dict.fromkeys(earlier) if handle not in drawn), *drawn]


def legend(place: Axes | Figure, handles: Sequence[Any], **looks: Any) -> None:
    """A legend of these handles, if there are any, each with its label; matplotlib alone would drop those that begin
    with an underscore.

    A line that shows neither line nor mark is the heading of the entries after it.
    """
    if not handles:
        return
    made = place.legend(handles=handles, labels=["name"] * len(handles), **looks)
    for handle, text in zip(handles, made.get_texts(), strict=True):
        text.set_text(handle.get_label())
        text.set_fontweight(
            "bold"
            if isinstance(handle, Line2D) and handle.get_linestyle() == handle.get_marker() == "None"
            else "normal"
        )


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
