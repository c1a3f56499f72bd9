"""Measures of neighbourhoods: do the same samples lie near one another? Prepared: who each sample's k nearest are.

A sample that is tied at the k-th place is a neighbour with the weight (k - number closer) / number tied: what it would
be on average if chance chose among the tied, on each side for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np
from scipy import sparse
from scipy.stats import hypergeom

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.row_dependence import shared_places
from repsim_nb.support.validation import check_integer, check_representation, to_numpy
from repsim_nb.support.workers import check_stopped

from .arrays import centred_unit, eps, normalize_rows
from .base import NO_LINEAR, Measure
from .ties import FEW

_BLOCK = 2**20  # numbers held at a time: with 50,000 samples, 20 rows of the matrix of all pairs


class Neighbours(NamedTuple):
    """The k nearest others of every sample, those tied at the k-th place with the weight (k - number closer) / number
    tied.

    starts: where each sample's others start in `others` (n + 1,); others: their indices, increasing for each sample;
    tied: which of them share the last places; weight: of the tied ones of each sample (n,). Without ties every sample
    has exactly k others.
    """

    starts: np.ndarray
    others: np.ndarray
    tied: np.ndarray
    weight: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The weight of each of `others`."""
        return np.where(self.tied, np.repeat(self.weight, np.diff(self.starts)), 1.0)

    def plain(self, k: int) -> np.ndarray | None:
        """`others` as (n, k), where no weight is a fraction."""
        n = len(self.weight)
        return self.others.reshape(n, k) if len(self.others) == n * k else None

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """The weights of these samples as a sparse matrix (stop - start, n)."""
        first, last = self.starts[start], self.starts[stop]
        weights = np.where(
            self.tied[first:last], np.repeat(self.weight[start:stop], np.diff(self.starts[start : stop + 1])), 1.0
        )
        return sparse.csr_matrix(
            (weights, self.others[first:last], self.starts[start : stop + 1] - first),
            shape=(stop - start, len(self.weight)),
        )

    def permuted(self, order: np.ndarray) -> Neighbours:
        """Those of x[order], in which every weight moves with its samples."""
        places, many = _places(order), np.diff(self.starts)
        starts = np.concatenate([[0], np.cumsum(many[order])])
        taken = np.arange(len(self.others)) + np.repeat(self.starts[:-1][order] - starts[:-1], many[order])
        matrix = sparse.csr_matrix(
            (self.tied[taken].astype(np.int8), places[self.others[taken]], starts), shape=(len(order), len(order))
        )
        matrix.sort_indices()
        return Neighbours(starts, matrix.indices, matrix.data.astype(bool), self.weight[order])


def _nearest(
    x: Array,
    k: int,
    rounding: Callable[[np.ndarray, np.ndarray], np.ndarray],
    most: np.ndarray,
    offset: Array | float = 0.0,
) -> tuple[Neighbours, np.ndarray]:
    """For each row of x the k others with the largest <x_i, x_j> - offset_j -> Neighbours, and the values of its
    `others`.

    rounding(rows, values): by how much each of these values (rows, n) may be rounding, where they are compared with
    others of their row.  most: a bound for each row (n,).
    Rows are done in blocks: all pairs are seen, never held.
    """
    n = x.shape[0]
    others, values, tied, counts, weight = [], [], [], np.full(n, k, dtype=np.int64), np.ones(n)
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        check_stopped()
        stop = min(start + step, n)
        block = np.array(to_numpy(x[start:stop] @ x.T - offset))
        block[np.arange(stop - start), np.arange(start, stop)] = -np.inf  # nobody is their own neighbour

        def slack(some: np.ndarray, start: int = start, block: np.ndarray = block) -> np.ndarray:
            return rounding(start + some, np.where(np.isfinite(block[some]), block[some], 0))

        near, some_tied, weight[start:stop] = shared_places(block, k, slack, most[start:stop, None])
        counts[start:stop] = near.sum(axis=1)
        others.append(np.nonzero(near)[1].astype(np.int32))
        values.append(block[near])
        tied.append(some_tied[near])
    return Neighbours(
        np.concatenate([[0], np.cumsum(counts)]), np.concatenate(others), np.concatenate(tied), weight
    ), np.concatenate(values)


