"""The base of explorers of tables: below the table, a note names problems of its layers."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from repsim_nb.inputs.store import Key
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.reliability import Diagnosis, diagnose, summarize_findings
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.progress import Tick

from .pair_reliability import PairReliabilityExplorer

NOTE_SAMPLES = 256  # of each layer, for the note below a table: a few hundredths of a second for each layer


class TableNoteExplorer(PairReliabilityExplorer):
    """An explorer of tables with a note on their layers, which are diagnosed after all other work."""

    def __init__(
        self, draw: Callable[..., Any], controls: Mapping[str, widgets.Widget], code: Callable[..., str]
    ) -> None:
        self._diagnoses: dict[Key, Diagnosis | None] = {}
        self._table_of_note: Comparison | None = None  # the table of the note
        self._note = widgets.HTML(layout={"display": "none"})
        super().__init__(draw, controls, code)
        self.children = (*self.children[:-1], self._note, self.children[-1])

    def _after_reliability(self) -> None:
        self._request_note()  # if the click came before the note

    def _request_note(self) -> None:
        """Diagnose the layers of the table that is shown, after all other work."""
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
