"""Square tables as arrays: brought into one order, both directions of a pair averaged."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from repsim_nb.measures import Measure
from repsim_nb.measures.ties import merge_table, spacing, tolerance_of
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.comparison.same_items import check_same_items
from repsim_nb.support.errors import as_clause, check_name, join_names, warn_user
from repsim_nb.support.labels import Choice, explain_same_text, match_labels, values_per_item
from repsim_nb.support.rdm_halves import check_diagonal, find_only_negative
from repsim_nb.support.rdms import RDM

SquareTable: TypeAlias = Comparison | pd.DataFrame | RDM
Direction = Literal["dissimilarity", "similarity"]
DIRECTIONS = ("dissimilarity", "similarity")
HALF = ("torch.float32", "torch.float16", "torch.bfloat16", "Float32")  # precisions that are no dtype of NumPy


def align_tables(
    a: SquareTable, b: SquareTable, direction: Direction | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two tables over the same items as arrays (m, m) in one order, and the positions of these items in a.

    Comparisons become dissimilarities, and values that are equal up to rounding become equal (`with_ties`). direction:
    what plain frames contain, needed if their diagonal does not show it.
    """
    if direction is not None:
        check_name("direction", direction, DIRECTIONS)
    x, y = (_apply_direction(table, direction) for table in (a, b))
    mine, other = match_labels(x.index, y.index)
    if not len(mine) == len(x) == len(y):
        raise ValueError(
            f"both tables must have the same items; got {len(x)} and {len(y)} items, {len(mine)} of them in common."
            f" Select items with .where(...){explain_same_text(y.index, x.index)}."
        )
    x, y = x.iloc[mine, mine], y.iloc[other, other]
    return with_ties(symmetric(x), a), with_ties(symmetric(y), b), mine


def to_table(side: SquareTable) -> Comparison | pd.DataFrame:
    """Return an RDM as a frame whose items are its samples; other tables as they are."""
    return side.to_frame() if isinstance(side, RDM) else side


def frame_of(table: SquareTable) -> pd.DataFrame:
    """Return a square table as a frame of dissimilarities with 0 on the diagonal.

    A frame must have 0 or NaN there: similarities are refused.
    """
    plain, table = isinstance(table, pd.DataFrame), to_table(table)
    frame = table.dissimilarity() if isinstance(table, Comparison) else table
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            "a table must be a Comparison, an RDM or a DataFrame with the same items in rows and columns; got"
            f" {type(table).__name__}."
        )
    if not frame.index.equals(frame.columns):
        hint = ". Pass a single column of numbers as a Series, frame['name']" if min(frame.shape) == 1 else ""
        raise ValueError(
            f"a table of pairs must be square, with the same items in rows and columns; got {frame.shape[0]} ×"
            f" {frame.shape[1]} with other labels{hint or explain_same_text(frame.columns, frame.index)}."
        )
    if not isinstance(table, Comparison):
        as_numbers(frame)
        check_diagonal(frame)
    else:
        check_same_items(table, "a table of pairs")
    if plain and (np.diag(as_numbers(frame)) == 0).any():  # NaN on the diagonal: `direction` states what it contains
        _warn_of_similarities(as_numbers(frame))
    values = as_numbers(frame).copy()
    np.fill_diagonal(values, 0)
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _warn_of_similarities(values: np.ndarray) -> None:
    """Warn if no value of a frame is above 0: it does not show whether they are cross-validated distances."""
    if found := find_only_negative(values, 1e-6 * float(np.nanmax(np.abs(values), initial=0.0))):
        warn_user(
            f"a frame must have dissimilarities, which are larger if items are less alike; in this one {found}. If it"
            " contains similarities, such as negative distances, pass -frame."
        )


