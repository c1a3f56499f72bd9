"""The base of explorers of tables: what appears below a table, and below the detail of a pair of its layers."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.reliability import Diagnosis, Report, diagnose, report, summarize_findings
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.progress import Tick

from .code import get_or_make
from .detail import Detail, DetailExplorer
from .located_differences import LocatedDifferences, Options, locate
from .sample_panel import SamplePanel

LOCATED_SAMPLES = 1000  # at most, evenly spaced
NOTE_SAMPLES = 256  # of each layer, for the note below a table: a few hundredths of a second for each layer


class TableDetailExplorer(DetailExplorer):
    """An explorer of tables that adds to the detail of a pair the samples that differ, and how reliable its CKA is.

    Each part is computed after the one before it is shown: the detail, the samples, the line of
    `rs.reliability.report`, and last the note on problems of the layers of the table. A subclass sets `_xs` and
    `_dataset`, and calls `_set_pair` and `_request_note`.

    Attributes
    ----------
    samples : SamplePanel
        The maps and the list of samples; hidden while there is no pair.
    reliability : Report or None
        The report on the pair that was clicked last; None without a pair, and for a layer with itself.
    """

    _xs: Activations
    _dataset: Dataset | None

    def __init__(
        self, draw: Callable[..., Any], controls: Mapping[str, widgets.Widget], code: Callable[..., str]
    ) -> None:
        self.samples = SamplePanel(lambda call: self._worker.call_locked(call))
        self._located: dict[tuple[Key, Key], LocatedDifferences] = {}
        self._reports: dict[tuple[Key, Key], Report | None] = {}
        self._diagnoses: dict[Key, Diagnosis | None] = {}
        self._table_of_note: Comparison | None = None
        self._line, self._note = (widgets.HTML(layout={"display": "none"}) for _ in range(2))
        self._set_pair(None)
        super().__init__(draw, controls, code)
        self._detail_column.children = (*self._detail_column.children, self._line)
        self.children = (*self.children, self._note, self.samples)

    def _set_pair(self, pair: tuple[Key, Key] | None) -> None:
        """Hide the samples if there is no pair; those of another pair are replaced when the new ones come."""
        self._pair = pair
        if pair is None:
            self.samples.reveal(False)
        self._show_reliability(None)

    def _dataset_of(self, pair: tuple[Key, Key]) -> Dataset | None:
        """Return the data set that was recorded by both, if it is known."""
        data = self._dataset
        return data if data is not None and all(key.dataset in ("", data.name) for key in pair) else None

    def _deliver_detail(self, detail: Detail | None, error: BaseException | None) -> None:
        wanted = self._unfinished and detail is not None
        super()._deliver_detail(detail, error)
        if wanted and self._pair is not None:
            self._request_samples(self._pair)
        else:
            self._request_note()

    # -- the samples

    def _request_samples(self, pair: tuple[Key, Key]) -> None:
        def job(tick: Tick) -> LocatedDifferences | None:
            def make() -> LocatedDifferences:
                sides = self._xs[pair[0]], self._xs[pair[1]]
                names = f"{pair[0].model} / {pair[0].layer}", f"{pair[1].model} / {pair[1].layer}"
                k = min(Options().k, max(1, (len(sides[0]) - 1) // 3))  # of few samples, a few neighbours
                return locate(*sides, names, self._dataset_of(pair), Options(k, most=LOCATED_SAMPLES), tick)

            try:
                located = get_or_make(self._located, pair, make)
            except UndefinedError:
                return None  # the reason is in the text, or there are too few samples
            located.maps()
            return located

        self._worker.submit(job, self._deliver_samples, before=lambda: self._busy(True, "comparing the samples …"))

    def _deliver_samples(self, located: LocatedDifferences | None, error: BaseException | None) -> None:
        self._busy(False, "")
        if error is not None:
            self.errors.append(error)
        if located is not None:
            self.samples.show(located, located.maps())
        self.samples.reveal(located is not None)
        self._request_report()

    # -- the reliability of CKA

    def _request_report(self) -> None:
        pair = self._pair
        if pair is None or pair[0] == pair[1]:
            self._request_note()
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
        self._show_reliability(found)
        self._request_note()

    def _show_reliability(self, found: Report | None) -> None:
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

    # -- the note below the table

    def _request_note(self) -> None:
        """Diagnose the layers of the table that is shown, unless its note is there already."""
        shown = self.result
        if (
            self._last_error is None
            and shown is not None
            and shown is not self._table_of_note
            and shown.measure.compares != "outputs"
        ):
            self._worker.submit(lambda tick: (shown, self._notes_on(shown, tick)), self._deliver_note)

    def _notes_on(self, shown: Comparison, tick: Tick) -> tuple[str, ...]:
        keys = [Key(*label) for label in dict.fromkeys([*shown.values.index, *shown.values.columns])]
        for done, key in enumerate(keys):
            tick(done, len(keys))
            if key not in self._diagnoses:
                try:
                    self._diagnoses[key] = diagnose(self._xs[key], names=format_label(key), max_samples=NOTE_SAMPLES)
                except UndefinedError:
                    self._diagnoses[key] = None  # its cells are masked, with the reason
        found = {format_label(key): diagnosis for key in keys if (diagnosis := self._diagnoses[key]) is not None}
        return summarize_findings(shown.measure, found)

    def _deliver_note(self, note: tuple[Comparison, tuple[str, ...]] | None, error: BaseException | None) -> None:
        if note is None:
            assert error is not None
            self.errors.append(error)
        else:
            self._table_of_note, lines = note
            self._say_note(lines)

    def _say_note(self, lines: tuple[str, ...]) -> None:
        more = " <code>rs.reliability.diagnose(x, y)</code> gives the numbers."
        text = "<br>".join(f"⚠ {html.escape(line)}" for line in lines)
        self._note.value = f"<div style='line-height:1.45;max-width:760px'>{text}{more}</div>" if lines else ""
        self._note.layout.display = "" if lines else "none"


def merge_reasons(reasons: list[str]) -> list[str]:
    """Return reasons "measure of 'layer': why", with all measures that have the same reason in one."""
    measures_of: dict[str, list[str]] = {}
    for reason in reasons:
        name, of, rest = reason.partition(" of ")
        whole = of and " " not in name
        measures_of.setdefault(of + rest if whole else reason, []).append(name if whole else "")
    return [", ".join(dict.fromkeys(names)) + rest for rest, names in measures_of.items()]


def value_row(measure: measures.Measure, value: float | None, *, chosen: bool) -> str:
    """Return a row of the table of measures as HTML."""
    direction = "more alike" if measure.kind == "similarity" else "less alike"
    low, high = measure.range
    number = "undefined" if value is None else f"{value:.4f}"
    name = html.escape(measures.short_name(measure))
    return (
        f"<tr style='font-weight:{'bold' if chosen else 'normal'}'><td style='padding:0'>{name}</td><td align='right'"
        f" style='font-variant-numeric:tabular-nums;padding:0 0 0 16px'>{number}</td><td style='padding:0'>&nbsp;"
        f" {direction} ({low:g} to {high:.3g})</td></tr>"
    )
