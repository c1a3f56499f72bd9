"""Specs of training as it was watched: one panel for each comparison, one line for each layer."""

from __future__ import annotations

from dataclasses import replace

from repsim_nb.results.watching import TrainingRecord

from .base import spec
from .lines import LineSpec, PanelsSpec, curves_spec

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
