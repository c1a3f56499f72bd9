"""Square matrices of dissimilarities: read, from both halves or the part above the diagonal; the sign of values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.dimensions import is_of, sample_index
from repsim_nb.support.errors import as_clause, warn_user
from repsim_nb.support.ids import index_ids

SMALL = 1e-6  # the fraction of the largest value by which numbers that should be equal may differ
EPSILONS = 8  # and by how many steps of the precision, if all values may be rounding
# how often no cross-validated distance of n equal conditions is above 0, simulated with 2,000 draws each
_SO_BY_CHANCE = "1 in 2 times for 2 equal conditions, 1 in 15 for 4, 1 in 100 for 6"


def to_square(values: np.ndarray, what: str, diagonal: Any) -> np.ndarray:
    """Return a square matrix of its own memory, from itself or from the part above the diagonal."""
    if values.ndim == 2 and values.shape[0] == values.shape[1]:
        square = values.copy()
    elif values.ndim == 1:
        many = len(values)
        n = (1 + math.isqrt(1 + 8 * many)) // 2
        if n * (n - 1) // 2 != many:
            raise ValueError(
                f"{what} of an RDM as a vector has n (n - 1) / 2 numbers, such as {n * (n - 1) // 2} for {n} samples or"
                f" {n * (n + 1) // 2} for {n + 1}; got {many}"
            )
        square = np.full((n, n), diagonal, values.dtype)
        square[np.triu_indices(n, 1)] = values
        square.T[np.triu_indices(n, 1)] = values
    else:
        hint = ". For activations use rs.measures.first_order(x, 'euclidean')" if values.ndim == 2 else ""
        raise ValueError(
            f"{what} of an RDM must be a square matrix (n, n), or the pairs above its diagonal (n (n - 1) / 2,); got"
            f" shape {values.shape}{hint}"
        )
    if len(square) < 2:
        raise ValueError(f"an RDM needs at least 2 samples; got {len(square)}")
    return square


def check_both_halves(matrix: np.ndarray) -> None:
    """Raise ValueError if only the part above or below the diagonal has values, as many experiments store it."""
    above = np.triu_indices(len(matrix), 1)
    filled = [bool(np.nan_to_num(half[above]).any()) for half in (matrix, matrix.T)]
    if filled[0] != filled[1]:
        where, part = ("above", "values") if filled[0] else ("below", "values.T")
        raise ValueError(
            f"an RDM is symmetric, and of this matrix only the part {where} the diagonal has values. Pass this part as"
            f" a vector, rs.RDM({part}[np.triu_indices(len(values), 1)]); missing=, if there is one, in the same form."
        )


def find_rounding(values: np.ndarray) -> float:
    """Return by how much dissimilarities that should be equal may differ; values are finite."""
    eps, rounding = float(np.finfo(values.dtype).eps), SMALL * float(np.abs(values).max(initial=0.0))
    if rounding < EPSILONS * eps:
        # 1 - similarity may be rounding everywhere: then all values are multiples of eps / 2, which others are not
        steps = values / (eps / 2)
        rounding = EPSILONS * eps if np.array_equal(steps, np.rint(steps)) else rounding
    return rounding


def clear_negative_rounding(matrix: np.ndarray, rounding: float) -> None:
    """Set values to 0 that are below it by rounding. If none is above 0, this includes all that 1 - 1 may give."""
    if not np.nanmax(matrix) > 0:
        rounding = max(rounding, EPSILONS * float(np.finfo(matrix.dtype).eps))
    matrix[(matrix < 0) & (matrix >= -rounding)] = 0


def find_only_negative(matrix: np.ndarray, rounding: float) -> str:
    """Return a clause that names the lowest value if values are below 0 and none is above; "" otherwise.

    Parameters
    ----------
    matrix : array (n, n)
        With NaN where there is no value.
    rounding : float
        The largest value below 0 that may be rounding.
    """
    pairs = matrix[~np.eye(len(matrix), dtype=bool)]
    pairs = pairs[~np.isnan(pairs)]
    lowest = float(pairs.min(initial=0.0))
    return (
        f"no pair has a value above 0, and the lowest is {lowest:.3g}"
        if lowest < -rounding and pairs.max() <= 0
        else ""
    )


def check_sign(matrix: np.ndarray, rounding: float, squared: bool) -> None:
    """Raise ValueError if no value is above 0, as of negative distances; warn if they can be cross-validated ones."""
    found = find_only_negative(matrix, rounding)
    turn = "pass -values for negative distances, 1 - values for correlations"
    if found and not squared:
        raise ValueError(
            f"an RDM has dissimilarities, larger if samples are less alike; in this one {found}. If the values are"
            f" similarities, {turn}. If they are cross-validated distances, which can be below 0, these are squared:"
            " rs.RDM(values, squared=True)."
        )
    if found:
        warn_user(
            f"an RDM has dissimilarities; in this one, of squared distances, {found}. Cross-validated distances are so"
            f" by chance if no two conditions differ ({_SO_BY_CHANCE}). If the values are similarities, {turn}."
        )


def check_diagonal(frame: pd.DataFrame) -> None:
    """Raise ValueError if a frame is not one of dissimilarities, which are 0 on the diagonal.

    A plain frame does not show what its numbers are. A diagonal of NaN passes.
    """
    sizes = np.abs(frame.to_numpy(float, na_value=np.nan))
    diagonal = np.diag(sizes)
    if (diagonal > max(SMALL * np.nanmax(sizes, initial=0), 1e-14)).any():  # 1 - similarity may be rounding everywhere
        raise ValueError(
            f"a frame must have dissimilarities, 0 on its diagonal; this one has {np.nanmax(diagonal):.3g} there. Are"
            " they similarities? Pass the Comparison itself, or its .dissimilarity()."
        )


def read_values(values: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the numbers of an array, tensor, frame or list, in float32 or float64, and the ids of its samples.

    The index of pairs, in a Series, names no samples.
    """
    index = columns = None
    if is_of(values, "xarray", "DataArray"):
        index, columns = map(values.indexes.get, values.dims) if values.ndim == 2 else (None, None)
        values = values.values
    elif hasattr(values, "index") and not isinstance(values, (list, tuple)) and getattr(values, "ndim", 2) == 2:
        index, columns = sample_index(values), getattr(values, "columns", None)
    if index is not None and columns is not None and not index.equals(columns):
        raise ValueError(
            "an RDM has the same samples in rows and columns; the index and the columns of this frame differ. Use"
            " frame.loc[frame.index, frame.index]."
        )
    index = index_ids(index)
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    try:
        frame = isinstance(values, (pd.DataFrame, pd.Series))
        found = values.to_numpy(float, na_value=np.nan) if frame else np.asarray(values)
        if found.dtype.kind not in "biuf":
            raise TypeError(f"dtype {found.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"values of an RDM must be numbers, (n, n) or the pairs above the diagonal; got {type(values).__name__}"
            f" ({as_clause(error)})"
        ) from error
    half = found.dtype.kind == "f" and found.dtype.itemsize <= 4
    return found.astype(np.float32 if half else np.float64), index
