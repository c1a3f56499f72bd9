"""Representations of the same samples: their labels, how many samples, and some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import eps
from repsim_nb.measures.table_inputs import check_sides, to_arrays, to_one_library
from repsim_nb.results.comparison.inputs import check_correspondence, check_outputs
from repsim_nb.support.containers import to_array
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import check_representation


def representations_of(
    xs: Mapping[Any, Any], *compared_by: Measure, every_pair: bool = True
) -> tuple[dict[Any, Any], int]:
    """Return {label: array with one row a sample}, and the number of samples, the same in all and in the measures.

    Compare the arrays with `compare_corresponding`: ids, labels and names of classes are checked here, on the recording
    itself, since arrays have none. every_pair: whether every pair is compared, so that all labels are checked.
    """
    if not isinstance(xs, Mapping) or not xs:  # type: ignore[redundant-expr]
        raise TypeError(
            "representations must be a recording or a mapping, {'a': x, 'b': y}; got"
            f" {'an empty one' if isinstance(xs, Mapping) else type(xs).__name__}."  # type: ignore[redundant-expr]
        )
    if every_pair:
        check_correspondence(xs)
    check_sides({"xs": xs})
    for measure in compared_by:
        check_outputs(measure, xs)
        if measure.sample_data or measure.compares == "outputs":
            check_sides({"xs": xs}, measure)
    arrays = _with_rows(to_arrays(xs))
    return arrays, measures.check_same_samples(arrays)


def _with_rows(arrays: dict[Any, Any]) -> dict[Any, Any]:
    """Check that arrays have rows, and return them."""
    for label, x in arrays.items():
        if x.ndim == 0:
            raise UndefinedError(f"'{format_label(label)}': a representation is (samples, features); it has shape ()")
    return arrays


def pair_of(x: Any, y: Any, measure: Measure | None = None) -> tuple[Any, Any, int]:
    """Return both sides as arrays of one library, and their number of samples, the same in the measure's own data."""
    check_sides({"x": {"x": x}, "y": {"y": y}}, measure)
    given = _with_rows(to_arrays({"x": x})), _with_rows(to_arrays({"y": y}))
    n = measures.check_same_samples(*given)
    left, right = to_one_library(*given)
    return left["x"], right["y"], n


def in_double(x: Any, *, constant: bool = False) -> Any:
    """Return a checked representation (n, p) in float64; an RDM stays one. constant: whether samples may be equal."""
    return x.astype(np.float64) if isinstance(x, RDM) else check_representation(x, double=True, constant=constant)


def spacing_of(x: Any) -> float:
    """Return the spacing of numbers near 1 in the precision in which a representation is compared."""
    return float(np.finfo(x.dtype).eps) if isinstance(x, RDM) else eps(check_representation(x[:2], constant=True))


def rows_of(x: Any, which: np.ndarray) -> Any:
    """Return some samples of a representation, as an array."""
    return to_array(x)[which]
