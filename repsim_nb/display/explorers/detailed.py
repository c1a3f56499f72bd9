"""What explorers share that tell below their picture of what was clicked in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.support.progress import Tick

from .base import Explorer
from .faces import Picture
from .saved import explain


class Detailed(Explorer):
    """An explorer with a detail below its picture: a text, and a widget that is hidden where there is nothing to show.

    The detail is computed in the background, as the picture is: what is asked for later counts, and Stop ends it.
    A subclass says what a click asks for (`_ask`), fills the widget (`_fill`) and names how to ask again (`hint`, a
    sentence).
    """

    hint = ""

    def __init__(
        self,
        draw: Callable[..., Picture],
        controls: Mapping[str, widgets.Widget],
        code: Callable[..., str],
        below: widgets.Widget,
    ) -> None:
        self._detail, self._below = widgets.HTML(), below
        self._detail_error: BaseException | None = None
        self._unfinished = False  # whether what is chosen waits for its detail
        self._say(f"<i>{self.hint}</i>")
        super().__init__(draw, controls, code)
        self.children = (*self.children, self._detail, below)

    def wait(self, timeout: float | None = None) -> Explorer:
        """Until picture and detail are there; raises what the last of them raised."""
        super().wait(timeout)
        if self._detail_error is not None:
            raise self._detail_error
        return self

    def _say(self, text: str, *, filled: bool = False, unfinished: bool = False) -> None:
        self._detail.value = f"<div style='line-height:1.45'>{text}</div>" if text else ""
        self._below.layout.display, self._detail_error, self._unfinished = "" if filled else "none", None, unfinished

    def _is_passing(self, made: str = "A new picture is being computed: click a cell of that one") -> bool:
        """Whether what was clicked is about to be replaced, which is said then."""
        if self._drawing:
            self._say(f"<i>{made}, or press Stop to go back to this one.</i>", unfinished=True)
        return self._drawing

    def _ask(self, said: str, job: Callable[[Tick], tuple[str, Any]], status: str) -> None:
        """Compute a detail -> (text, what `_fill` is given).  said: what stands there meanwhile."""

        def begin() -> None:
            self._say(said, unfinished=True)
            self._busy(True, status)

        self._worker.submit(job, self._deliver_detail, before=begin)

    def _fill(self, made: Any) -> bool:
        """Put it into the widget; whether there is anything to show."""
        raise NotImplementedError

    def _stopped(self) -> None:
        if self._unfinished:
            self._say(f"<i>Stopped. {self.hint}</i>")
        super()._stopped()

    def _deliver_detail(self, made: tuple[str, Any] | None, error: BaseException | None) -> None:
        self._busy(False, "")
        if error is not None or made is None:
            self.errors.append(error)
            self._say(explain(error))
            self._detail_error = error
        elif self._unfinished:  # else the choice was taken back, or something else was asked for
            self._say(made[0], filled=self._fill(made[1]))
