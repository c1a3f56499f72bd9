"""Measures without the pairs of samples within a group: rows of one group depend on each other.

In debiased CKA and distance correlation the entries within a group are treated as the diagonal is: every term is a mean
over samples of different groups. RSA leaves those pairs out. Groups of one sample each give the measure itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_representation, to_numpy

from .arrays import centred_unit_and_scale, eps
from .base import Measure
from .cka import CKA, DistanceCorrelation
from .confounds import Deconfounded
from .distances import rounding_of, squared_distances
from .rsa import RSA

FEWEST_GROUPS = 4  # a term of HSIC is a mean over four different groups
# two representations and the groups of their rows, 0, 1, ... -> the value
Between = Callable[[Any, Any, np.ndarray], float]


def form_between(measure: Measure) -> Between | None:
    """Return the measure over samples of different groups; None if it has no such form."""
    if isinstance(measure, Deconfounded):
        form = form_between(measure.base)
        return None if form is None else measure.between(form)
    if isinstance(measure, RSA) and measure.second in ("spearman", "pearson", "cosine") and not measure.diagonal:
        return lambda x, y, codes: _rsa(measure, x, y, codes)
    if (
        isinstance(measure, (CKA, DistanceCorrelation))
        and measure.debiased
        and getattr(measure, "batch_size", None) is None
    ):
        return lambda x, y, codes: _compute_debiased(measure, x, y, codes)
    return None


def between_groups(measure: Measure) -> Between:
    """Return `form_between`; NotImplementedError, with what to do, if the measure has none."""
    form = form_between(measure)
    if form is None:
        raise NotImplementedError(
            f"{measure} has no form without the pairs of rows within a group. Use 'cka_debiased', 'rsa' or"
            " DistanceCorrelation(debiased=True), or take one row for each group, such as its mean:"
            " pd.DataFrame(x).groupby(groups, sort=False).mean()"
        )
    return form


@dataclass(frozen=True, kw_only=True)
class _RSABetween(RSA):
    """RSA of the pairs of samples whose codes differ."""

    codes: Any = None

    def _cells(self, n: int) -> np.ndarray:
        return np.tri(n, k=-1, dtype=bool) & (self.codes[:, None] != self.codes[None])


def _rsa(measure: RSA, x: Any, y: Any, codes: np.ndarray) -> float:
    if len(np.unique(codes)) < 3:
        raise UndefinedError(
            f"pairs of different groups are compared, which needs at least 3 groups; got {len(np.unique(codes))}"
        )
    between = _RSABetween(first=measure.first, second=measure.second, codes=codes)
    return between.pair(between.prepare(x), between.prepare(y))


def matrices_between(measure: Measure, x: Any, y: Any, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two symmetric matrices (n, n) whose inner product is `between_groups`, for groups of one size.

    It stays so if groups are exchanged in the second matrix.
    """
    order = np.argsort(codes, kind="stable")
    back = np.argsort(order, kind="stable")
    if isinstance(measure, RSA):
        between = _RSABetween(first=measure.first, second=measure.second, codes=codes)
        which, found = between._cells(len(codes)), []
        for side in (x, y):
            matrix = np.zeros(which.shape)
            matrix[which] = to_numpy(between.prepare(side)) * 0.5**0.5  # each pair is there twice and counts once
            found.append(matrix + matrix.T)
        return found[0], found[1]
    assert isinstance(measure, (CKA, DistanceCorrelation))
    a, b = (_entries(measure, side, order, codes) for side in (x, y))
    length = (_hsic(a, a) * _hsic(b, b)) ** 0.5
    return (_gradient(a) / length)[np.ix_(back, back)], b.matrix[np.ix_(back, back)]


def _compute_debiased(measure: CKA | DistanceCorrelation, x: Any, y: Any, codes: np.ndarray) -> float:
    order = np.argsort(codes, kind="stable")
    sizes = np.unique(codes, return_counts=True)[1]
    if len(sizes) < FEWEST_GROUPS:
        raise UndefinedError(f"at least {FEWEST_GROUPS} groups are needed; got {len(sizes)}")
    a, b = (_entries(measure, side, order, codes) for side in (x, y))
    own = _hsic(a, a), _hsic(b, b)
    if not min(own) > 0:
        raise UndefinedError(
            "the similarity of a representation with itself, between groups, is not above the chance level. Take more"
            " groups"
        )
    return _hsic(a, b) / (own[0] * own[1]) ** 0.5


def _entries(measure: CKA | DistanceCorrelation, x: Any, order: np.ndarray, codes: np.ndarray) -> _Entries:
    sizes = np.unique(codes, return_counts=True)[1]
    return _Entries(_kernel(measure, to_numpy(check_representation(x, double=True))[order], sizes), sizes)


