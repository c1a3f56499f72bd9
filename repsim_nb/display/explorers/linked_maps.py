"""Two maps of the same samples: what is marked in one is marked in the other."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from repsim_nb.display.specs import MapsSpec
from repsim_nb.display.views import ScatterView

SHARED = ("hovered", "chosen", "selected")


class LinkedMaps(widgets.Box):
    """Two maps of the same samples, next to each other or, in a narrow window, below each other.

    The browser itself links them, so that they stay linked while the kernel is busy.

    Attributes
    ----------
    views : (ScatterView, ScatterView)
        The maps.
    """

    def __init__(self, **options: Any) -> None:
        layout = {"flex": "1 1 420px", "min_width": "min(300px, 100%)", "max_width": "100%"}
        self.views = ScatterView(layout=layout), ScatterView(layout=layout)
        self._linked = [widgets.jslink(*((view, name) for view in self.views)) for name in SHARED]
        where = {"flex_flow": "row wrap", "width": "100%", "grid_gap": "4px 8px", **options.pop("layout", {})}
        super().__init__(self.views, layout=where, **options)

    def show(self, shown: MapsSpec) -> None:
        """Show two maps; a chosen sample stays chosen if all points are the same."""
        for view, one in zip(self.views, shown.maps, strict=True):
            view.show(one)

    def link(self, view: widgets.Widget, names: tuple[str, ...]) -> None:
        """Link attributes of another view of the same samples, too."""
        self._linked += [widgets.jslink((self.views[0], name), (view, name)) for name in names]

    def mark(self, name: str, samples: list[int]) -> None:
        """Set "chosen" or "selected" of both maps."""
        for view in self.views:
            setattr(view, name, samples)
