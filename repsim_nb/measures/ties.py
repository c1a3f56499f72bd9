"""Ties up to rounding: numbers that differ by rounding only are equal wherever their order matters.

A tie is never wider than the tolerance. So a run of numbers, each near the next, does not become one tie: it is cut at its widest gaps until
every part is narrow enough. The ties do not depend on the order of the numbers, and those of -values are those of values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FEW = 8  # spacings of the precision by which equal numbers may differ
_FINER = 8.0  # a run that is too wide is cut at gaps above the tolerance over this, then over its square, ...


def spacing(dtype: Any) -> float:
    """The spacing of numbers near 1 in a NumPy precision: integers and bool are float64, half precision counts as float32."""
    dtype = np.dtype(dtype)
    return float(np.finfo(dtype).eps) if dtype.kind == "f" and dtype.itemsize == 4 else float(np.finfo(np.float32 if dtype.kind == "f" and dtype.itemsize < 4 else np.float64).eps)


def rounding_of(values: np.ndarray, eps: float | None = None, scale: float = 0.0) -> float:
    """By how much equal numbers among these may differ: a few spacings (`eps`, of their precision by default) times the largest size, or `scale` if that is more.

    Numbers that are all whole multiples of the spacing just below 1 are differences from numbers near 1 (1 - similarity), and so is their rounding.
    """
    eps = spacing(values.dtype) if eps is None else eps
    sizes = np.abs(values[np.isfinite(values)]).astype(float)
    largest = float(sizes.max(initial=0.0))
    if 0 < largest < 1:
        steps = sizes * 2.0**54  # of 1 - similarity, and of the mean of two such
        if (steps == np.floor(steps)).all():
            scale = max(scale, 1.0)
    return FEW * eps * max(largest, scale)


def merge_ties(values: Any, tolerance: float) -> np.ndarray:
    """The same numbers (m,), those of one tie replaced by its smallest, so that == and < are right of them. NaN and infinity stay."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(tie_starts(ordered, tolerance))
    merged = np.empty_like(values)
    merged[order] = np.repeat(ordered[starts], np.diff(starts, append=len(values)))
    return merged


def merge_table(square: np.ndarray, tolerance: float) -> np.ndarray:
    """`merge_ties` of all cells of a table."""
    return merge_ties(square.ravel(), tolerance).reshape(square.shape)


def ranks_with_ties(values: np.ndarray, tolerance: float = 0.0, weights: np.ndarray | None = None) -> np.ndarray:
    """Ranks from 1; the numbers of a tie share their mean rank. With tolerance 0 they are SciPy's `rankdata`, four times as fast.

    weights: how many times each number counts (whole numbers).
    """
    order = np.argsort(values)
    first = tie_starts(values[order], tolerance)
    ranks = np.empty(len(values))
    if weights is None and first.all():
        ranks[order] = np.arange(1, len(values) + 1)
        return ranks
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(values))
    if weights is None:
        before, after = starts, ends
    else:
        counted = np.concatenate([[0], np.cumsum(weights[order])])
        before, after = counted[starts], counted[ends]
    ranks[order] = np.repeat((before + after + 1) / 2, ends - starts)
    return ranks


def row_ranks(values: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """`ranks_with_ties` of every row (n, m), each with its own tolerance (n,)."""
    n, m = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    firsts = np.zeros((n, m), bool)
    firsts[:, 0] = True
    starts = np.flatnonzero(tie_starts(ordered.ravel(), np.repeat(tolerance, m), firsts.ravel()))
    ends = np.append(starts[1:], n * m)
    ranks = np.empty((n, m))
    np.put_along_axis(ranks, order, np.repeat((starts + ends + 1) / 2 - starts // m * m, ends - starts).reshape(n, m), axis=1)
    return ranks


def tie_starts(ordered: np.ndarray, tolerance: float | np.ndarray, firsts: np.ndarray | None = None) -> np.ndarray:
    """Which of these increasing numbers (m,) are the first of their tie -> bool (m,).

    tolerance: of all, or of each.  firsts: where a tie starts in any case (bool, the first of all included), for several sequences in one array.
    """
    m = len(ordered)
    if not m:
        return np.zeros(0, bool)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        gaps = np.subtract(ordered[1:], ordered[:-1], dtype=float)
    of_all = np.ndim(tolerance) == 0
    first = np.empty(m, bool)
    first[0] = True
    np.greater(gaps, tolerance if of_all else tolerance[1:], out=first[1:])  # type: ignore[index]
    if np.isnan(gaps[-1:]).any() or not np.isfinite(ordered[0]):
        first[1:] |= np.isnan(gaps) & (ordered[1:] != ordered[:-1])  # equal infinities are a tie, NaN is none
    if firsts is not None:
        first |= firsts
    finer = tolerance if of_all else np.asarray(tolerance)
    places: np.ndarray | None = None  # of all, then of the runs that are too wide
    while not first.all():
        starts = np.flatnonzero(first) if places is None else places[first[places]]
        ends = _ends(first, starts, places, m)
        with np.errstate(invalid="ignore"):
            wide = np.subtract(ordered[ends], ordered[starts], dtype=float) > (tolerance if of_all else tolerance[starts])  # type: ignore[index]
        if not wide.any():
            return first
        starts, ends = starts[wide], ends[wide]
        many = ends - starts + 1
        places = np.arange(many.sum()) + np.repeat(starts - np.concatenate([[0], np.cumsum(many)[:-1]]), many)
        inner = places[~first[places]]
        finer = finer / _FINER
        finest = float(np.max(finer)) < 1e-9 * float(np.max(tolerance))
        first[inner[gaps[inner - 1] > (0.0 if finest else finer if of_all else finer[inner])]] = True
    return first


def _ends(first: np.ndarray, starts: np.ndarray, places: np.ndarray | None, m: int) -> np.ndarray:
    """The last place of each tie that starts at `starts`."""
    if places is None:
        return np.append(starts[1:], m) - 1
    index = np.flatnonzero(first[places])
    return places[np.append(index[1:], len(places)) - 1]
