"""The painter of matrices: `draw_matrix` draws one spec, `draw_samples` several in a row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from repsim_nb.display.specs import MatrixSpec

from .axes import new_axes, new_figure, without_markup
from .drawing import draw
from .wrapping import title_room, wrap_name, wrap_title

_LEAST_GAP = 9.5  # points from one label of an axis to the next
_LEAST_TEXT = 5.0  # points, of the smallest text that is written into a cell
_MASKED = "#c8c8c8"


@draw.register
@without_markup
def draw_matrix(shown: MatrixSpec, *, ax: Axes | None = None) -> Axes:
    """Draw a matrix as its spec describes it, with a color bar."""
    ax = new_axes(ax, *shown.size)
    image = _paint(ax, shown)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03)  # first, since it takes its room from the axes
    box = ax.get_window_extent()
    _write_labels(ax, shown, box.width, box.height)
    width, height = (
        72 * length / ax.figure.dpi / count
        for length, count in ((box.width, len(shown.values[0])), (box.height, len(shown.values)))
    )
    written = shown.annotate and _write_texts(ax, shown, image, width, height)
    _write_marks(ax, shown, image, min(width, height))
    _write_titles(ax, shown, box.width / ax.figure.dpi)
    bare = f" (bare: below {shown.bare_below})" if written and shown.bare_below else ""
    bar.set_label(shown.bar_label + bare, fontsize=9 if shown.ticks.all else 10)
    if shown.bar_ticks:
        places, names = zip(*shown.bar_ticks, strict=True)
        bar.set_ticks(places, labels=names, fontsize=9)
    return ax


@without_markup
def draw_samples(shown: Sequence[MatrixSpec], *, figure: Figure | None = None) -> list[Axes]:
    """Draw several matrices of one color map in one row, with one color bar."""
    figure = new_figure(figure, shown[0].size[0] * len(shown) + 0.6, shown[0].size[1])
    axes = list(figure.subplots(1, len(shown), squeeze=False)[0])
    for ax, one in zip(axes, shown, strict=True):
        image, box = _paint(ax, one), ax.get_window_extent()
        _write_labels(ax, one, box.width, box.height)
        _write_titles(ax, replace(one, title=wrap_name(one.title, round(one.size[0] / 0.095))), one.size[0])
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).set_label(shown[0].bar_label, fontsize=9)
    return axes


def _paint(ax: Axes, shown: MatrixSpec) -> AxesImage:
    """Draw the cells, and lines between groups."""
    ax.patch.set(facecolor=_MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(
        np.ma.masked_invalid(np.array(shown.values, float)),
        cmap=shown.color_map,
        vmin=shown.low,
        vmax=shown.high,
        aspect="equal" if shown.square else "auto",
        interpolation="nearest",
    )
    for place in shown.row_breaks:
        ax.axhline(place - 0.5, color="white", linewidth=1.4)
    for place in shown.column_breaks:
        ax.axvline(place - 0.5, color="white", linewidth=1.4)
    return image


def _write_labels(ax: Axes, shown: MatrixSpec, width: float, height: float) -> None:
    """Write the labels of rows and columns that the spec asks for and that can be read; width, height: pixels."""
    ticks, longest = shown.ticks, max(map(len, shown.column_labels), default=0)
    slanted = longest >= ticks.slanted_from
    upright = slanted and len(shown.column_labels) >= ticks.upright_from
    ax.tick_params(axis="x", rotation=90 if upright else 45 if slanted else 0)
    for axis, labels, length in ((ax.yaxis, shown.row_labels, height), (ax.xaxis, shown.column_labels, width)):
        room = 72 * length / ax.figure.dpi / max(1, len(labels))  # points a label
        step = 1 if ticks.all else max(1, int(np.ceil(_LEAST_GAP / room)))
        places = _middles(labels) if ticks.by_run else range(0, len(labels), step)
        axis.set_ticks(places, [labels[int(place)] for place in places])
        size = min(9, max(ticks.smallest, 0.85 * room * step))
        axis.set_tick_params(labelsize=size, length=0 if ticks.by_run or ticks.on_top else 2)
    if slanted and not upright:
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    if ticks.on_top:
        ax.xaxis.tick_top()


def _middles(labels: Sequence[str]) -> list[float]:
    """Return the middle of each run of equal labels."""
    ends = np.cumsum([len(list(run)) for _, run in itertools.groupby(labels)])
    return [float(first + last - 1) / 2 for first, last in itertools.pairwise([0, *ends])]


def _write_texts(ax: Axes, shown: MatrixSpec, image: AxesImage, width: float, height: float) -> bool:
    """Write texts into the cells, if they can be read; return whether they can."""
    size = min(8, width / 2.5, height / 1.3)
    if size < _LEAST_TEXT:
        return False
    for i, row in enumerate(shown.texts):
        for j, text in enumerate(row):
            if text:
                color = _ink_on(image, shown.values[i][j])
                ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
    return True


def _write_marks(ax: Axes, shown: MatrixSpec, image: AxesImage, cell: float) -> None:
    """Draw a dot in the upper right corner of each marked cell, in the middle of a small cell."""
    if shown.marks:
        rows, columns = np.array(shown.marks).T
        size, away = (min(0.17 * cell, 4.0), 0.34) if cell >= 14 else (0.3 * cell, 0.0)
        inks = [_ink_on(image, shown.values[i][j]) for i, j in shown.marks]
        ax.scatter(columns + away, rows - away, s=size**2, c=inks, linewidths=0, gid="marks")


def _write_titles(ax: Axes, shown: MatrixSpec, width: float) -> None:
    ax.set(ylabel=shown.row_title, xlabel=shown.column_title)
    if shown.square or shown.ticks.on_top:
        ax.xaxis.label.set_fontsize(9)
    many = "cell" if len(shown.notes) == 1 else "cells"
    hatched = f", {len(shown.notes)} hatched {many} undefined" if shown.subtitle and shown.notes else ""
    lines = [shown.title, *([shown.subtitle + hatched] if shown.subtitle else [])]
    if shown.wrap:
        room = title_room(width, max(map(len, shown.row_labels)))
        lines = [wrap_title(line, room) for line in lines]
    if shown.marks and shown.mark_meaning:
        lines.append(f"• {shown.mark_meaning}")
    ax.set_title(
        "\n".join(lines), fontsize=10 if shown.wrap or shown.square else 11, pad=12 if shown.ticks.on_top else 6
    )


def _ink_on(image: AxesImage, value: float | None) -> str:
    """Return the color of a text that can be read on the color of a value."""
    red, green, blue, _ = image.to_rgba(np.array([value], float))[0]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
