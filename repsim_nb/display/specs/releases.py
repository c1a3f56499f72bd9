"""Specs of two releases of a model: each layer with its interval and the threshold."""

from __future__ import annotations

from repsim_nb.results.releases import Drift

from .base import spec
from .lines import LineSpec, intervals_spec


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
