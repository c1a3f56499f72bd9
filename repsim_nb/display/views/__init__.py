"""Views: widgets that show a spec and react to the mouse. They do not depend on models or measures."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import traitlets

from repsim_nb.display.specs import FigureSpec, LineSpec, MapSpec, MatrixSpec, Spec
from repsim_nb.support.errors import join_names

from .controls import CopyButton, FileButtons, GroupedDropdown
from .saved_pictures import VIEW, display_widget
from .states import KINDS, script, style, view_state
from .visible import visible_spec


class View(anywidget.AnyWidget):
    """A picture of a spec that can be clicked.

    Attributes
    ----------
    title, subtitle : str
        The lines above the picture.
    chosen : list of int
        What the last click chose.
    presses : int
        The number of clicks. It changes even if the same is chosen twice.
    picture : int
        The number of the current picture. It changes with every picture.
    seen : int
        The number of the picture that was clicked, which may be an earlier one; 0 if the choice came from Python.
    spec : FigureSpec or None
        What it shows; None if that has no picture.
    """

    title = traitlets.Unicode("").tag(sync=True)
    subtitle = traitlets.Unicode("").tag(sync=True)
    chosen = traitlets.List(traitlets.Int(), []).tag(sync=True)
    presses = traitlets.Int(0).tag(sync=True)
    picture = traitlets.Int(1).tag(sync=True)
    seen = traitlets.Int(0).tag(sync=True)
    spec: FigureSpec | None = None

    def bundle(self, image: bytes | None = None) -> dict[str, Any]:
        """Return the widget by MIME type, with a line of text, and with a picture as a PNG file."""
        found = self._repr_mimebundle_() or ({}, {})
        picture = {} if image is None else {"image/png": base64.b64encode(image).decode()}
        return {**found[0], "text/plain": self._text(), **picture}

    def _text(self) -> str:
        return ". ".join([type(self).__name__, *filter(None, [self.title, self.subtitle])])

    def _ipython_display_(self) -> None:
        """Display the view, and its picture when it no longer runs: a saved notebook has no picture of a widget."""
        from repsim_nb.display import plots  # a view in an explorer needs no matplotlib

        image = None if self.spec is None else plots.png(visible_spec(self.spec, self))
        display_widget(self.bundle(image), f"repsim-{uuid.uuid4().hex}", self._text(), image, VIEW)

    def press(self, chosen: list[int]) -> None:
        """Choose from Python what a click would choose."""
        self.chosen, self.seen = chosen, 0
        self.presses += 1

    def _set(self, state: Mapping[str, Any]) -> None:
        """Set these traits, as one message."""
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, value)

    @property
    def is_late(self) -> bool:
        """Whether the last click was on an earlier picture."""
        return self.seen not in (0, self.picture)


def _find(before: Sequence[str], number: int, labels: Sequence[str]) -> int | None:
    """Return where the item with this number before is among the labels now; None if it is gone."""
    if number >= len(before):
        return None
    if number < len(labels) and labels[number] == before[number]:  # labels may repeat
        return number
    return labels.index(before[number]) if before[number] in labels else None


class MatrixView(View):
    """A table as colored cells with labels and a color bar.

    Hover over a cell for its value. Click a cell (or use the arrow keys and Enter) to choose it. The attributes are
    those of `MatrixSpec`, except for these.

    Attributes
    ----------
    notes : dict of str to str
        Why a cell has no value, by "row,column".
    colors : list of str
        The color map as hexadecimal colors, from low to high.
    chosen : list of int
        The row and the column of the last click.
    filter : str
        Words: rows and columns are shown if their label has them all. If none has, all are shown.
    scaling : "measure", "locked" or "free"
        The ends of the color scale: those of the spec, `limits`, or the smallest and the largest value shown.
    limits : list of float
        The ends of a locked color scale.
    hovered : list of int
        The row and the column under the pointer; set it to mark a cell, such as that of another matrix.
    most_rows : int
        The largest number of rows of all tables that can stand here. The place is as high as that needs, so that the
        page does not move. 0: not known.
    """

    _esm = script("matrix")
    _css = style("matrix")

    values: Any = traitlets.List([]).tag(sync=True)
    texts: Any = traitlets.List([]).tag(sync=True)
    row_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    column_labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    row_title = traitlets.Unicode("").tag(sync=True)
    column_title = traitlets.Unicode("").tag(sync=True)
    low = traitlets.Float(0.0).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    bar_label = traitlets.Unicode("").tag(sync=True)
    notes = traitlets.Dict({}).tag(sync=True)
    marks: Any = traitlets.List([]).tag(sync=True)
    mark_meaning = traitlets.Unicode("").tag(sync=True)
    filter = traitlets.Unicode("").tag(sync=True)
    scaling = traitlets.Enum(("measure", "locked", "free"), "measure").tag(sync=True)
    hovered = traitlets.List(traitlets.Int(), []).tag(sync=True)
    limits = traitlets.List(traitlets.Float(), []).tag(sync=True)
    most_rows = traitlets.Int(0).tag(sync=True)
    row_breaks = traitlets.List(traitlets.Int(), []).tag(sync=True)
    column_breaks = traitlets.List(traitlets.Int(), []).tag(sync=True)

    def show(self, shown: MatrixSpec) -> None:
        """Show a matrix; the chosen cell stays chosen if its labels are there."""
        self.spec, state = shown, view_state(shown)
        chosen = [
            _find(before, k, state[name])
            for name, before, k in zip(
                ("row_labels", "column_labels"), (self.row_labels, self.column_labels), self.chosen, strict=False
            )
        ]
        left = [k for k in chosen if k is not None]
        self._set(state | {"chosen": left if len(left) == 2 else [], "picture": self.picture + 1})


class ScatterView(View):
    """Points on a map with the same unit on both axes.

    Hover over a point for its name and notes. Click a point (or use the arrow keys and Enter) to choose it. Drag around
    points to select them. The attributes are those of `MapSpec`, and these.

    Attributes
    ----------
    chosen : list of int
        The points of the last one or two clicks.
    selected : list of int
        The points inside the lasso.
    hovered : list of int
        The point under the pointer; set it to mark a point, such as that of another map of the same points.
    links : list of list of int
        The points to which lines are drawn from a point that is hovered or chosen, such as its neighbours.
    """

    _esm = script("scatter")
    _css = style("scatter")

    points: Any = traitlets.List([]).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    shapes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    shown = traitlets.List(traitlets.Bool(), []).tag(sync=True)
    runs: Any = traitlets.List([]).tag(sync=True)
    legend: Any = traitlets.List([]).tag(sync=True)
    scale: Any = traitlets.List(default_value=None, allow_none=True).tag(sync=True)
    footer = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.List(traitlets.Int(), []).tag(sync=True)
    ringed = traitlets.List(traitlets.Int(), []).tag(sync=True)
    hovered = traitlets.List(traitlets.Int(), []).tag(sync=True)
    links: Any = traitlets.List([]).tag(sync=True)

    def show(self, shown: MapSpec) -> None:
        """Show a map; points stay chosen and selected if their labels are there."""
        self.spec, state = shown, view_state(shown)
        if self.points == state["points"] and self.labels == state["labels"]:
            self._set(state)
            return
        chosen, selected = (
            [found for k in numbers if (found := _find(self.labels, k, state["labels"])) is not None]
            for numbers in (self.chosen, self.selected)
        )
        self._set(
            {"seen": 0} | state | {"chosen": chosen, "selected": selected, "hovered": [], "picture": self.picture + 1}
        )


class LinesView(View):
    """Lines, points, ranges and bars over two axes.

    Point at a place (or use the arrow keys) for its values. Click an entry of the legend to hide or show what it stands
    for. The attributes are those of `LineSpec`.
    """

    _esm = script("lines")
    _css = style("lines")

    layers: Any = traitlets.List([]).tag(sync=True)
    x_title = traitlets.Unicode("").tag(sync=True)
    y_title = traitlets.Unicode("").tag(sync=True)
    legend_title = traitlets.Unicode("").tag(sync=True)
    x_ticks: Any = traitlets.List([]).tag(sync=True)
    y_ticks: Any = traitlets.List([]).tag(sync=True)
    slanted = traitlets.Bool(False).tag(sync=True)
    x_limits: Any = traitlets.List([None, None]).tag(sync=True)
    y_limits: Any = traitlets.List([None, None]).tag(sync=True)
    x_scale = traitlets.Unicode("linear").tag(sync=True)
    bend = traitlets.Float(1.0).tag(sync=True)
    legend_below = traitlets.Bool(False).tag(sync=True)
    grid = traitlets.Unicode("both").tag(sync=True)
    framed = traitlets.Bool(True).tag(sync=True)

    def show(self, shown: LineSpec) -> None:
        """Show lines."""
        self.spec = shown
        self._set(view_state(shown) | {"picture": self.picture + 1})


class GalleryView(View):
    """Samples in a list that scrolls, as thumbnails or as texts.

    Attributes
    ----------
    samples : list of int
        The rows of the samples that are listed, in order.
    labels, values, notes : list of str
        The name of each, a line below a thumbnail, and lines under the pointer.
    texts : list of str
        The text of each sample; empty if there are thumbnails or nothing to show.
    sheet : str
        The thumbnails below each other, as the address of a PNG; "" if there are none.
    size : int
        The side of a thumbnail in pixels.
    hovered : list of int
        The sample under the pointer.
    chosen : list of int
        The sample of the last click.
    """

    _esm = script("gallery")
    _css = style("gallery")

    samples = traitlets.List(traitlets.Int(), []).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    values = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    texts = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    sheet = traitlets.Unicode("").tag(sync=True)
    size = traitlets.Int(0).tag(sync=True)
    hovered = traitlets.List(traitlets.Int(), []).tag(sync=True)

    def _text(self) -> str:
        return f"{super()._text()}: {join_names(self.labels, 6)}"

    def show(self, samples: Sequence[int], title: str, **columns: Any) -> None:
        """Show these samples; columns: the other attributes, those that are left out are empty."""
        empty: dict[str, Any] = {"labels": [], "values": [], "notes": [], "texts": [], "sheet": "", "size": 0}
        self._set({"samples": list(samples), "title": title, **empty, **columns, "picture": self.picture + 1})


__all__ = [
    "KINDS",
    "VIEWS",
    "CopyButton",
    "FileButtons",
    "GalleryView",
    "GroupedDropdown",
    "LinesView",
    "MatrixView",
    "ScatterView",
    "View",
    "script",
    "style",
    "view_state",
]
VIEWS: dict[type[Spec], Any] = {MatrixSpec: MatrixView, MapSpec: ScatterView, LineSpec: LinesView}
"""The view of a kind of spec, where `view.show(spec)` draws it."""
