"""Ties up to rounding: numbers that differ by rounding only count as equal if their order matters.

A tie is never wider than the tolerance. A run of numbers, each near the next, is not always one tie: it is cut at its
widest gaps until every part is narrow enough. Ties do not depend on the order of the numbers, and the ties of -values
are those of values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FEW = 8  # spacings of the precision by which equal numbers may differ
LARGE_TIE = 0.05  # the fraction of all numbers from which on a tie is a large one
# rounding alone leaves the middle half of a tie narrower than this times the tolerance (one spacing)
NARROW = 1 / 8
_FINER = 8.0  # a run that is too wide is cut at gaps above the tolerance divided by this, then by its square, ...


def spacing(dtype: Any) -> float:
    """Return the spacing of numbers near 1 of a dtype; integers count as float64, half precision as float32."""
    dtype = np.dtype(dtype)
    return float(np.finfo(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64).eps)


def tolerance_of(values: np.ndarray, eps: float | None = None, scale: float = 0.0) -> float:
    """Return by how much equal numbers among these may differ: a few spacings times the largest size.

    eps: the spacing of their precision.  scale: the size of the numbers that they were computed from, if it is larger;
    1 for 1 - similarity.
    """
    eps = spacing(values.dtype) if eps is None else eps
    return FEW * eps * max(float(np.abs(values[np.isfinite(values)]).astype(float).max(initial=0.0)), scale)


def merge_ties(values: Any, tolerance: float) -> np.ndarray:
    """Replace the numbers (m,) of a tie by its smallest, so that == and < are right; NaN and infinity stay."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(tie_starts(ordered, tolerance))
    merged = np.empty_like(values)
    merged[order] = np.repeat(ordered[starts], np.diff(starts, append=len(values)))
    return merged


def merge_table(square: np.ndarray, tolerance: float) -> np.ndarray:
    """Apply `merge_ties` to all cells of a table."""
    return merge_ties(square.ravel(), tolerance).reshape(square.shape)


def ranks_with_ties(values: np.ndarray, tolerance: float | np.ndarray = 0.0) -> np.ndarray:
    """Return ranks from 1; the numbers of a tie share their mean rank.

    tolerance: one for all numbers, or one for each. With 0 the ranks are those of `scipy.stats.rankdata`, four times as
    fast.
    """
    order = np.argsort(values)
    first = tie_starts(values[order], tolerance if np.ndim(tolerance) == 0 else tolerance[order])  # type: ignore[index]
    ranks = np.empty(len(values))
    if first.all():
        ranks[order] = np.arange(1, len(values) + 1)
        return ranks
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(values))
    ranks[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks


def row_ranks(values: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Return `ranks_with_ties` of every row (n, m), with a tolerance for each row (n,)."""
    n, m = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    firsts = np.zeros((n, m), bool)
    firsts[:, 0] = True
    starts = np.flatnonzero(tie_starts(ordered.ravel(), np.repeat(tolerance, m), firsts.ravel()))
    ends = np.append(starts[1:], n * m)
    ranks = np.empty((n, m))
    np.put_along_axis(
        ranks, order, np.repeat((starts + ends + 1) / 2 - starts // m * m, ends - starts).reshape(n, m), axis=1
    )
    return ranks


def tie_starts(ordered: np.ndarray, tolerance: float | np.ndarray, firsts: np.ndarray | None = None) -> np.ndarray:
    """Return which of these increasing numbers (m,) are the first of their tie, as bool (m,).

    tolerance: one for all, or one for each; then some value is within half the tolerance of every number of a tie.
    firsts: where a tie starts in any case (bool; the first number included), for several sequences in one array.
    """
    m = len(ordered)
    if not m:
        return np.zeros(0, bool)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        gaps = np.subtract(ordered[1:], ordered[:-1], dtype=float)
    each = None if np.ndim(tolerance) == 0 else np.asarray(tolerance, dtype=float)
    finer: Any = tolerance if each is None else (each[1:] + each[:-1]) / 2  # for each gap
    coarsest = float(np.max(tolerance))
    first = np.empty(m, bool)
    first[0] = True
    np.greater(gaps, finer, out=first[1:])
    if np.isnan(gaps[-1:]).any() or not np.isfinite(ordered[0]):
        first[1:] |= np.isnan(gaps) & (ordered[1:] != ordered[:-1])  # equal infinities are a tie, NaN is not
    if firsts is not None:
        first |= firsts
    places: np.ndarray | None = None  # all places, then those of the runs that are too wide
    while not first.all():
        starts = np.flatnonzero(first) if places is None else places[first[places]]
        ends = _ends(first, starts, places, m)
        longer = ends > starts
        starts, ends = starts[longer], ends[longer]
        wide = _too_wide(ordered, tolerance if each is None else each, starts, ends)
        if not wide.any():
            return first
        starts, ends = starts[wide], ends[wide]
        places = _places(starts, ends)
        inner = places[~first[places]]
        finer = finer / _FINER
        finest = float(np.max(finer)) < 1e-9 * coarsest
        first[inner[gaps[inner - 1] > (0.0 if finest else finer if each is None else finer[inner - 1])]] = True
    return first


def _too_wide(ordered: np.ndarray, tolerance: float | np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which of these runs of numbers are more than one tie, as bool."""
    if not len(starts):
        return np.zeros(0, bool)
    with np.errstate(invalid="ignore"):
        if np.ndim(tolerance) == 0:
            return np.subtract(ordered[ends], ordered[starts], dtype=float) > tolerance
        places, many = _places(starts, ends), ends - starts + 1
        above, half = ordered[places] - np.repeat(ordered[starts], many), tolerance[places] / 2  # type: ignore[index]
        cuts = np.concatenate([[0], np.cumsum(many)[:-1]])
        highest, lowest = np.maximum.reduceat(above - half, cuts), np.minimum.reduceat(above + half, cuts)
        # numbers that are the same are one tie whatever their tolerance
        return (highest > lowest) & (above[np.cumsum(many) - 1] > 0)


def _places(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the places of all numbers of these runs, one run after the other."""
    many = ends - starts + 1
    return np.arange(many.sum()) + np.repeat(starts - np.concatenate([[0], np.cumsum(many)[:-1]]), many)


def _ends(first: np.ndarray, starts: np.ndarray, places: np.ndarray | None, m: int) -> np.ndarray:
    """Return the last place of each tie that starts at `starts`."""
    if places is None:
        return np.append(starts[1:], m) - 1
    index = np.flatnonzero(first[places])
    return places[np.append(index[1:], len(places)) - 1]


def coarsely_tied(values: np.ndarray, ranks: np.ndarray, tolerance: float | np.ndarray) -> float:
    """Return the fraction of numbers that are in large ties of different numbers.

    These ties are as wide as the tolerance allows; rounding alone leaves a tie narrow.
    """
    codes = np.rint(2 * ranks).astype(np.int64)
    many = np.bincount(codes)
    number = 0
    for code in np.flatnonzero(many >= max(2.0, LARGE_TIE * len(values))):
        tied = codes == code
        allowed = tolerance if np.ndim(tolerance) == 0 else np.median(tolerance[tied])  # type: ignore[index]
        number += many[code] if np.subtract(*np.percentile(values[tied], [75, 25])) > NARROW * allowed else 0
    return number / len(values)
