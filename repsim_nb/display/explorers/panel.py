"""The widgets of an explorer: its controls, the place of the picture, buttons, progress and code."""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.display.specs import MapSpec, MatrixSpec
from repsim_nb.display.views import VIEWS, CopyButton, FileButtons

WIDE = {"style": {"description_width": "initial"}}  # for controls: their descriptions are not cut short


class Panel(widgets.VBox):
    """The widgets of an explorer, without what they do.

    Attributes
    ----------
    controls : dict of str to Widget
        The controls by name.
    view : DOMWidget
        The widget that shows the picture.
    """

    children: Any  # of ipywidgets, which has no types

    def __init__(self, controls: Mapping[str, widgets.Widget]) -> None:
        self.controls = dict(controls)
        self._last_report = 0.0
        # a message lies over the picture, whose place stays open: the page never jumps
        on_one_spot = {"grid_area": "1 / 1 / 2 / 2", "max_width": "100%", "width": "100%"}
        self._views = {kind: view(layout=on_one_spot) for kind, view in VIEWS.items()}
        self._matrix, self._scatter = self._views[MatrixSpec], self._views[MapSpec]
        self._picture = widgets.Image(format="png", layout=on_one_spot | {"width": "auto"})
        self.view: widgets.DOMWidget = self._picture
        self._message = widgets.HTML(layout=on_one_spot)
        columns = {"grid_template_columns": "minmax(0, 1fr)", "overflow": "hidden"}
        self._stage = widgets.GridBox(
            layout={**columns, "width": "100%", "justify_items": "flex-start", "align_items": "flex-start"}
        )
        self._bar = widgets.FloatProgress(min=0, max=1, layout={"width": "160px", "display": "none"})
        self._status = widgets.HTML()  # a Label would read formulas between the dollar signs of names
        self._stop = _button("Stop", "stop", "Stop the computation", "90px", disabled=True)
        self._keep = _button("Keep picture", "camera", "Put this picture into the saved notebook", "130px")
        self._show_code = widgets.ToggleButton(
            description="Code", icon="code", tooltip="Show the code that makes this picture", layout={"width": "90px"}
        )
        self._picture.add_class("rs-picture")
        self._files = FileButtons(self._svg, layout={"display": "none"})  # of an image; views have their own
        self._copy = CopyButton(description="Copy code", tooltip="Copy the code that makes this picture")
        self._listing, self._thumbnail = widgets.HTML(layout={"display": "none"}), widgets.HTML()
        files, work = [self._keep, self._show_code, self._copy, self._files], [self._stop, self._bar, self._status]
        players = [_player(one) for one in self.controls.values() if isinstance(one, widgets.SelectionSlider)]
        self._control_row = _row("rs-controls", [*self.controls.values(), *players])
        # the detail of a click stands next to the picture if there is room, and below it otherwise
        self._left = widgets.VBox([self._stage], layout={"flex": "1 1 480px", "min_width": "0"})
        self._main = widgets.Box([self._left], layout={"flex_flow": "row wrap", "grid_gap": "8px 20px"})
        super().__init__(
            [self._control_row, self._main, _row("rs-buttons", [*files, *work, self._thumbnail]), self._listing],
            layout={"width": "100%"},
        )
        self.add_class("rs-explorer")

    @property
    def message(self) -> str:
        """HTML in place of the picture, such as an error; "" if there is a picture."""
        return self._message.value if self._message in self._stage.children else ""

    @property
    def status(self) -> str:
        """What is being computed, or was done last."""
        return self._status.value

    @property
    def progress(self) -> float | None:
        """The fraction that is done, from 0 to 1; None if it is not known."""
        return None if self._bar.layout.display == "none" else self._bar.value

    @property
    def busy(self) -> bool:
        """Whether something is being computed that `stop` would end."""
        return not self._stop.disabled

    def _svg(self) -> str:
        """Return the picture as SVG text."""
        raise NotImplementedError

    def _show(self, picture: widgets.Widget | None, message: str = "") -> None:
        """Show a picture, or a message over the place of the picture before."""
        before = [w for w in self._stage.children if w is not self._message]
        for widget in before:
            if widget is not picture:  # otherwise it would disappear for a moment
                widget.layout.visibility = "hidden"
        if picture is None:
            self._message.value = message
            self._stage.children = [*before, self._message]
        else:
            picture.layout.visibility = None
            if before != [picture] or len(self._stage.children) > 1:
                self._stage.children = [picture]

    def _busy(self, busy: bool, status: str) -> None:
        """Show that work begins or ends."""
        self._stop.disabled, self._status.value = not busy, status
        self._last_report = 0.0  # the first report of new work is always shown
        if not busy:
            self._bar.layout.display, self._bar.value = "none", 0

    def _report(self, done: int, total: int, text: str) -> None:
        """Show progress, at most ten times a second."""
        now = time.monotonic()
        if now - self._last_report > 0.1:
            self._last_report = now
            self._bar.value, self._bar.layout.display, self._status.value = done / max(total, 1), "", html.escape(text)

    def _write_listing(self, code: str) -> None:
        """Show code below the picture; "" hides the place."""
        self._listing.value = f"<pre style='margin:4px 0;user-select:all'>{html.escape(code)}</pre>" if code else ""
        self._listing.layout.display = "" if code else "none"


def _player(slider: widgets.SelectionSlider) -> widgets.Play:
    """Return buttons that move a slider through its options."""
    last = len(slider.options) - 1
    player = widgets.Play(value=slider.index, max=last, interval=400, show_repeat=False, layout={"width": "auto"})
    player.tooltip = "Play the steps"
    widgets.jslink((player, "value"), (slider, "index"))
    return player


def _row(name: str, parts: list[widgets.Widget]) -> widgets.Box:
    """Return widgets in a row, which breaks if it is too long."""
    row = widgets.Box(parts, layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 12px"})
    row.add_class(name)
    return row


def _button(text: str, icon: str, tooltip: str, width: str, *, disabled: bool = False) -> widgets.Button:
    """Return a button of the panel."""
    return widgets.Button(description=text, icon=icon, tooltip=tooltip, layout={"width": width}, disabled=disabled)
