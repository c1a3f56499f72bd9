"""The measures that are benchmarked, by the names that tables have them under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from repsim_nb import measures
from repsim_nb.measures import CCA, Measure

MEASURES: dict[str, Measure] = {
    "pwcca_all": CCA(
        summary="projection_weighted", normalise="all"
    ),  # the published one: weights of the reference, over all its directions
    "pwcca_all_other": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_other": CCA(summary="projection_weighted", weights="y"),
    **measures.REPRESENTATIONAL,
}
Measures = Mapping[str, str | Measure] | Iterable[str | Measure] | None


def choose_measures(chosen: Measures) -> dict[str, Measure]:
    """Measures by the names that tables have them under; None is all of MEASURES."""
    if chosen is None:
        return dict(MEASURES)
    if isinstance(chosen, (str, Measure)):
        chosen = [chosen]
    found = {}
    for item in chosen:
        given = chosen[item] if isinstance(chosen, Mapping) else item
        measure = MEASURES.get(given) if isinstance(given, str) else given
        measure = measures.get(given) if measure is None else measures.get(measure)
        name = item if isinstance(chosen, Mapping) or isinstance(item, str) else measures.short_name(measure)
        if name in found and found[name] is not measure:
            raise ValueError(f"two measures have the name '{name}': pass {{name: measure}}")
        found[name] = measure
    if not found:
        raise ValueError("there is no measure to judge: name one or several")
    return found
