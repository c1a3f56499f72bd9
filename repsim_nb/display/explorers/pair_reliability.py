"""The base of explorers whose detail of a pair of layers ends with how far its CKA can be trusted."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.inputs.store import Key
from repsim_nb.results.reliability import Report, report
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.progress import Tick

from .code import get_or_make
from .detail import Detail
from .pair_samples import LOCATED_SAMPLES, PairSamplesExplorer


class PairReliabilityExplorer(PairSamplesExplorer):
    """An explorer that shows, below the detail of a pair, the line of `rs.reliability.report`.

    It is computed after the detail and the samples are there, while nobody waits for it, and once for each pair.

    Attributes
    ----------
    reliability : Report or None
        The report on the pair that was clicked last; None without a pair, and for a layer with itself.
    """

    def __init__(
        self, draw: Callable[..., Any], controls: Mapping[str, widgets.Widget], code: Callable[..., str]
    ) -> None:
        self._reports: dict[tuple[Key, Key], Report | None] = {}
        self._line = widgets.HTML(layout={"display": "none"})
        self.reliability: Report | None = None
        super().__init__(draw, controls, code)
        self._detail_column.children = (*self._detail_column.children, self._line)

    def _after_reliability(self) -> None:
        """Go on with other work, if there is any."""

    def _set_pair(self, pair: tuple[Key, Key] | None) -> None:
        super()._set_pair(pair)
        self._show_line(None)

    def _deliver_detail(self, detail: Detail | None, error: BaseException | None) -> None:
        self._wanted = self._unfinished and detail is not None
        super()._deliver_detail(detail, error)

    def _after_samples(self) -> None:
        pair = self._pair
        if pair is None or pair[0] == pair[1] or not self._wanted:
            self._after_reliability()
            return

        def job(tick: Tick) -> Report | None:
            return get_or_make(self._reports, pair, lambda: self._report_on(pair))

        self._worker.submit(job, self._deliver_report)

    def _report_on(self, pair: tuple[Key, Key]) -> Report | None:
        names = [f"{key.model} / {key.layer}" for key in pair]
        try:
            return report(
                *(self._xs[key] for key in pair),
                names=names if names[0] != names[1] else None,
                max_samples=LOCATED_SAMPLES,
            )
        except UndefinedError:
            return None  # the reason is in the detail

    def _deliver_report(self, found: Report | None, error: BaseException | None) -> None:
        if error is not None:
            self.errors.append(error)
        self._show_line(found)
        self._after_reliability()

    def _show_line(self, found: Report | None) -> None:
        """Show the verdict and its sentence, or nothing."""
        self.reliability = found
        self._line.layout.display = "none" if found is None else ""
        if found is None:
            self._line.value = ""
            return
        mark, some = "" if found.ok else "⚠ ", f" ({found.samples} samples)"
        self._line.value = (
            f"<div style='line-height:1.45;max-width:680px'>{mark}<b>Reliability of CKA:</b>"
            f" {html.escape(found.verdict)}{some}. {html.escape(found.sentence)}"
            " <code>rs.reliability.report(x, y)</code> gives the numbers.</div>"
        )
