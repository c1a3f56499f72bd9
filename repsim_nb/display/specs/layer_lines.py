"""Specs with one line, or one interval, for each layer: of training as it was watched, and of two releases."""

from __future__ import annotations

from dataclasses import replace

from repsim_nb.results.releases import Drift
from repsim_nb.results.watching import TrainingRecord

from .base import spec
from .lines import LineSpec, PanelsSpec, curves_spec, intervals_spec

_TITLES = {"start": "to the start", "previous": "to the recording before", "reference": "to {}"}


@spec.register
def training_spec(result: TrainingRecord, *, xlabel: str = "step") -> PanelsSpec:
    """Return the spec of a watched training: its panels next to each other."""
    panels = training_panels(result, xlabel)
    return PanelsSpec(panels, size=(4.8 * len(panels), 3.6))


def training_panels(result: TrainingRecord, xlabel: str = "step") -> tuple[LineSpec, ...]:
    """Return one LineSpec for each comparison: lines over steps, one for each layer."""
    panels = []
    for compared in result.compared:
        shown = curves_spec(
            result.to_frame(compared),
            xlabel=xlabel,
            ylabel=result.measure,
            title=f"{result.model} {_TITLES[compared].format(result.reference)}",
        )
        panels.append(replace(shown, size=(4.8, 3.6)))
    return tuple(panels)


@spec.register
def drift_spec(result: Drift, *, title: str = "", xlabel: str = "") -> LineSpec:
    """Return the spec of a comparison of two releases: one row for each layer, the threshold as a dashed line.

    Layers that only one model has, or that are constant in one of them, are rows without a value.
    """
    table = result.table()
    rows = list(dict.fromkeys(table["layer"]))
    frames = {}
    for name in result.comparisons:
        own = result.layers.set_axis(table["layer"])[(table["measure"] == name).to_numpy()]
        own = own[["estimate", "low", "high"]].set_axis(["mean", "low", "high"], axis=1)
        frames[name] = own.reindex(rows)
    names = ", ".join(frames)
    return intervals_spec(
        frames,
        line=result.at_least,
        title=title or f"{result.old} and {result.new}, n = {result.n:,}",
        xlabel=xlabel or f"{names} (dashed: at least {result.at_least:g})",
    )
