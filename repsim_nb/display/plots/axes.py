"""What every picture needs: axes and figures, texts shown character by character, legends."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

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
Result = TypeVar("Result")


def expect(result: object, kinds: tuple[type, ...], sentence: str) -> None:
    """Raise TypeError if a picture cannot show this kind of result."""
    if not isinstance(result, kinds):
        raise TypeError(f"{sentence}; got {type(result).__name__}.")


def drop_none(**options: Any) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only here: pyplot shows the picture at the end of a notebook cell

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def new_figure(figure: Figure | None, width: float, height: float, pad: float | None = None) -> Figure:
    """Return the figure or a new one, with this size; pad: inches around each picture in it."""
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(layout="constrained")
    figure.set_size_inches(width, height)
    if pad is not None:
        figure.set_layout_engine("constrained", w_pad=pad, h_pad=pad)
    return figure


def remove_axes(ax: Axes | None) -> Figure | None:
    """Remove axes, and return their figure, to draw in their place; None for None."""
    if ax is None:
        return None
    figure = ax.get_figure(root=True)
    ax.remove()
    return figure


def grid_axes(figure: Figure, rows: int, columns: int, number: int) -> list[Axes]:
    """Return `number` axes in rows and columns; the places after them stay empty."""
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[number:]:
        ax.remove()
    return axes[:number]


def blank_figure() -> Figure:
    """Return a figure outside of pyplot, so that no notebook shows it; safe in any thread."""
    return Figure(layout="constrained")


def figure_of(thing: object) -> Figure | None:
    """Return the figure that something is or lies in, None if it is neither a figure nor Axes."""
    if isinstance(thing, Axes):
        thing = thing.get_figure(root=True)
    return thing if isinstance(thing, Figure) else None


def grid_shape(columns: int, number: int) -> tuple[int, int]:
    """Return the number of rows and columns in a figure with this number of pictures."""
    columns = min(check_integer(columns, "columns", minimum=1), number)
    return -(-number // columns), columns


# -- texts

_SPECIAL = re.compile(r"[^A-Za-z0-9 \n.,:;()=+*/-]")  # characters with a meaning in TeX, or without a glyph


def without_markup(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    r"""Return a function that draws, and shows each text that it adds to the figure character by character.

    Names may contain $ and \, which matplotlib reads as formulas. Texts that were in the figure before keep their own
    setting, and so do numbers along axes. `draw` takes `ax` or `figure` as keywords and returns Axes, or a sequence
    whose first item leads to one. It must not finish the layout of the figure, since matplotlib raises for a text that
    is not a valid formula at that moment.
    """

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        place = next((options[name] for name in ("ax", "figure") if options.get(name) is not None), None)
        before = {} if place is None else {part: _content(part) for part in _parts(_find_figure(place))}
        drawn = draw(*args, **options)
        for part in _parts(_find_figure(drawn)):
            if before.get(part) != _content(part):
                for text in _names_along(part) if isinstance(part, Axis) else [part]:
                    _disable_markup(text)
        return drawn

    return wrapper


def _find_figure(drawn: Any) -> FigureBase:
    if isinstance(drawn, FigureBase):
        return drawn
    return drawn.figure if isinstance(drawn, Axes) else _find_figure(drawn[0])


def _parts(artist: Artist) -> Iterator[Text | Axis]:
    """Yield the texts in a figure, and the axes with texts along them."""
    for child in artist.get_children():
        if isinstance(child, (Text, Axis)):
            yield child
        if isinstance(child, Axis):
            yield child.label
        elif not isinstance(child, Text):
            yield from _parts(child)


def _content(part: Text | Axis) -> Any:
    """Return the value that changes if a text is set again."""
    return part.get_text() if isinstance(part, Text) else part.get_major_formatter()


def _names_along(axis: Axis) -> list[Text]:
    """Return the names along an axis; none for an axis of numbers, which matplotlib formats."""
    has_names = isinstance(axis.get_major_formatter(), (FixedFormatter, FuncFormatter))
    return [label for tick in axis.get_major_ticks() for label in (tick.label1, tick.label2)] if has_names else []


def _disable_markup(text: Text) -> None:
    if "$" in text.get_text() or "\\" in text.get_text():
        text.set_parse_math(False)
    if text.get_usetex() and _SPECIAL.search(text.get_text()):
        text.set_usetex(False)


# lines and points with an entry in a legend that was drawn here, for any name
_legend_artists: WeakSet[Artist] = WeakSet()


def legend_handles(ax: Axes, drawn: Sequence[Any]) -> list[Any]:
    """Return the handles for a legend of these axes: those with an entry before, then those drawn now.

    A name that begins with an underscore has an entry, too.
    """
    earlier = [
        *ax.get_legend_handles_labels()[0],
        *(part for part in (*ax.lines, *ax.collections) if part in _legend_artists),
    ]
    _legend_artists.update(handle for handle in drawn if isinstance(handle, (Line2D, Collection)))
    return [*(handle for handle in dict.fromkeys(earlier) if handle not in drawn), *drawn]


def legend(place: Axes | Figure, handles: Sequence[Any], **options: Any) -> None:
    """Draw a legend of these handles, if there are any, each with its label.

    matplotlib alone would drop labels that begin with an underscore. A line that shows neither line nor mark is the
    heading of the entries after it.
    """
    if not handles:
        return
    box = place.legend(handles=handles, labels=["name"] * len(handles), **options)
    for handle, text in zip(handles, box.get_texts(), strict=True):
        text.set_text(handle.get_label())
        text.set_fontweight(
            "bold"
            if isinstance(handle, Line2D) and handle.get_linestyle() == handle.get_marker() == "None"
            else "normal"
        )
