"""What a view shows of a spec: the rows and columns that its filter leaves, with the ends of its color scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from repsim_nb.display.specs import FigureSpec, MatrixSpec


def visible_spec(shown: FigureSpec, view: Any) -> FigureSpec:
    """Return the spec of what a view shows of a spec: a matrix with its filter and its color scale."""
    if not isinstance(shown, MatrixSpec) or not hasattr(view, "scaling"):
        return shown
    words = view.filter.lower().split()
    rows, columns = (_match_words(labels, words) for labels in (shown.row_labels, shown.column_labels))
    if len(rows) < len(shown.row_labels) or len(columns) < len(shown.column_labels):
        shown = _select(shown, rows, columns)
    low, high = shown.low, shown.high
    if view.scaling == "locked" and len(view.limits) == 2:
        low, high = view.limits
    if view.scaling == "free":
        values = [value for row in shown.values for value in row if value is not None]
        ends = (min(values), max(values)) if values else (low, high)
        if low < 0 and low == -high:  # the middle color stays that of 0
            ends = -max(map(abs, ends)), max(map(abs, ends))
        low, high = ends if ends[0] < ends[1] else (low, high)
    if (low, high) == (shown.low, shown.high):
        return shown
    ticks = tuple((at, text) for at, text in shown.bar_ticks if low <= at <= high)
    return replace(shown, low=low, high=high, bar_ticks=ticks)


def _match_words(labels: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return the numbers of the labels that have all words; all numbers if none has."""
    found = [k for k, label in enumerate(labels) if all(word in label.lower() for word in words)]
    return found or list(range(len(labels)))


def _select(shown: MatrixSpec, rows: list[int], columns: list[int]) -> MatrixSpec:
    """Return the spec of some rows and columns."""
    down, across = ({k: place for place, k in enumerate(which)} for which in (rows, columns))

    def breaks(places: Sequence[int], which: Sequence[int]) -> tuple[int, ...]:
        found = dict.fromkeys(sum(k < place for k in which) for place in places)
        return tuple(place for place in found if 0 < place < len(which))

    def cells(table: Any) -> Any:
        return tuple(tuple(table[i][j] for j in columns) for i in rows) if table else table

    return replace(
        shown,
        values=cells(shown.values),
        texts=cells(shown.texts),
        row_labels=tuple(shown.row_labels[i] for i in rows),
        column_labels=tuple(shown.column_labels[j] for j in columns),
        notes=tuple((down[i], across[j], text) for i, j, text in shown.notes if i in down and j in across),
        marks=tuple((down[i], across[j]) for i, j in shown.marks if i in down and j in across),
        row_breaks=breaks(shown.row_breaks, rows),
        column_breaks=breaks(shown.column_breaks, columns),
    )
