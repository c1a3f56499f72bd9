"""What explorers share that show a detail below their picture when something is clicked in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.display import plots
from repsim_nb.display.specs import FigureSpec, MatrixSpec
from repsim_nb.display.views import MatrixView
from repsim_nb.support.progress import Tick

from .base import Explorer
from .saved import explain

Detail = tuple[str, FigureSpec | None]  # HTML, and what is shown below it


class DetailExplorer(Explorer):
    """An explorer with a detail below its picture: a text, and a picture if there is one.

    The detail is computed in the background, as the picture is: the last request counts, and Stop ends it. A subclass
    computes what a click asks for (`_ask`), and says how to ask again (`hint`, a sentence).

    Attributes
    ----------
    detail : str
        HTML below the picture.
    detail_spec : FigureSpec or None
        What is shown below that text.
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
        self._unfinished = False  # whether what is chosen waits for its detail
        self._say(f"<i>{self.hint}</i>")
        super().__init__(draw, controls, code)
        self.children = (*self.children, self._detail, self._below)

    @property
    def detail(self) -> str:
        """HTML below the picture."""
        return self._detail.value

    def wait(self, timeout: float | None = None) -> Explorer:
        """Until picture and detail are there; raises what the last of them raised."""
        super().wait(timeout)
        if self._detail_error is not None:
            raise self._detail_error
        return self

    def _say(self, text: str, shown: FigureSpec | None = None, *, unfinished: bool = False) -> None:
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

    def _is_being_replaced(self, event: str = "A new picture is being computed: click a cell of that one") -> bool:
        """Return whether what was clicked is about to be replaced, and write so."""
        if self._drawing:
            self._say(f"<i>{event}, or press Stop to go back to this one.</i>", unfinished=True)
        return self._drawing

    def _ask(self, text: str, job: Callable[[Tick], Detail], status: str) -> None:
        """Compute a detail.  text: what stands there meanwhile."""

        def begin() -> None:
            self._say(text, unfinished=True)
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
        elif self._unfinished:  # else the choice was taken back, or something else was asked for
            self._say(*detail)
