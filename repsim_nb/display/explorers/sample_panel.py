"""Two linked maps of samples, and the widgets below them: a list of samples, one with its neighbours, and classes."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from repsim_nb.display.specs import MapsSpec
from repsim_nb.display.specs.sample_differences import neighbour_confusion_spec
from repsim_nb.display.views import GalleryView, MatrixView, ScatterView, View

from .located_differences import LocatedDifferences
from .panel import WIDE

SHARED = ("hovered", "chosen", "selected")  # what two linked maps have in common
_HINT = (
    "Click a sample for its neighbours, in a map or in the list. Draw a line around points to list only them."
    " Lines join a sample with its nearest neighbours on each side."
)
_CLASS_HINT = (
    "Rows are classes of samples, columns the classes of their neighbours. Click a cell to list the samples of the row"
    " that lost or gained neighbours of the column."
)


class SamplePanel(widgets.VBox):
    """Two linked maps, the samples that differ most, and what is known of the chosen one.

    Attributes
    ----------
    maps : LinkedMaps
        The maps.
    gallery : GalleryView
        The samples that are listed.
    matrix : MatrixView
        The classes of the neighbours: fractions of the second side minus those of the first.
    located : LocatedDifferences or None
        What is shown.
    listed : list of int
        The rows of the samples that are listed, also those that are not among the first 60.
    """

    children: Any  # of ipywidgets, which has no types

    def __init__(self, locked: Callable[[Callable[[], None]], None]) -> None:
        self.maps, self.gallery, self.matrix = LinkedMaps(), GalleryView(), MatrixView()
        self.located: LocatedDifferences | None = None
        self.listed: list[int] = []
        self._filter: tuple[list[int], str] | None = None  # the only samples to list, and what they are
        self._filling = False
        self.part = widgets.ToggleButtons(options=["samples", "classes"], style={"button_width": "90px"})
        self.sort = widgets.Dropdown(options=["displacement", "influence"], description="sorted by", **WIDE)
        self._about, self._one, self._classes = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._class_box = widgets.VBox()
        self._class_parts = [widgets.HTML(f"<i>{_CLASS_HINT}</i>"), self.matrix, self._classes]
        row = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 14px"}
        self.below = widgets.VBox(
            [
                widgets.HTML(f"<div style='line-height:1.4'><i>{_HINT}</i></div>"),
                widgets.Box([self.part, self.sort], layout=row),
                self.gallery,
                self._one,
                self._class_box,
                self._about,
            ],
            layout={"width": "100%"},
        )
        self.maps.link(self.gallery, ("hovered", "chosen"))
        self._show_part()
        super().__init__([], layout={"width": "100%", "display": "none"})

        def on(view: widgets.Widget, trait: str, call: Callable[[], None]) -> None:
            def answer() -> None:
                if self.located is not None and not self._filling and not getattr(view, "is_late", False):
                    call()

            view.observe(lambda _: locked(answer), trait)

        for view in (*self.maps.views, self.gallery):
            on(view, "presses", partial(self._choose_last, view))
        on(self.maps.views[0], "selected", self._select)
        on(self.matrix, "presses", lambda: self.choose_classes(*self.matrix.chosen))
        on(self.part, "value", self._show_part)
        on(self.sort, "value", self._list)

    def reveal(self, shown: bool) -> None:
        """Show the panel, or take it out of the page."""
        self.children = (self.maps, self.below) if shown else ()
        self.layout.display = "" if shown else "none"

    @property
    def detail(self) -> str:
        """The chosen sample and its neighbours, as HTML."""
        return self._one.value

    def show(self, located: LocatedDifferences, maps: Any) -> None:
        """Show a pair, and the sample that differs most."""
        again, self._filling = located is self.located, True
        try:
            self.located = located
            self.maps.show(maps)
            for view, links in zip(self.maps.views, located.links, strict=True):
                view.links = links
            if again:
                return
            self._filter = None
            self.maps.mark("selected", [])
            influence = "influence" in located.found.table
            self.sort.options = ["displacement", *(["influence"] if influence else [])]
            self.part.value, known = "samples", "class" in located.found.table
            self.part.layout.display = "" if known else "none"
            if known:
                self.matrix.show(neighbour_confusion_spec(located.found.confusion()))
                self._classes.value = _table(located.found.by_class())
            self._show_part()
            self._list()
            self.choose(int(located.found.order()[0]))
        finally:
            self._filling = False

    def _choose_last(self, view: View) -> None:
        if view.chosen and view.seen:  # a click: the browser marks all views, and an answer could undo its next click
            self._describe(view.chosen[-1])
        elif view.chosen:
            self.choose(view.chosen[-1])

    def choose(self, row: int) -> None:
        """Show a sample with its neighbours."""
        self.maps.mark("chosen", [row])
        self.gallery.chosen = [row]
        self._describe(row)

    def _describe(self, row: int) -> None:
        assert self.located is not None
        self._one.value = self.located.describe(row)

    def choose_classes(self, row: int, column: int) -> None:
        """List the samples of a class that lost or gained neighbours of another class."""
        assert self.located is not None
        found = self.located.found
        names = list(found.table["class"].cat.categories)
        pairs = found.pairs[found.pairs["change"] != "kept"]
        own, other = (pairs[side].map(found.table["class"]) for side in ("sample", "neighbour"))
        samples = pairs.loc[((own == names[row]) & (other == names[column])).to_numpy(), "sample"].unique()
        rows = found.table.index.get_indexer(samples).tolist()
        self._filter = rows, f"{names[row]} with changed neighbours of class {names[column]}"
        before, self._filling = self._filling, True
        try:
            self.maps.mark("selected", rows)
            self._list()
        finally:
            self._filling = before
        self.part.value = "samples"

    def _select(self) -> None:
        """List the samples that were selected in a map; the browser has marked them in the other map."""
        rows = list(self.maps.views[0].selected)
        self._filter = (rows, "selected") if rows else None
        self._list()

    def _show_part(self) -> None:
        classes = self.part.value == "classes"
        for widget, shown in ((self._class_box, classes), (self.gallery, not classes), (self._one, not classes)):
            widget.layout.display = "" if shown else "none"
        self.sort.layout.display = "none" if classes else ""
        self._class_box.children = self._class_parts if classes else []  # what is hidden is not drawn

    def _list(self) -> None:
        """List the samples that differ most, or the filtered ones."""
        assert self.located is not None
        found = self.located.found
        rows = found.order(self.sort.value)
        which = f"{found.n} samples"
        if self._filter is not None:
            rows = rows[np.isin(rows, self._filter[0])]
            which = f"{len(rows)} of {which} ({self._filter[1]})"
        self.listed = rows.tolist()
        fields = self.located.listing(self.listed, self.sort.value, which)
        shown: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
        self.gallery.show(**shown | {"size": shown.pop("tile", 0)})
        facts = f"{found.table['kept'].mean():.1f} of {found.k} neighbours kept (chance {found.chance:.1f})"
        valued = "" if found.value is None else f"; {found.measure} {found.value:.3f}"
        scale = "Displacement: 0 if the neighbours are the same, 1 for unrelated representations."
        groups = "" if found.candidates > found.n - 1.5 else " Rows of one group are not neighbours of each other."
        self._about.value = f"<div style='line-height:1.4'>{html.escape(facts + valued)}. {scale}{groups}</div>"


def _table(means: pd.DataFrame) -> str:
    """Return the means of classes as HTML."""
    head = "".join(f"<th style='text-align:right;padding:0 0 0 14px'>{name}</th>" for name in means)
    rows = "".join(
        f"<tr><td style='padding:0'>{html.escape(str(name))}</td>"
        + "".join(f"<td style='text-align:right;padding:0 0 0 14px'>{_short(value)}</td>" for value in row)
        + "</tr>"
        for name, row in zip(means.index, means.to_numpy(), strict=True)
    )
    style = "line-height:1.35;overflow-x:auto;font-variant-numeric:tabular-nums"
    head = f"<tr><th style='text-align:left;padding:0'>mean of the class</th>{head}</tr>"
    return f"<div style='{style}'><table>{head}{rows}</table></div>"


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


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
