"""LineSpec: lines, points, ranges and bars over numbers or names; of frames, and of permutation tests."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from repsim_nb.results.inference import Test
from repsim_nb.support.errors import join_names

from .base import FigureSpec, Spec, check_frame, finite, spec
from .colors import COLORS, DASHES, MARKERS, OTHER, fixed_color, line_colors

Numbers = tuple[float | None, ...]
Places = tuple[tuple[float, str], ...]
Limits = tuple[float | None, float | None]


@dataclass(frozen=True)
class Layer(Spec):
    """Marks of one kind in a LineSpec, such as one line or one set of points.

    Parameters
    ----------
    mark : str
        "line" joins the places, "points" marks them, "ranges" are horizontal lines from low to high, "area" fills the
        space between low and high, "bars" rise from 0, "texts" are centred at the places, "flag" is a text at the top
        of the figure next to an x. "vertical" and "horizontal" are lines across the whole figure. "heading" is a
        heading in the legend.
    x, y : tuple of float or None
        Places; None leaves a gap. A layer without places is only an entry of the legend.
    low, high : tuple of float or None
        The ends of ranges (along x) or of areas (along y).
    label : str
        The entry in the legend; "" has none.
    colors : tuple of str
        One color for all places, or one for each place.
    dash : str
        "-", "--", ":", "-." or the lengths of dashes and gaps ("6 1 1 1"); "" draws no line.
    marker : str
        A marker of matplotlib; "" draws none.
    size : float
        Size of markers or of the font of texts, in points.
    width : float
        Width of lines in points; of bars, in units of the x axis.
    rim : float or None
        Width in points of the white rim of markers and bars; None draws the rim in their own color.
    open : bool
        Draw only the outlines of markers.
    opacity : float
        From 0 (invisible) to 1 (opaque).
    halo : bool
        Draw a white line below each line.
    texts : tuple of str
        One text for each place, for the marks "texts" and "flag".
    bold : bool
        Write texts in bold.
    raised : float
        Points by which the layer is moved up, so that curves with the same values can be seen.
    order : float or None
        A layer with a larger number covers those with a smaller one.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> line = specs.Layer("line", (0.0, 1.0, 2.0), (0.5, None, 0.7), label="cka")
    >>> bound = specs.Layer("horizontal", y=(0.6,), dash="--")
    >>> [layer.mark for layer in specs.LineSpec((line, bound)).layers]
    ['line', 'horizontal']
    """

    mark: str
    x: Numbers = ()
    y: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()
    label: str = ""
    colors: tuple[str, ...] = (COLORS[0],)
    dash: str = "-"
    marker: str = ""
    size: float = 5.0
    width: float = 1.6
    rim: float | None = None
    open: bool = False
    opacity: float = 1.0
    halo: bool = False
    texts: tuple[str, ...] = ()
    bold: bool = False
    raised: float = 0.0
    order: float | None = None


@dataclass(frozen=True)
class LineSpec(FigureSpec):
    """Lines, points, ranges and bars over two axes.

    Parameters
    ----------
    layers : tuple of Layer
        What is drawn; layers with a label are in the legend.
    title : str
        The heading of the figure.
    x_title, y_title : str
        The titles of the axes.
    legend_title : str
        The heading of the legend.
    x_ticks, y_ticks : tuple of (place, text)
        The ticks of the axes; empty for numbers that matplotlib chooses.
    slanted : bool
        Slant the texts along x.
    x_limits, y_limits : (float or None, float or None)
        The ends of the axes; None is where the layers end. If the first is larger, the axis is reversed.
    x_scale : "linear", "log" or "symlog"
        "symlog" is linear up to `bend` and logarithmic after it.
    bend : float
        Where a "symlog" axis becomes logarithmic.
    legend_below : bool
        Write the legend below the figure, in two columns.
    grid : "both", "x", "y" or ""
        The axes whose ticks have grid lines.
    framed : bool
        Draw lines on all four sides of the axes.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> shown = specs.LineSpec((specs.Layer("line", (0.0, 1.0), (2.0, None), label="mine"),), y_title="value")
    >>> plots.draw(shown).get_ylabel(), specs.LineSpec.from_json(shown.to_json()) == shown
    ('value', True)
    """

    layers: tuple[Layer, ...]
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    legend_title: str = ""
    x_ticks: Places = ()
    y_ticks: Places = ()
    slanted: bool = False
    x_limits: Limits = (None, None)
    y_limits: Limits = (None, None)
    x_scale: str = "linear"
    bend: float = 1.0
    legend_below: bool = False
    grid: Literal["both", "x", "y", ""] = "both"
    framed: bool = True


@dataclass(frozen=True)
class PanelsSpec(FigureSpec):
    """Several LineSpecs in one figure, next to each other or, if they share x, below each other.

    Parameters
    ----------
    panels : tuple of LineSpec
        The panels, from left to right or from top to bottom.
    legend : tuple of Layer
        Entries of one legend for all panels.
    shared_x : bool
        Place the panels below each other, with one x axis.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> one, two = (specs.LineSpec((specs.Layer("line", (0.0, 1.0), y),)) for y in ((0.2, 0.4), (0.9, 0.8)))
    >>> len(plots.draw(specs.PanelsSpec((one, two))).figure.axes)
    2
    """

    panels: tuple[LineSpec, ...]
    legend: tuple[Layer, ...] = ()
    shared_x: bool = False


def numbers(values: Iterable[float]) -> Numbers:
    """Return numbers as a tuple, with None for those that are undefined."""
    return tuple(finite(float(value)) for value in values)


def line_styles(names: Iterable[Hashable], points: int) -> list[Layer]:
    """Return an empty line for each name; colors and markers differ, and dashes if a color is used again.

    Measures and families of models have their fixed colors. Lines of more than 60 points have no markers, which would
    cover other lines.
    """
    size, rim = (5.0, 0.5) if points <= 12 else (4.0, 0.0)
    names, marked = list(names), itertools.cycle(MARKERS)
    return [
        Layer(
            "line",
            label=str(name),
            colors=(color,),
            dash=DASHES[again % len(DASHES)],
            marker=next(marked) if points <= 60 else "",
            size=size,
            rim=rim,
        )
        for name, (color, again) in zip(names, line_colors(names), strict=True)
    ]


def along(indexes: Sequence[pd.Index]) -> tuple[Numbers, Places]:
    """Return the places of the values of an index, and texts for them: names are evenly spaced, numbers have no texts.

    Raises
    ------
    ValueError
        If indexes of names differ.
    """
    first = indexes[0]
    if all(map(pd.api.types.is_numeric_dtype, indexes)):
        return numbers(first), ()
    for other in indexes[1:]:
        if not other.equals(first):
            raise ValueError(
                f"Lines over names need the same names; got {join_names(first, 4)} and {join_names(other, 4)}."
            )
    return numbers(range(len(first))), tuple((float(place), str(name)) for place, name in enumerate(first))


@spec.register
def curves_spec(frame: pd.DataFrame, *, xlabel: str = "", ylabel: str = "", title: str = "") -> LineSpec:
    """Return the spec of one line for each column; options as for `plots.curves`."""
    check_frame(frame, "curves", "a line for each column: pd.DataFrame({'cka': values}, index=steps)")
    x, ticks = along([frame.index])
    styles = line_styles(frame, len(frame))
    return LineSpec(
        tuple(replace(style, x=x, y=numbers(frame.iloc[:, k])) for k, style in enumerate(styles)),
        title=title,
        x_title=xlabel or str(frame.index.name or ""),
        y_title=ylabel,
        x_ticks=ticks,
        size=(7.2, 4.2),
    )


def band_spec(frames: Mapping[str, pd.DataFrame], *, xlabel: str = "", ylabel: str = "", title: str = "") -> LineSpec:
    """Return the spec of lines with their intervals; options as for `plots.band`."""
    _check_intervals(frames)
    indexes = [frame.index for frame in frames.values()]
    places, ticks = along(indexes)
    layers = []
    for frame, style in zip(frames.values(), line_styles(frames, max(map(len, indexes))), strict=True):
        x = places if ticks else numbers(frame.index)
        area = Layer(
            "area", x, low=numbers(frame["low"]), high=numbers(frame["high"]), colors=style.colors, opacity=0.18
        )
        layers += [area, replace(style, x=x, y=numbers(frame["mean"]))]
    return LineSpec(
        tuple(layers),
        title=title,
        x_title=xlabel or next((str(index.name) for index in indexes if index.name), ""),
        y_title=ylabel,
        x_ticks=ticks,
        size=(7.2, 4.2),
    )


def intervals_spec(
    frames: Mapping[str, pd.DataFrame], *, xlabel: str = "", title: str = "", line: float | None = None
) -> LineSpec:
    """Return the spec of values with their intervals, one row each; options as for `plots.intervals`."""
    _check_intervals(frames)
    index = next(iter(frames.values())).index
    for name, frame in frames.items():
        if not frame.index.equals(index):
            raise ValueError(
                f"Intervals need the same rows in all frames; '{name}' has {join_names(frame.index, 4)}, the first"
                f" {join_names(index, 4)}."
            )
    words = [", ".join(dict.fromkeys(map(str, row))) if isinstance(row, tuple) else str(row) for row in index]
    shifts = np.linspace(-0.17, 0.17, len(frames)) if len(frames) > 1 else [0.0]
    fixed = [fixed_color(name) for name in index] if len(frames) == 1 else []
    rows = tuple(color or OTHER for color in fixed) if any(fixed) else None
    layers = [] if line is None else [Layer("vertical", (line,), colors=("0.35",), dash="--", width=1, order=0)]
    styles = zip(frames.items(), shifts, line_colors(frames), itertools.cycle(MARKERS), strict=False)
    for (name, frame), shift, (color, _), marker in styles:
        y, colors = numbers(np.arange(len(index)) + shift), rows or (color,)
        layers += [
            Layer("ranges", y=y, low=numbers(frame["low"]), high=numbers(frame["high"]), colors=colors),
            Layer(
                "points",
                numbers(frame["mean"]),
                y,
                label=str(name) if len(frames) > 1 else "",
                colors=colors,
                marker=marker,
                order=2,
            ),
        ]
    return LineSpec(
        tuple(layers),
        title=title,
        x_title=xlabel,
        y_ticks=tuple((float(place), word) for place, word in enumerate(words)),
        y_limits=(len(index) - 0.4, -0.6),
        size=(6.4, 0.9 + 0.24 * max(4, len(index)) * (1 + 0.25 * (len(frames) - 1))),
    )


def _check_intervals(frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise an error unless every frame has the columns of an interval."""
    hint = "{name: DataFrame with the columns mean, low and high}"
    if not isinstance(frames, Mapping):
        raise TypeError(f"Intervals are drawn from {hint}; got {type(frames).__name__}.")
    if not frames:
        raise ValueError(f"There is nothing to draw: pass {hint}.")
    for name, frame in frames.items():
        check_frame(frame, f"'{name}'", "with the columns mean, low and high")
        lacking = [column for column in ("mean", "low", "high") if column not in frame]
        if lacking:
            raise ValueError(
                f"Intervals need the columns mean, low and high; the frame '{name}' lacks {join_names(lacking)}."
            )


