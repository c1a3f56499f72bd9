"""The painter of lines, points, ranges and bars: `draw_lines` draws one spec, `draw_panels` several in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from repsim_nb.display.specs.lines import Layer, LineSpec, PanelsSpec

from .axes import legend, legend_handles, new_axes, new_figure, remove_axes, without_markup
from .drawing import draw


@draw.register
@without_markup
def draw_lines(shown: LineSpec, *, ax: Axes | None = None) -> Axes:
    """Draw layers as their spec describes them."""
    return _draw(shown, new_axes(ax, *shown.size), title_size=11)


@draw.register
def draw_first(shown: PanelsSpec, *, ax: Axes | None = None) -> Axes:
    """Draw several panels into the figure of `ax`, in its place; return the first."""
    return draw_panels(shown, figure=remove_axes(ax))[0]


@without_markup
def draw_panels(shown: PanelsSpec, *, figure: Figure | None = None) -> list[Axes]:
    """Draw several panels."""
    figure = new_figure(figure, *shown.size)
    many = len(shown.panels)
    axes = (
        figure.subplots(many, 1, sharex=True, squeeze=False, height_ratios=[3, 1.2, 1.2][:many])
        if shown.shared_x
        else figure.subplots(1, many, squeeze=False)
    )
    for one, panel in zip(axes.ravel(), shown.panels, strict=True):
        _draw(panel, one, title_size=11 if shown.shared_x else 10)
    handles = [_entry(layer) for layer in shown.legend]
    legend(figure, handles, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=2.4, labelspacing=0.3)
    return list(axes.ravel())


def _draw(shown: LineSpec, ax: Axes, title_size: float) -> Axes:
    handles: list[Any] = []
    for layer in shown.layers:
        artist = _entry(layer) if not (layer.x or layer.y) else _PAINTERS[layer.mark](ax, layer)
        if layer.label:
            handles.append(artist or _entry(layer))
    _set_axes(ax, shown)
    ax.set_title(shown.title, fontsize=title_size)
    where: dict[str, Any] = {"bbox_to_anchor": (1.01, 1), "fontsize": 9}
    if shown.legend_below:
        room = -0.5 - 0.15 * shown.x_title.count("\n")
        below = ax.transAxes + ScaledTranslation(0, room, ax.figure.dpi_scale_trans)
        where = {"bbox_to_anchor": (0, 0), "bbox_transform": below, "ncols": 2, "borderaxespad": 0, "fontsize": 8.5}
        ax.xaxis.label.set_fontsize(9)
    if shown.legend_title:
        where |= {"title": shown.legend_title, "title_fontsize": 9, "alignment": "left"}
    if handles:
        legend(ax, legend_handles(ax, handles), loc="upper left", frameon=False, **where)
    return ax


def _set_axes(ax: Axes, shown: LineSpec) -> None:
    ax.set(xlabel=shown.x_title, ylabel=shown.y_title)
    if shown.x_scale == "symlog":
        ax.set_xscale("symlog", linthresh=shown.bend, linscale=1)
    elif shown.x_scale != "linear":
        ax.set_xscale(shown.x_scale)
    for axis, ticks in ((ax.xaxis, shown.x_ticks), (ax.yaxis, shown.y_ticks)):
        if ticks:
            axis.set_ticks(*zip(*ticks, strict=True))
            axis.set_ticks([], minor=True)
    if shown.slanted:
        ax.tick_params(axis="x", rotation=45)
        for label in ax.get_xticklabels():
            label.set_horizontalalignment("right")
    for set_limits, (low, high) in ((ax.set_xlim, shown.x_limits), (ax.set_ylim, shown.y_limits)):
        if low is not None or high is not None:
            set_limits(low, high)
    if shown.grid:
        ax.grid(True, axis=shown.grid, color="0.92")
        ax.set_axisbelow(True)
    if not shown.framed:
        ax.spines[["top", "right"]].set_visible(False)


# -- marks


def _line_style(layer: Layer) -> dict[str, Any]:
    dash: Any = layer.dash or "None"
    if " " in layer.dash:
        dash = (0, tuple(float(length) for length in layer.dash.split()))
    style: dict[str, Any] = {"color": layer.colors[0], "linestyle": dash, "linewidth": layer.width}
    style |= {"marker": layer.marker or "None", "markersize": layer.size, "alpha": layer.opacity}
    if layer.rim is not None:
        style |= {"markeredgecolor": "white", "markeredgewidth": layer.rim}
    if layer.open:
        style["markerfacecolor"] = "none"
    if layer.halo:
        style["path_effects"] = [patheffects.withStroke(linewidth=4, foreground="white")]
    return _with_order(style, layer)


def _with_order(style: dict[str, Any], layer: Layer) -> dict[str, Any]:
    return style if layer.order is None else {**style, "zorder": layer.order}


def _entry(layer: Layer) -> Line2D:
    """Return a line that stands only in the legend."""
    style = {"ls": ""} if layer.mark == "heading" else _line_style(layer)
    return Line2D([], [], label=layer.label, **style)


def _line(ax: Axes, layer: Layer) -> Artist:
    style = _line_style(layer)
    if layer.raised:
        style["transform"] = ax.transData + ScaledTranslation(0, layer.raised / 72, ax.figure.dpi_scale_trans)
    return ax.plot(_floats(layer.x), _floats(layer.y), label=layer.label, **style)[0]


def _points(ax: Axes, layer: Layer) -> Artist:
    style: dict[str, Any] = {"color": layer.colors}
    if layer.open:
        style = {"facecolors": "none", "edgecolors": layer.colors}
    if layer.rim is not None:
        style |= {"edgecolors": "white", "linewidths": layer.rim}
    style = _with_order({**style, "marker": layer.marker, "alpha": layer.opacity, "label": layer.label}, layer)
    return ax.scatter(_floats(layer.x), _floats(layer.y), s=layer.size**2, **style)


def _ranges(ax: Axes, layer: Layer) -> Artist:
    low, high = _floats(layer.low), _floats(layer.high)
    return ax.hlines(_floats(layer.y), low, high, color=layer.colors, linewidth=layer.width)


def _area(ax: Axes, layer: Layer) -> Artist:
    style: dict[str, Any] = {"color": layer.colors[0], "alpha": layer.opacity, "linewidth": 0}
    return ax.fill_between(_floats(layer.x), _floats(layer.low), _floats(layer.high), **style)


def _bars(ax: Axes, layer: Layer) -> BarContainer:
    style: dict[str, Any] = {"width": layer.width, "color": layer.colors[0], "alpha": layer.opacity}
    if layer.rim is not None:
        style |= {"edgecolor": "white", "linewidth": layer.rim}
    return ax.bar(_floats(layer.x), _floats(layer.y), label=layer.label, **style)


def _texts(ax: Axes, layer: Layer) -> None:
    style: dict[str, Any] = {"fontsize": layer.size, "fontweight": "bold" if layer.bold else "normal"}
    for x, y, text in zip(_floats(layer.x), _floats(layer.y), layer.texts, strict=True):
        ax.text(x, y, text, ha="center", va="center", color=layer.colors[0], **style)


def _flag(ax: Axes, layer: Layer) -> None:
    """Write a text at the top, on the side of its x that has more room."""
    low, high = ax.get_xlim()
    for x, text in zip(_floats(layer.x), layer.texts, strict=True):
        left = x > (low + high) / 2
        ax.annotate(
            text,
            (x, 0.97),
            xycoords=ax.get_xaxis_transform(),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            color=layer.colors[0],
            fontsize=layer.size,
        )


def _vertical(ax: Axes, layer: Layer) -> None:
    for x in _floats(layer.x):
        ax.axvline(x, **_line_style(layer))


def _horizontal(ax: Axes, layer: Layer) -> None:
    for y in _floats(layer.y):
        ax.axhline(y, **_line_style(layer))


_PAINTERS: dict[str, Any] = {
    "line": _line,
    "points": _points,
    "ranges": _ranges,
    "area": _area,
    "bars": _bars,
    "texts": _texts,
    "flag": _flag,
    "vertical": _vertical,
    "horizontal": _horizontal,
}


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array(values, float)
