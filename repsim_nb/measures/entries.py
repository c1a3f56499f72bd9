"""Exact distances between samples, and how much of each entry of a matrix of samples may be rounding.

Ranks of entries need both.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import check_stopped

from .ties import FEW, spacing

FINE = spacing(np.float64)
_BLOCK = 2**21  # numbers held at a time


def entry_tolerance(x: Array, first: str, coarse: float, which: np.ndarray) -> Any:
    """Return by how much equal entries of "correlation", "cosine" or "dot" may differ, one for all or one for each.

    x: in float64.  coarse: the spacing of the numbers before.  which: the cells (n, n) that count.  The numbers of a
    sample are as coarse as they are large; for "correlation" before the mean of the sample is subtracted.
    """
    own = FEW * FINE * x.shape[1] ** 0.5  # rounding of the sums of products
    if first == "cosine":
        return FEW * coarse + own
    x = to_numpy(x)
    if first == "dot":
        sizes = np.linalg.norm(x / np.abs(x).max(), axis=1)
        return (FEW * coarse + own) * np.outer(sizes, sizes)[which]
    x = x / np.abs(x).max(axis=1, keepdims=True)
    growth = np.linalg.norm(x, axis=1) / np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=1)
    return FEW * coarse / 2 * np.add.outer(growth, growth)[which] + own


def exact_distances(x: Array, coarse: float, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Euclidean distances in `which` (n, n), and by how much each may be rounding.

    Both are in units of the largest number of x. Distances come from products of samples, after the median of each
    feature is subtracted (a single far sample does not move it), and from differences of samples if products are too
    coarse.
    """
    xp = array_api_compat.array_namespace(x)
    raw = to_numpy(x)
    raw = raw / (np.abs(raw).max() or 1.0)
    sizes = np.linalg.norm(raw, axis=1)
    rows = raw - np.median(raw, axis=0)
    device = array_api_compat.device(x)
    on = xp.asarray(rows, device=device)
    squares = np.einsum("ij,ij->i", rows, rows)
    squared = np.array(to_numpy(on @ on.T))
    squared *= -2
    squared += squares[:, None]
    squared += squares
    np.fill_diagonal(squared, 0)
    distances = np.sqrt(np.clip(squared[which], 0, None))
    np.add.outer(squares, squares, out=squared)
    both = squared[which]
    np.add.outer(sizes**2, sizes**2, out=squared)
    of_input = coarse * np.sqrt(squared[which] / 2)
    del squared
    own = FINE * raw.shape[1] ** 0.5
    again = np.flatnonzero(own * both >= 2 * distances * (of_input + own * distances))
    i, j = np.divmod(np.flatnonzero(which)[again], len(raw))
    step = max(1, _BLOCK // raw.shape[1])
    for start in range(0, len(again), step):
        check_stopped()
        some = slice(start, start + step)
        distances[again[some]] = np.linalg.norm(raw[i[some]] - raw[j[some]], axis=1)
    return distances, FEW * (of_input + own * distances)
