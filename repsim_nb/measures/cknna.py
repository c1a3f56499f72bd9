"""CKNNA: debiased CKA of the pairs of samples that are mutual nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_integer, check_representation, to_numpy

from .arrays import centred_unit, eps
from .base import NO_LINEAR, Measure
from .neighbour_search import Space, about_median, find_nearest, places_of, row_lengths, search_flops
from .ties import FEW


class Mutual(NamedTuple):
    """Pairs of samples that are mutual nearest neighbours, with their entries of the Gram matrix.

    Attributes
    ----------
    pairs : array (m,)
        Pairs i < j as increasing numbers i · n + j.
    entries : array (m,)
        Their entries of the centred Gram matrix.
    weights : array (m,)
        The product of the weights of both neighbours.
    itself : float
        The HSIC of the weighted entries with themselves.
    n : int
        The number of samples.
    """

    pairs: np.ndarray
    entries: np.ndarray
    weights: np.ndarray
    itself: float
    n: int


@dataclass(frozen=True, kw_only=True)
class CKNNA(Measure):
    """Centred kernel nearest-neighbour alignment (CKNNA): debiased CKA of mutual nearest neighbours only.

    Parameters
    ----------
    k : int
        How many neighbours each sample has. With k = n - 1 the value is that of `CKA(debiased=True)`.

    Raises
    ------
    UndefinedError
        If the mutual neighbours are all equally alike.

    Notes
    -----
    The neighbours of a sample are the k others with the largest entries in its row of the centred linear Gram matrix,
    K of x and L of y. M keeps the pairs of samples that are each among the neighbours of the other. The value is
    HSIC(M_x M_y K, M_x M_y L) / sqrt(HSIC(M_x K, M_x K) HSIC(M_y L, M_y L)), with products entry by entry and the
    unbiased HSIC of Song and others. It is 0 if no pair is kept on both sides. Ties are weighted as in `MutualKNN`, so
    that a representation with ties has a value below 1 with itself. The published code keeps a neighbour in the row
    sums if it is one from one side only, so its values differ a little.

    Range 0 to 1, possibly below 0; larger is more alike. Invariant to permutations and rotations of the features,
    scaling and translation. Needs at least k + 1 samples, and 4. Cost: the n² pairs of samples once for each
    representation; memory proportional to n · k.

    Misleads when k is small: few pairs are kept on both sides, and these few decide the value. Copies or near
    repeats of a sample are its neighbours in every representation.

    References
    ----------
    Huh, Cheung, Wang, Isola 2024, "The Platonic representation hypothesis", ICML.
    Song, Smola, Gretton, Bedo, Borgwardt 2012, "Feature selection via dependence maximization", JMLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> measure = rs.measures.CKNNA(k=10)
    >>> round(measure(x, x + 0.1 * rng.normal(size=(200, 5))), 2), round(measure(x, rng.normal(size=(200, 5))), 2)
    (0.89, 0.02)
    """

    k: int = 10

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_integer(self.k, f"k of {type(self).__name__}", minimum=1)

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return max(4, self.k + 1)

    def prepare(self, x: Array) -> Mutual:
        # returns the pairs that are mutual neighbours, their weights, and their entries of the Gram matrix
        x = check_representation(x, min_samples=self.min_samples)
        xp, spacing = array_api_compat.array_namespace(x), eps(x)
        x = xp.astype(x, xp.float64, copy=False)
        scaled, n = x / xp.max(xp.abs(x)), x.shape[0]  # no square overflows
        left = to_numpy(scaled) - np.mean(to_numpy(scaled), axis=0)
        largest = float(np.abs(left).max())
        unit = np.linalg.norm(left / largest) / n**0.5 * largest
        sizes, about = row_lengths(scaled), row_lengths(about_median(scaled))
        x = centred_unit(x) * n**0.5
        lengths = row_lengths(x)
        sizes, about, coarse = sizes / unit, about / unit, FEW * spacing

        def rounding(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
            """Bound the rounding of an entry of the Gram matrix: of its product, and of the numbers of both samples.

            Left out is the part that changes all entries of sample i alike.
            """
            own, size = lengths[rows, None], sizes[rows, None]
            return 64 * eps(x) * own * lengths + coarse * (size * np.minimum(lengths, about) + own * sizes)

        most = 64 * eps(x) * lengths * lengths.max() + coarse * (sizes * lengths.max() + lengths * sizes.max())
        near, values = find_nearest(Space(x, rounding, most), self.k)
        weights = near.weights
        i = np.repeat(np.arange(n), np.diff(near.starts))
        j = near.others.astype(np.int64)
        up, down = i < j, i > j
        pairs, seen, mirrored = np.intersect1d(
            i[up] * n + j[up], j[down] * n + i[down], assume_unique=True, return_indices=True
        )
        entries, weights = values[up][seen], weights[up][seen] * weights[down][mirrored]
        itself = _hsic(pairs, entries * weights, entries * weights, n)
        if not itself > 1e-13 * float((entries * weights) @ (entries * weights)):  # rounding of its terms
            raise UndefinedError(
                "its mutual neighbours are all equally alike, so centring leaves nothing of their Gram matrix"
            )
        return Mutual(pairs, entries, weights, itself, n)

    def permute(self, a: Mutual, order: np.ndarray) -> Mutual:
        i, j = places_of(order)[np.stack(np.divmod(a.pairs, a.n))]
        pairs = np.minimum(i, j) * a.n + np.maximum(i, j)
        sort = np.argsort(pairs)
        return a._replace(pairs=pairs[sort], entries=a.entries[sort], weights=a.weights[sort])

    def prepare_flops(self, n: int, p: int) -> float:
        return search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 12.0 * n * self.k  # at most: three numbers for each pair of mutual neighbours

    def pair(self, a: Mutual, b: Mutual) -> float:
        pairs, i, j = np.intersect1d(a.pairs, b.pairs, assume_unique=True, return_indices=True)
        weights = a.weights[i] * b.weights[j]
        return _hsic(pairs, a.entries[i] * weights, b.entries[j] * weights, a.n) / (a.itself * b.itself) ** 0.5


def _hsic(pairs: np.ndarray, k: np.ndarray, m: np.ndarray, n: int) -> float:
    """Return n(n - 3) times the unbiased HSIC of two symmetric matrices that are 0 except at these pairs.

    pairs: i · n + j with i < j; the entries at (j, i) are the same.
    """
    i, j = np.divmod(pairs, n)
    k_rows, m_rows = (np.bincount(i, v, n) + np.bincount(j, v, n) for v in (k, m))
    return float(2 * k @ m + k_rows.sum() * m_rows.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_rows @ m_rows))
