"""Texts of the detail of a pair of layers: the rows of its measures, and why some have no value."""

from __future__ import annotations

import html

from repsim_nb import measures


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
