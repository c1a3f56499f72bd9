"""The view of lines, points, ranges and bars over two axes."""

from __future__ import annotations

from typing import Any

import traitlets

from repsim_nb.display.specs import LineSpec

from . import View, script, style, view_state


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
