"""Specs of RDMs, as colored cells, and of what models explain of repeated measurements, as values with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from repsim_nb.results.inference import ModelComparison
from repsim_nb.support.rdms import RDM
from repsim_nb.support.summaries import percent

from .base import spec
from .lines import Layer, LineSpec, intervals_spec
from .matrices import MatrixSpec, Ticks, cells

MOST_SAMPLES = 300  # more cells are smaller than a pixel


@spec.register
def rdm_spec(result: RDM, *, title: str = "RDM") -> MatrixSpec:
    """Return the spec of an RDM; of at most 300 samples, evenly spaced.

    A missing pair is a hatched cell with the reason.
    """
    shown = np.unique(np.linspace(0, len(result) - 1, min(MOST_SAMPLES, len(result))).astype(int))
    values = result.values[np.ix_(shown, shown)]
    known = values[np.isfinite(values)]
    low, high = min(float(known.min()), 0.0), float(known.max())
    labels = () if result.ids is None else tuple(map(str, result.ids[shown].tolist()))
    kind = "squared distance" if result.squared else "dissimilarity"
    some = f", {len(shown)} of them shown" if len(shown) < len(result) else ""
    return MatrixSpec(
        values=cells(values),
        row_labels=labels,
        column_labels=labels,
        column_title="" if labels else "samples",
        title=title,
        subtitle=f"n = {len(result)} samples{some}",
        bar_label=f"{kind} of two samples",
        low=low,
        high=high if high > low else low + 1.0,
        color_map="viridis_r",
        annotate=False,
        notes=tuple((i, j, "this pair is missing") for i, j in np.argwhere(np.isnan(values)).tolist()),
        ticks=Ticks(smallest=5, slanted_from=3),
        square=True,
        size=(5.0, 4.6),
    )


@spec.register
def model_comparison_spec(result: ModelComparison, *, title: str | None = None) -> LineSpec:
    """Return the spec of models with their values and intervals; dashed lines are the noise ceiling."""
    heading = f"{len(result.ceiling.each)} repeats, n = {result.n}; dashed: noise ceiling"
    drawn = intervals_spec(
        {result.measure: result.values},
        xlabel=f"{result.measure}, {percent(result.level)} intervals over {' and '.join(result.resampled)}",
        title=heading if title is None else title,
    )
    bounds = (result.ceiling.lower, result.ceiling.upper)
    ceiling = Layer("vertical", bounds, colors=("0.35",), dash="--", width=1, order=0)
    return replace(drawn, layers=(ceiling, *drawn.layers))
