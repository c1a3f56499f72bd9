"""Pictures that answer the mouse. They draw what they are told and know nothing of networks or measures."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


def _script(name: str) -> str:
    """A view's script behind what all views share: one text, since a widget's module can import none of ours."""
    return (_HERE / "common.js").read_text(encoding="utf-8") + (_HERE / name).read_text(encoding="utf-8")


class _Answering(anywidget.AnyWidget):
    """What can be clicked.

    chosen: what the last click chose; presses counts clicks, so that the same can be chosen twice.  picture: a number
    that is another with every picture; seen: that of the picture that was clicked, which may be the one before where a
    new one was on its way; 0 where it was no mouse.
    """

    title = traitlets.Unicode("").tag(sync=True)
    subtitle = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.List(traitlets.Int(), []).tag(sync=True)
    presses = traitlets.Int(0).tag(sync=True)
    picture = traitlets.Int(1).tag(sync=True)
    seen = traitlets.Int(0).tag(sync=True)

    def press(self, chosen: list[int]) -> None:
        """Choose as a click does, from Python."""
        self.chosen, self.seen = chosen, 0
        self.presses += 1

    @property
    def is_late(self) -> bool:
        """Whether the last answer is about a picture that is gone."""
        return self.seen not in (0, self.picture)


class MatrixView(_Answering):
    """A table as coloured cells with labels and a colour bar; hover for the value, click (or arrow keys and Enter) to
    choose a cell.

    values: rows of numbers or None (hatched; its `notes` entry "row,column" says why).  colours: hexadecimal, from low
    to high.
    write_from: smaller values are not written into their cells.  row_breaks, column_breaks: before which rows and
    columns a line is drawn.
    chosen: [row, column] of the last click.
    """

    _esm = _script("matrix.js")
    _css = _HERE / "matrix.css"

    values = traitlets.List([]).tag(sync=True)
    row_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    column_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    row_title = traitlets.Unicode("").tag(sync=True)
    column_title = traitlets.Unicode("").tag(sync=True)
    low = traitlets.Float(0.0).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    bar_label = traitlets.Unicode("").tag(sync=True)
    notes = traitlets.Dict({}).tag(sync=True)
    write_from = traitlets.Float(0.0).tag(sync=True)
    row_breaks = traitlets.List(traitlets.Int(), []).tag(sync=True)
    column_breaks = traitlets.List(traitlets.Int(), []).tag(sync=True)


class ScatterView(_Answering):
    """Points on a map whose axes have one unit; hover for a point's name and notes, click (or arrow keys and Enter) to
    choose, drag around points to select.

    points: [x, y] each.  labels, notes: a name and lines of text a point.  colours: hexadecimal, a point each.  shapes:
    markers as matplotlib spells them (o s ^ D v P X *), "." a small dot.  ringed: points in a thin ring, whose shape in
    a legend is "ring".  shown: False leaves a point out, and keeps its room.  runs: points to be joined in order, each
    run from an open mark.  legend: [heading, [[label, colour, shape], ...]] each.
    scale: [heading, low, high, colours] of a colour bar, or nothing.
    footer: what stands below.  chosen: the points of the last one or two clicks.  selected: the points in the lasso.
    """

    _esm = _script("scatter.js")
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
    footer = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.List(traitlets.Int(), []).tag(sync=True)
    ringed = traitlets.List(traitlets.Int(), []).tag(sync=True)