def _apply_direction(table: SquareTable, direction: Direction | None) -> pd.DataFrame:
    """Return `frame_of` for functions that compare the order of two tables.

    A frame with NaN on its diagonal needs a direction, and the sign of similarities is reversed.
    """
    if not isinstance(table, pd.DataFrame) or not table.index.equals(table.columns):
        return frame_of(table)
    diagonal = np.diag(as_numbers(table))
    if direction == "similarity":
        if (
            len(diagonal)
            and (np.abs(diagonal) <= max(1e-6 * np.nanmax(np.abs(as_numbers(table)), initial=0), 1e-14)).all()
        ):
            raise ValueError(
                "direction='similarity' is for frames of similarities; got a frame with 0 on its whole diagonal, as"
                " dissimilarities have. If it contains dissimilarities, leave direction out, and pass 1 - frame for a"
                " frame of similarities. If its diagonal was left out, put NaN there, not 0."
            )
        values = -as_numbers(table)
        np.fill_diagonal(values, np.nan)
        return frame_of(pd.DataFrame(values, index=table.index, columns=table.columns))
    if direction is None and len(diagonal) and np.isnan(diagonal).all():
        raise ValueError(
            "a frame with NaN on its whole diagonal may contain dissimilarities or similarities. Pass"
            " direction='dissimilarity' or direction='similarity', or pass the Comparison itself."
        )
    return frame_of(table)


def with_ties(square: np.ndarray, table: SquareTable) -> np.ndarray:
    """Make cells of a table that are equal up to rounding equal.

    Values of a Comparison are sums over samples, so their last digits are less exact than those of single numbers.
    """
    if isinstance(table, Comparison):
        return merge_table(square, tolerance_of_sums(square, table.measure))
    eps = precision_of(table)
    return merge_table(square, tolerance_of(square, eps, 1.0 if _from_similarities(square, eps) else 0.0))


def tolerance_of_sums(dissimilarities: np.ndarray, measure: Measure) -> float:
    """Return by how much equal dissimilarities of a measure may differ, being sums over samples."""
    return tolerance_of(dissimilarities, 8 * spacing(np.float64), 1.0 if measure.kind == "similarity" else 0.0)


def _from_similarities(square: np.ndarray, eps: float) -> bool:
    """Return whether numbers are differences from numbers near 1 (1 - similarity), whose rounding is that of 1.

    All are then integer multiples of half the spacing just below 1 (half, for the mean of two of them). Small numbers
    that were stored as they are have more digits.
    """
    steps = np.abs(square[np.isfinite(square)]) * (4 / eps)
    return bool(len(steps) and 0 < steps.max() < 4 / eps and (steps == np.floor(steps)).all())


def precision_of(values: Any) -> float:
    """Return the spacing of numbers near 1 in the given precision, that of the coarsest column of a frame."""
    kinds = list(values.dtypes) if isinstance(values, pd.DataFrame) else [getattr(values, "dtype", None)]
    return max(
        (spacing(kind) for kind in kinds if isinstance(kind, np.dtype)),
        default=spacing(np.float32 if str(kinds[0]) in HALF else np.float64),
    )


def symmetric(frame: pd.DataFrame) -> np.ndarray:
    """Return a square table as an array, the two directions of each pair averaged."""
    square = as_numbers(frame)
    return (square + square.T) / 2


def as_numbers(values: Any) -> np.ndarray:
    """Return values as an array of float, missing ones as NaN."""
    try:
        return np.asarray(
            values.to_numpy(float, na_value=np.nan) if isinstance(values, (pd.Series, pd.DataFrame)) else values,
            dtype=float,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"values must be numbers; got something else ({as_clause(error)}).") from error


def require_values_per_item(index: pd.Index, choice: Choice, what: str) -> pd.Series:
    """Return one value an item, as `values_per_item` does. ValueError if one is undefined."""
    values = values_per_item(index, choice, what)
    if values.isna().any():
        raise ValueError(
            f"{what} must have a value for each item; it is undefined for"
            f" {join_names((index[i] for i in np.flatnonzero(values.isna())), 3)}. Leave these items out."
        )
    return values
