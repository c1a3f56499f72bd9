"""Specs of tables whose cells were tested: those above chance have a dot."""

from __future__ import annotations

from typing import Any

import pandas as pd

from repsim_nb.results.inference import BestMatch, NullTable

from .base import spec
from .matrices import MatrixSpec, comparison_spec


@spec.register
def null_table_spec(
    result: NullTable, *, marks: pd.DataFrame | None = None, marks_mean: str | None = None, **options: Any
) -> MatrixSpec:
    """Return the spec of a table with null distributions: cells above their null have a dot."""
    if marks is None:
        marks, marks_mean = result.above(), marks_mean or "above its null, false discovery rate 5 %"
    return comparison_spec(result.comparison, marks=marks, marks_mean=marks_mean, **options)


@spec.register
def best_match_spec(
    result: BestMatch, *, marks: pd.DataFrame | None = None, marks_mean: str | None = None, **options: Any
) -> MatrixSpec:
    """Return the spec of a table whose best pair was tested: cells above chance have a dot."""
    if marks is None:
        marks, marks_mean = result.significant(), marks_mean or "above chance, family-wise error 5 %"
    return comparison_spec(result.comparison, marks=marks, marks_mean=marks_mean, **options)
