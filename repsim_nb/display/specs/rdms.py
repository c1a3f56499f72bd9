"""Specs of RDMs: dissimilarities of samples as colored cells."""

from __future__ import annotations

import numpy as np

from repsim_nb.support.rdms import RDM

from .base import spec
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