def _lengths(x: Array) -> np.ndarray:
    """The length of each row (n,)."""
    return np.linalg.norm(to_numpy(x), axis=1)


def _about_median(x: Array) -> Array:
    """x less the median of each feature, which one far sample does not move as it moves the mean: all others keep their
    digits.
    """
    xp = array_api_compat.array_namespace(x)
    return x - xp.asarray(np.median(to_numpy(x), axis=0), device=array_api_compat.device(x))


def _places(order: np.ndarray) -> np.ndarray:
    """Where each sample stands once they are reordered as x[order]."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def _search_flops(n: int, p: int) -> float:
    # the product in float64; to find the k-th of every row takes longer than it looks
    return 4.0 * n * n * p + 800.0 * n * n


@dataclass(frozen=True, kw_only=True)
class _KNN(Measure):
    """Prepared: the k nearest others of every sample (n, k), each row in increasing order."""

    k: int = 10
    metric: Literal["cosine", "euclidean"] = "cosine"

    kind: ClassVar = "similarity"

    def __post_init__(self) -> None:
        check_integer(self.k, f"k of {type(self).__name__}", minimum=1)
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"{type(self).__name__} takes metric 'cosine' or 'euclidean'; got {self.metric!r}")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return max(3, self.k + 1)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return NO_LINEAR - ({"translation"} if self.metric == "cosine" else set())

    def prepare(self, x: Array) -> Neighbours:
        """-> the k nearest others of every sample, tied ones with their weight."""
        x = check_representation(x, min_samples=self.min_samples)
        xp, spacing = array_api_compat.array_namespace(x), eps(x)
        # the data's precision says what is tied, and no rounding of ours adds to it
        x = xp.astype(x, xp.float64, copy=False)
        if self.metric == "cosine":
            # of unit vectors the nearest are those with the largest cosine, and differences keep their digits
            x = normalize_rows(x, "its activations are all 0, so its cosine with others is undefined")
            if float(xp.max(xp.abs(x - x[:1]))) <= 8 * eps(x):
                raise UndefinedError("all samples point the same way, so no cosine is larger than another")
        x = x / xp.max(xp.abs(x))
        sizes, x = _lengths(x), _about_median(x)
        if not float(xp.max(xp.abs(x))) > 0:
            raise UndefinedError("it is constant within the precision of its numbers")
        lengths = _lengths(x)
        coarse = FEW * spacing

        def rounding(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
            """Of half a squared distance: that of its terms, and what the rounding of both samples' numbers makes of
            it, but for what it makes of all distances of sample i alike.
            """
            own, size = lengths[rows, None], sizes[rows, None]
            distances = np.sqrt(np.clip(own**2 - 2 * values, 0, None))
            return (
                64 * eps(x) * lengths * (own + lengths)
                + coarse * (size * np.minimum(lengths, distances) + sizes * distances)
                + coarse**2 * (size**2 + sizes**2) / 2
            )

        longest, largest = lengths.max(), sizes.max()
        most = (
            64 * eps(x) * longest * (lengths + longest)
            + coarse * (sizes * longest + largest * (lengths + longest))
            + coarse**2 * (sizes**2 + largest**2) / 2
        )
        return _nearest(x, self.k, rounding, most, xp.vecdot(x, x) / 2)[0]

    def permute(self, a: Neighbours, order: np.ndarray) -> Neighbours:
        plain = a.plain(self.k)
        if plain is None:
            return a.permuted(order)
        return a._replace(others=np.sort(_places(order)[plain[order]], axis=1).ravel())

    def prepare_flops(self, n: int, p: int) -> float:
        return _search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * self.k

    def _common(self, a: Neighbours, b: Neighbours) -> np.ndarray:
        """How many neighbours each sample has in both, by weight (n,)."""
        one, other = a.plain(self.k), b.plain(self.k)
        if one is not None and other is not None:
            both = np.sort(np.concatenate([one, other], axis=1), axis=1)
            return np.sum(both[:, 1:] == both[:, :-1], axis=1)
        n = len(a.weight)
        return np.concatenate(
            [
                np.asarray(a.rows(*rows).multiply(b.rows(*rows)).sum(axis=1)).ravel()
                for rows in _runs(n, a.starts, b.starts)
            ]
        )


def _runs(n: int, *starts: np.ndarray) -> list[tuple[int, int]]:
    """0 to n in runs of rows with about _BLOCK entries: where many samples are tied, all weights at a time are too
    many.
    """
    step = max(1, int(_BLOCK / max(1.0, max(float(s[-1]) for s in starts) / n)))
    return [(start, min(start + step, n)) for start in range(0, n, step)]


@dataclass(frozen=True, kw_only=True)
class MutualKNN(_KNN):
    """Mutual k-nearest neighbours: the mean fraction of a sample's k nearest others that are the same in both.

    |N_x(i) ∩ N_y(i)| / k. metric: what is near, the largest "cosine" of activations as they are, or the least
    "euclidean" distance. Others tied at the k-th distance (equal up to rounding) share the last places: each counts (k
    - number closer) / number tied. The value is then the mean over random choices among the tied, on each side for
    itself, and does not depend on the order of samples. So a representation with ties shares less than all with
    itself: below 1, as two such choices would. Unrelated representations share k/(n - 1): see `chance`; at k = n - 1
    all share all.

    Range 0 to 1. Needs n ≥ k + 1; cosine: no sample whose activations are all 0.  [Huh, Cheung, Wang, Isola 2024]
    """

    def pair(self, a: Neighbours, b: Neighbours) -> float:
        return float(np.mean(self._common(a, b)) / self.k)

    def chance(self, n: int) -> float:
        """The expected value when the samples of one side are permuted: k/(n - 1), with or without ties."""
        return self.k / (_enough(self, n) - 1)


@dataclass(frozen=True, kw_only=True)
class JaccardKNN(_KNN):
    """Jaccard similarity of neighbourhoods, mean over samples.

    Of the others near a sample in either representation, the fraction that are near it in both.

    |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|. metric, ties: as in MutualKNN; with ties s / (2k - s), s the number in both
    by weight. What unrelated representations reach by accident: `chance`.

    Range 0 to 1. Needs n ≥ k + 1; cosine: no sample whose activations are all 0.  [Schumacher, Wolf, Ritzert,
    Lemmerich, Bachmann, Grohe 2021]
    """

    def pair(self, a: Neighbours, b: Neighbours) -> float:
        common = self._common(a, b)
        return float(np.mean(common / (2 * self.k - common)))

    def chance(self, n: int) -> float:
        """The expected value when one side's samples are permuted: the mean of m/(2k - m), m hypergeometric (k of n - 1
        drawn, k marked).

        With ties an upper bound: weights leave less to chance, and m/(2k - m) is convex. `permutation_test` has the
        mean for given data.
        """
        m = np.arange(self.k + 1)
        return float(np.sum(hypergeom(_enough(self, n) - 1, self.k, self.k).pmf(m) * m / (2 * self.k - m)))


def _enough(measure: Measure, n: int) -> int:
    if n < measure.min_samples:
        raise UndefinedError(f"{measure} needs at least {measure.min_samples} samples; there are {n}")
    return n


class Mutual(NamedTuple):
    """pairs: i < j, each among the other's k nearest, as increasing i·n + j; entries: of the Gram matrix; weights: the
    product of both weights; itself: the HSIC of the weighted entries with themselves.
    """

    pairs: np.ndarray
    entries: np.ndarray
    weights: np.ndarray
    itself: float
    n: int


@dataclass(frozen=True, kw_only=True)
class CKNNA(Measure):
    """Centred kernel nearest-neighbour alignment: debiased CKA in which only near neighbours count.

    The neighbours of a sample are the k others with the largest entries in its row of the centred linear Gram matrix (K
    of x, L of y); M keeps the pairs of samples that are each among the other's k nearest. HSIC(M_x M_y K, M_x M_y L) /
    sqrt(HSIC(M_x K, M_x K) HSIC(M_y L, M_y L)), products entry by entry, with the unbiased HSIC of Song et al. With k =
    n - 1 it is CKA(debiased=True). It is 0 where no pair is kept by both sides. Others tied at the k-th place are
    neighbours by a weight, as in MutualKNN, and M holds the products of both weights of a pair; so with ties the value
    of a representation with itself is below 1. The published code keeps a neighbour that is so from one side only in
    the row sums, so its values differ a little.

    Range 0 to 1 (it may be below 0). Needs n ≥ k + 1 and n ≥ 4. Memory grows with n·k.  [Huh, Cheung, Wang, Isola 2024;
    Song et al. 2012, eq. 5]
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
        """-> the pairs that are mutual neighbours, their weights, and their entries of the Gram matrix."""
        x = check_representation(x, min_samples=self.min_samples)
        xp, spacing = array_api_compat.array_namespace(x), eps(x)
        x = xp.astype(x, xp.float64, copy=False)
        scaled, n = x / xp.max(xp.abs(x)), x.shape[0]  # no square overflows
        left = to_numpy(scaled) - np.mean(to_numpy(scaled), axis=0)
        largest = float(np.abs(left).max())
        unit = np.linalg.norm(left / largest) / n**0.5 * largest
        sizes, about = _lengths(scaled), _lengths(_about_median(scaled))
        x = centred_unit(x) * n**0.5
        lengths = _lengths(x)
        sizes, about, coarse = sizes / unit, about / unit, FEW * spacing

        def rounding(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
            """Of an entry of the Gram matrix: that of its product, and what the rounding of both samples' numbers makes
            of it, but for what it makes of all entries of sample i alike.
            """
            own, size = lengths[rows, None], sizes[rows, None]
            return 64 * eps(x) * own * lengths + coarse * (size * np.minimum(lengths, about) + own * sizes)

        most = 64 * eps(x) * lengths * lengths.max() + coarse * (sizes * lengths.max() + lengths * sizes.max())
        near, values = _nearest(x, self.k, rounding, most)
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
        i, j = _places(order)[np.stack(np.divmod(a.pairs, a.n))]
        pairs = np.minimum(i, j) * a.n + np.maximum(i, j)
        sort = np.argsort(pairs)
        return a._replace(pairs=pairs[sort], entries=a.entries[sort], weights=a.weights[sort])

    def prepare_flops(self, n: int, p: int) -> float:
        return _search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 12.0 * n * self.k  # at most; three numbers for a pair of which each is the other's neighbour

    def pair(self, a: Mutual, b: Mutual) -> float:
        pairs, i, j = np.intersect1d(a.pairs, b.pairs, assume_unique=True, return_indices=True)
        weights = a.weights[i] * b.weights[j]
        return _hsic(pairs, a.entries[i] * weights, b.entries[j] * weights, a.n) / (a.itself * b.itself) ** 0.5


def _hsic(pairs: np.ndarray, k: np.ndarray, m: np.ndarray, n: int) -> float:
    """n(n - 3) times the unbiased HSIC of two symmetric matrices that are 0 but for these pairs (i < j, as i·n + j) and
    their mirrors.
    """
    i, j = np.divmod(pairs, n)
    k_rows, m_rows = (np.bincount(i, v, n) + np.bincount(j, v, n) for v in (k, m))
    return float(2 * k @ m + k_rows.sum() * m_rows.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_rows @ m_rows))