def _kernel(measure: CKA | DistanceCorrelation, x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the matrix of samples (n, n); the terms of HSIC centre it."""
    unit, scale = centred_unit_and_scale(x)
    products = unit @ unit.T
    if isinstance(measure, CKA) and measure.kernel == "linear":
        return products
    own = products.diagonal().copy()
    squared = squared_distances(products, own, own, x, x, scale)
    if isinstance(measure, DistanceCorrelation):
        return np.sqrt(squared)
    of_group = np.repeat(np.arange(len(sizes)), sizes)
    between = of_group[:, None] != of_group[None]
    # pairs within a group are treated as the diagonal is
    middle = float(
        np.median(np.where(between, squared, 0.0) if measure.median == "with_diagonal" else squared[between])
    )
    if middle <= rounding_of(float(np.median(own)), eps(x)):
        raise UndefinedError(
            "the median distance between samples of different groups is 0, so the RBF kernel has no width"
        )
    return np.expm1(squared / (-2 * measure.bandwidth**2 * middle))


class _Entries:
    """A matrix of samples sorted by group, 0 within groups, with its sums.

    by_group (n, groups): sums over the columns of each group; groups (groups, groups): sums over the rows as well.
    """

    def __init__(self, matrix: np.ndarray, sizes: np.ndarray) -> None:
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        for start, size in zip(starts, sizes, strict=True):
            matrix[start : start + size, start : start + size] = 0
        self.matrix, self.sizes = matrix, sizes.astype(float)
        self.by_group = np.add.reduceat(matrix, starts, axis=1)
        self.groups = np.add.reduceat(self.by_group, starts, axis=0)


def _hsic(a: _Entries, b: _Entries) -> float:
    """Return HSIC as a U-statistic.

    It is the mean of a_ij b_ij - 2 a_ij b_iq + a_ij b_qr over samples i, j, q, r of four different groups. A pair or a
    triple of samples counts as often as there are four samples with it, so that no term depends on the origin, whatever
    the sizes of the groups.
    """
    sizes, n, squares = a.sizes, a.sizes.sum(), a.sizes @ a.sizes
    left, both = n - sizes, np.multiply.outer(sizes, np.ones_like(sizes))
    # the number of two further samples, of two further groups
    more = (left[:, None] - sizes[None]) ** 2 - (squares - both**2 - both.T**2)
    if (sizes == sizes[0]).all():
        two = more[0, -1] * np.vdot(a.matrix, b.matrix)
    else:
        starts = (np.cumsum(sizes) - sizes).astype(int)
        two = np.vdot(more, np.add.reduceat(np.add.reduceat(a.matrix * b.matrix, starts, axis=0), starts, axis=1))
    rows_a, rows_b, same = a.by_group.sum(axis=1), b.by_group.sum(axis=1), a.by_group * b.by_group
    three = np.repeat(left, sizes.astype(int)) @ (rows_a * rows_b - same.sum(axis=1))
    three += 2 * (same @ sizes).sum() - (a.by_group @ sizes) @ rows_b - rows_a @ (b.by_group @ sizes)
    counts = np.outer(sizes, sizes)
    np.fill_diagonal(counts, 0)
    return float((two - 2 * three + _of_four(a.groups, b.groups)) / _of_four(counts, counts))


def _gradient(a: _Entries) -> np.ndarray:
    """Return the symmetric matrix whose inner product with the entries of another is `_hsic`, for groups of one size.

    It is 0 within groups.
    """
    sizes, n = a.sizes.astype(int), a.sizes.sum()
    one, many = a.sizes[0], len(a.sizes)
    rows, of_row = a.by_group.sum(axis=1), np.repeat(np.arange(many), sizes)
    across = a.by_group[:, of_row]  # sums of sample i over the group of sample j
    groups = a.groups.sum(axis=1)[of_row]
    found = a.matrix * ((n - 2 * one) ** 2 - (many - 2) * one**2)
    found -= (n - 3 * one) * (rows[:, None] + rows[None] - across - across.T)
    found += a.matrix.sum() - 2 * (groups[:, None] + groups[None]) + 2 * a.groups[np.ix_(of_row, of_row)]
    found[of_row[:, None] == of_row[None]] = 0
    counts = np.full((many, many), one**2)
    np.fill_diagonal(counts, 0)
    return found / _of_four(counts, counts)


def _of_four(a: np.ndarray, b: np.ndarray) -> float:
    """Return Σ a_gh b_qr over four different groups, for symmetric matrices that are 0 on the diagonal."""
    return float(a.sum() * b.sum() - 4 * a.sum(axis=1) @ b.sum(axis=1) + 2 * np.vdot(a, b))
