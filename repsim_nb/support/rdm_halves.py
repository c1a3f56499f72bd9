"""Square matrices of dissimilarities from both halves, or from the part above the diagonal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


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
