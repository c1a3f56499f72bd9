"""Square tables as arrays: brought into one order, both directions of a pair averaged."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from repsim_nb.measures import Measure
from repsim_nb.measures.ties import merge_table, spacing, tolerance_of
from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import Choice, explain_same_text, match_labels, values_per_item
from repsim_nb.support.validation import check_diagonal

SquareTable: TypeAlias = Comparison | pd.DataFrame
Direction = Literal["dissimilarity", "similarity"]
DIRECTIONS = ("dissimilarity", "similarity")
HALF = ("torch.float32", "torch.float16", "torch.bfloat16", "Float32")  # precisions that are no dtype of NumPy


def align_tables(
    a: SquareTable, b: SquareTable, direction: Direction | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tables over the same items as arrays (m, m) in one order of items; and the places of these items in a.

    Comparisons become dissimilarities, and values that are equal up to rounding become equal (`with_ties`).

    direction: what plain frames hold, to be given where their diagonal does not tell.
    """
    if direction is not None and direction not in DIRECTIONS:
        raise unknown_name("direction", direction, DIRECTIONS)
    x, y = (_apply_direction(table, direction) for table in (a, b))
    mine, other = match_labels(x.index, y.index)
    if not len(mine) == len(x) == len(y):
        raise ValueError(
            f"two tables are correlated over the same items; these have {len(x)} and {len(y)}, {len(mine)} of them in"
            f" common. Choose with .where(...){explain_same_text(y.index, x.index)}"
        )
    x, y = x.iloc[mine, mine], y.iloc[other, other]
    return with_ties(symmetric(x), a), with_ties(symmetric(y), b), mine


def frame_of(table: SquareTable) -> pd.DataFrame:
    """A square table as a frame of dissimilarities, 0 on the diagonal: that of a Comparison, or a frame that has 0 or
    nothing (NaN) there; similarities are refused.
    """
    frame = table.dissimilarity() if isinstance(table, Comparison) else table
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"a table is a Comparison or a DataFrame, the same items in rows and columns; got {type(table).__name__}"
        )
    if not frame.index.equals(frame.columns):
        hint = ": for a column of numbers give it alone, frame['name']" if min(frame.shape) == 1 else ""
        raise ValueError(
            f"a table of pairs is square, the same items in rows and columns; this one is {frame.shape[0]} ×"
            f" {frame.shape[1]} with other labels{hint or explain_same_text(frame.columns, frame.index)}"
        )
    if not isinstance(table, Comparison):
        as_numbers(frame)
        check_diagonal(frame)
    values = as_numbers(frame).copy()
    np.fill_diagonal(values, 0)
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _apply_direction(table: SquareTable, direction: Direction | None) -> pd.DataFrame:
    """`frame_of`, for functions that compare the order of two tables: a frame whose diagonal says nothing (NaN) needs a
    direction, and similarities that are said to be some are turned.
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
                "direction='similarity' says that a frame holds similarities, and this one has 0 on its whole diagonal,"
                " as dissimilarities have: is it one of them? Then leave direction out, or turn the other frame"
                " yourself. (Similarities whose diagonal was left out have NaN there, not 0.)"
            )
        values = -as_numbers(table)
        np.fill_diagonal(values, np.nan)
        return frame_of(pd.DataFrame(values, index=table.index, columns=table.columns))
    if direction is None and len(diagonal) and np.isnan(diagonal).all():
        raise ValueError(
            "the order of two tables is compared, and a frame without values (NaN) on its diagonal does not tell"
            " whether it holds dissimilarities or similarities: say direction='dissimilarity' or"
            " direction='similarity', or pass the Comparison itself"
        )
    return frame_of(table)


def with_ties(square: np.ndarray, table: SquareTable) -> np.ndarray:
    """The cells of a table, those equal up to rounding made equal.

    A Comparison holds sums over samples, whose last digits are worth less than those of single numbers.
    """
    if isinstance(table, Comparison):
        return merge_table(square, tolerance_of_sums(square, table.measure))
    eps = precision_of(table)
    return merge_table(square, tolerance_of(square, eps, 1.0 if _from_similarities(square, eps) else 0.0))


def tolerance_of_sums(dissimilarities: np.ndarray, measure: Measure) -> float:
    """By how much equal dissimilarities of a measure may differ: they are sums over samples, whose last digits are
    worth less than those of single numbers.
    """
    return tolerance_of(dissimilarities, 8 * spacing(np.float64), 1.0 if measure.kind == "similarity" else 0.0)


def _from_similarities(square: np.ndarray, eps: float) -> bool:
    """Are these numbers differences from numbers near 1 (1 - similarity), so that their rounding is that of 1?

    Then all are whole multiples of the spacing just below 1, or of half of it, as the mean of two such. Smaller numbers
    of the same precision that were stored as they are have digits beyond that.
    """
    steps = np.abs(square[np.isfinite(square)]) * (4 / eps)
    return bool(len(steps) and 0 < steps.max() < 4 / eps and (steps == np.floor(steps)).all())


def precision_of(values: Any) -> float:
    """The spacing of numbers near 1 in what was given: a frame is as coarse as the coarsest of its columns."""
    kinds = list(values.dtypes) if isinstance(values, pd.DataFrame) else [getattr(values, "dtype", None)]
    return max(
        (spacing(kind) for kind in kinds if isinstance(kind, np.dtype)),
        default=spacing(np.float32 if str(kinds[0]) in HALF else np.float64),
    )


def symmetric(frame: pd.DataFrame) -> np.ndarray:
    square = as_numbers(frame)
    return (square + square.T) / 2


def as_numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray(
            values.to_numpy(float, na_value=np.nan) if isinstance(values, (pd.Series, pd.DataFrame)) else values,
            dtype=float,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"statistics need numbers; something else is there ({error})") from error


def require_values_per_item(index: pd.Index, choice: Choice, what: str) -> pd.Series:
    """One value an item, as in `values_per_item`; ValueError where one is undefined."""
    values = values_per_item(index, choice, what)
    if values.isna().any():
        raise ValueError(
            f"{what} is undefined for {join_names((index[i] for i in np.flatnonzero(values.isna())), 3)}: leave those"
            " items out"
        )
    return values
