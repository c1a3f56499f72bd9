"""Pictures that answer the mouse. They draw what they are told and know nothing of networks or measures."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class MatrixView(anywidget.AnyWidget):
    """A table as coloured cells with labels and a colour bar; hover for the value, click (or arrow keys and Enter) to choose a cell.

    values: rows of numbers or None (hatched; its `notes` entry "row,column" says why).  colours: hexadecimal, from low to high.
    chosen: [row, column] of the last click; presses counts clicks, so that the same cell can be chosen twice.
    """

    _esm = _HERE / "matrix.js"
    _css = _HERE / "matrix.css"

    values = traitlets.List([]).tag(sync=True)
    row_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    column_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    row_title = traitlets.Unicode("").tag(sync=True)
    column_title = traitlets.Unicode("").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    subtitle = traitlets.Unicode("").tag(sync=True)
    low = traitlets.Float(0.0).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    bar_label = traitlets.Unicode("").tag(sync=True)
    notes = traitlets.Dict({}).tag(sync=True)
    chosen = traitlets.List(traitlets.Int(), []).tag(sync=True)
    presses = traitlets.Int(0).tag(sync=True)


class ScatterView(anywidget.AnyWidget):
    """Points on a map whose axes have one unit; hover for a point's name and notes, click (or arrow keys and Enter) to choose, drag around points to select.

    points: [x, y] each.  labels, notes: a name and lines of text a point.  colours: hexadecimal, a point each.  shapes: markers as matplotlib
    spells them (o s ^ D v P X *).  shown: False leaves a point out, and keeps its room.  runs: points to be joined in order, each run from an
    open mark.  legend: [heading, [[label, colour, shape], ...]] each.  scale: [heading, low, high, colours] of a colour bar, or nothing.
    footer: what stands below.  chosen: the points of the last one or two clicks; presses counts clicks.  selected: the points in the lasso.
    """

    _esm = _HERE / "scatter.js"
    _css = _HERE / "scatter.css"

    points = traitlets.List([]).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    shapes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    shown = traitlets.List(traitlets.Bool(), []).tag(sync=True)
    runs = traitlets.List([]).tag(sync=True)
    legend = traitlets.List([]).tag(sync=True)
    scale = traitlets.List(default_value=None, allow_none=True).tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    subtitle = traitlets.Unicode("").tag(sync=True)
    footer = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.List(traitlets.Int(), []).tag(sync=True)
    presses = traitlets.Int(0).tag(sync=True)
    selected = traitlets.List(traitlets.Int(), []).tag(sync=True)
