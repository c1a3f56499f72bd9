"""The base of explorers that show a detail next to their picture after a click."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.display import plots
from repsim_nb.display.specs import FigureSpec, MatrixSpec
from repsim_nb.display.views import MatrixView
from repsim_nb.support.progress import Tick

from .base import Explorer
from .stand_ins import explain

Detail = tuple[str, FigureSpec | None]  # HTML, and the picture below it


class DetailExplorer(Explorer):
    """An explorer with a detail next to its picture (below it in a narrow window): a text, and maybe a picture.

    The detail is computed in the background, like the picture: only the last request is computed, and Stop ends it. A
    subclass computes the detail of a click with `_ask`, and its `hint` is a sentence on what to click.

    Attributes
    ----------
    detail : str
        HTML below the picture.
    detail_spec : FigureSpec or None
        The picture below that text; None if there is none.
    """

    hint = ""

    def __init__(
        self, draw: Callable[..., Any], controls: Mapping[str, widgets.Widget], code: Callable[..., str]
    ) -> None:
        self._detail, self._below = widgets.HTML(), widgets.VBox()
        self._detail_matrix = MatrixView()
        self._detail_image = widgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})
        self.detail_spec: FigureSpec | None = None
        self._detail_error: BaseException | None = None
        self._unfinished = False  # whether the detail of the last click is not there yet
        self._say(f"<i>{self.hint}</i>")
        super().__init__(draw, controls, code)
        side = {"flex": "1 1 360px", "min_width": "0", "max_width": "100%"}
        self._detail_column = widgets.VBox([self._detail, self._below], layout=side)
        self._detail_column.add_class("rs-detail")
        self._main.children = (self._left, self._detail_column)

    @property
    def detail(self) -> str:
        """HTML below the picture."""
        return self._detail.value

    def wait(self, timeout: float | None = None) -> Explorer:
        """Wait until the picture and the detail are there; raise the error of the one that failed."""
        super().wait(timeout)
        if self._detail_error is not None:
            raise self._detail_error
        return self

    def _say(self, text: str, shown: FigureSpec | None = None, *, unfinished: bool = False) -> None:
        """Show a text (HTML) and a picture below the explorer's own picture."""
        views = []
        if isinstance(shown, MatrixSpec):
            self._detail_matrix.show(shown)
            views.append(self._detail_matrix)
        elif shown is not None:
            self._detail_image.value = plots.png(shown)
            views.append(self._detail_image)
        self._below.children = views
        self._detail.value = f"<div style='line-height:1.45'>{text}</div>" if text else ""
        self.detail_spec, self._detail_error, self._unfinished = shown, None, unfinished
        self._fade(unfinished=False)

    def _fade(self, *, unfinished: bool) -> None:
        """Show the detail pale while the next one is computed, or as usual."""
        for part in (self._detail, self._below):
            (part.add_class if unfinished else part.remove_class)("rs-stale")

    def _is_being_replaced(self, event: str = "A new picture is being computed: click a cell of that one") -> bool:
        """Return whether the picture that was clicked is being replaced, and show that."""
        if self._drawing:
            self._say(f"<i>{event}, or press Stop to go back to this one.</i>", unfinished=True)
        return self._drawing

    def _ask(self, text: str, job: Callable[[Tick], Detail], status: str) -> None:
        """Compute a detail; text: what is shown in the meantime if there is no detail yet.

        A detail that is there stays until the next one comes, so that the page does not jump.
        """

        def begin() -> None:
            if self.detail_spec is None:
                self._say(text, unfinished=True)
            else:
                self._unfinished, self._detail_error = True, None
                self._fade(unfinished=True)
            self._busy(True, status)

        self._worker.submit(job, self._deliver_detail, before=begin)

    def _after_stop(self) -> None:
        if self._unfinished:
            self._say(f"<i>Stopped. {self.hint}</i>")
        super()._after_stop()

    def _deliver_detail(self, detail: Detail | None, error: BaseException | None) -> None:
        self._busy(False, "")
        if detail is None:
            assert error is not None
            self.errors.append(error)
            self._say(explain(error))
            self._detail_error = error
        elif self._unfinished:  # otherwise the choice was undone, or replaced by another
            self._say(*detail)