@spec.register
def permutation_test_spec(result: Test, *, xlabel: str = "statistic", title: str = "") -> LineSpec:
    """Return the spec of a permutation test; options as for `plots.null`."""
    if result.null is None:
        raise ValueError(
            "This p-value comes from a formula, so there is no null distribution to draw. Use a permutation test,"
            ' p="mantel" or p="exact".'
        )
    heights, edges = np.histogram(result.null, bins=min(40, max(8, len(result.null) // 20)))
    low, high = min(edges[0], result.statistic), max(edges[-1], result.statistic)
    margin, red = 0.08 * (high - low), (COLORS[5],)
    middles, place = numbers((edges[1:] + edges[:-1]) / 2), (float(result.statistic),)
    words = (f"observed: {minus(result.statistic, 2)}",)
    tested = f"p = {result.p_value:.2g} ({result.alternative}, {len(result.null):,} permutations)"
    return LineSpec(
        (
            Layer("bars", middles, numbers(heights), colors=("0.72",), width=float(edges[1] - edges[0]), rim=0.4),
            Layer("vertical", place, colors=red, width=2.2),
            Layer("flag", place, texts=words, colors=red, size=10),
        ),
        title=f"{title}\n{tested}" if title else tested,
        x_title=xlabel,
        y_title="permutations",
        x_limits=(float(low - margin), float(high + margin)),
        y_limits=(0.0, 1.16 * 1.05 * float(heights.max())),
        grid="",
        framed=False,
        size=(6.4, 3.6),
    )


def minus(value: float, places: int = 3) -> str:
    """Return a number as text with a minus sign as wide as a plus."""
    return f"{value:z.{places}f}".replace("-", "\N{MINUS SIGN}")
