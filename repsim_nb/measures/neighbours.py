"""Measures of neighbourhoods: do the same samples lie near one another? Prepared: who each sample's k nearest are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np
from scipy.stats import hypergeom

from ..errors import UndefinedError
from ..workers import checkpoint
from .base import NO_LINEAR, Measure
from .door import Array, centred_unit, enter, eps, host, unit_rows

_BLOCK = 2**21  # numbers held at a time: with 50,000 samples, 41 rows of the matrix of all pairs


def _nearest(x: Array, k: int, offset: Array | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """For each row of x the k others with the largest <x_i, x_j> - offset_j -> their indices, increasing, and the values (n, k).

    Of others that differ by no more than rounding at the k-th place the first by index are taken, so that NumPy, torch and every block
    size agree. Rows are done in blocks: all pairs are seen, never held.
    """
    n = x.shape[0]
    chosen, values = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    size = host(x * x).sum(axis=1)
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        checkpoint()
        stop = min(start + step, n)
        block = np.array(host(x[start:stop] @ x.T - offset))
        block[np.arange(stop - start), np.arange(start, stop)] = -np.inf  # nobody is their own neighbour
        kth = np.partition(block, n - k, axis=1)[:, n - k, None]
        slack = 64 * eps(x) * (size[start:stop, None] + np.abs(kth))
        near = block >= kth - slack
        for i in np.flatnonzero(near.sum(axis=1) > k):
            tied = np.flatnonzero(near[i] & (block[i] <= kth[i] + slack[i]))
            near[i, tied[k - near[i].sum() :]] = False
        chosen[start:stop] = np.nonzero(near)[1].reshape(-1, k)
        values[start:stop] = block[near].reshape(-1, k)
    return chosen, values


def _places(order: np.ndarray) -> np.ndarray:
    """Where each sample stands once they are reordered as x[order]."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def _search_flops(n: int, p: int) -> float:
    return 4.0 * n * n * p + 800.0 * n * n  # the product in float64; to find the k-th of every row takes longer than it looks


def _check_k(measure: Measure, k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"{type(measure).__name__} needs a number of neighbours k, a whole number of at least 1; got {k!r}")


@dataclass(frozen=True, kw_only=True)
class _KNN(Measure):
    """Prepared: the k nearest others of every sample (n, k), each row in increasing order."""

    k: int = 10
    metric: Literal["cosine", "euclidean"] = "cosine"

    kind: ClassVar = "similarity"

    def __post_init__(self) -> None:
        _check_k(self, self.k)
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"{type(self).__name__} takes metric 'cosine' or 'euclidean'; got {self.metric!r}")

    @property
    def least(self) -> int:  # type: ignore[override]
        return max(3, self.k + 1)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return NO_LINEAR - ({"translation"} if self.metric == "cosine" else set())

    def prepare(self, x: Array) -> np.ndarray:
        """-> the indices of the k nearest others (n, k), each row in increasing order."""
        x = enter(x, least=self.least, double=True)  # a neighbour is a yes or no: rounding must not decide it
        xp = array_api_compat.array_namespace(x)
        if self.metric == "cosine":  # of unit vectors the nearest are those with the largest cosine, and differences keep their digits
            x = unit_rows(x, "its activations are all 0, so its cosine with others is undefined")
            if float(xp.max(xp.abs(x - x[:1]))) <= 8 * eps(x):
                raise UndefinedError("all samples point the same way, so no cosine is larger than another")
        x = centred_unit(x) * x.shape[0] ** 0.5
        return _nearest(x, self.k, xp.vecdot(x, x) / 2)[0]

    def permute(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Of others at equal distance those are kept that were first by index before."""
        return np.sort(_places(order)[a[order]], axis=1)

    def prepare_flops(self, n: int, p: int) -> float:
        return _search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * self.k

    def _common(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """How many neighbours each sample has in both (n,)."""
        both = np.sort(np.concatenate([a, b], axis=1), axis=1)
        return np.sum(both[:, 1:] == both[:, :-1], axis=1)


@dataclass(frozen=True, kw_only=True)
class MutualKNN(_KNN):
    """Mutual k-nearest neighbours: the share of a sample's k nearest others that are the same in both, mean over samples.

    |N_x(i) ∩ N_y(i)| / k. metric: what is near, the largest "cosine" of activations as they are, or the least "euclidean" distance.
    Others at equal distance are taken by index. Unrelated representations share k/(n - 1): see `chance`; at k = n - 1 all share all.

    Range 0 to 1. Needs n ≥ k + 1; cosine: no sample whose activations are all 0.  [Huh, Cheung, Wang, Isola 2024]
    """

    def pair(self, a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean(self._common(a, b)) / self.k)

    def chance(self, n: int) -> float:
        """The expected value when the samples of one side are shuffled: k/(n - 1)."""
        return self.k / (_enough(self, n) - 1)


@dataclass(frozen=True, kw_only=True)
class JaccardKNN(_KNN):
    """Jaccard similarity of neighbourhoods: of those near a sample in either, the share that are near it in both, mean over samples.

    |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|. metric, ties: as in MutualKNN. What unrelated representations reach by accident: `chance`.

    Range 0 to 1. Needs n ≥ k + 1; cosine: no sample whose activations are all 0.  [Schumacher, Wolf, Ritzert, Lemmerich, Bachmann, Grohe
    2021]
    """

    def pair(self, a: np.ndarray, b: np.ndarray) -> float:
        common = self._common(a, b)
        return float(np.mean(common / (2 * self.k - common)))

    def chance(self, n: int) -> float:
        """The expected value when one side's samples are shuffled: the mean of m/(2k - m), m hypergeometric (k of n - 1 drawn, k marked)."""
        m = np.arange(self.k + 1)
        return float(np.sum(hypergeom(_enough(self, n) - 1, self.k, self.k).pmf(m) * m / (2 * self.k - m)))


def _enough(measure: Measure, n: int) -> int:
    if n < measure.least:
        raise UndefinedError(f"{measure} needs at least {measure.least} samples; there are {n}")
    return n


class Mutual(NamedTuple):
    """pairs: i < j, each among the other's k nearest, as increasing i·n + j; entries: of the Gram matrix; itself: their HSIC with themselves."""

    pairs: np.ndarray
    entries: np.ndarray
    itself: float
    n: int


@dataclass(frozen=True, kw_only=True)
class CKNNA(Measure):
    """Centred kernel nearest-neighbour alignment: debiased CKA in which only near neighbours count.

    The neighbours of a sample are the k others with the largest entries in its row of the centred linear Gram matrix (K of x, L of y); M
    keeps the pairs of samples that are each among the other's k nearest. HSIC(M_x M_y K, M_x M_y L) / sqrt(HSIC(M_x K, M_x K) HSIC(M_y L,
    M_y L)), products entry by entry, with the unbiased HSIC of Song et al. With k = n - 1 it is CKA(debiased=True). It is 0 where no pair
    is kept by both sides. The published code keeps a neighbour that is so from one side only in the row sums, so its values differ a
    little.

    Range 0 to 1 (it may be below 0). Needs n ≥ k + 1 and n ≥ 4. Memory grows with n·k.  [Huh, Cheung, Wang, Isola 2024; Song et al. 2012,
    eq. 5]
    """

    k: int = 10

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        _check_k(self, self.k)

    @property
    def least(self) -> int:  # type: ignore[override]
        return max(4, self.k + 1)

    def prepare(self, x: Array) -> Mutual:
        """-> the pairs that are mutual neighbours, and their entries of the Gram matrix."""
        x = centred_unit(enter(x, least=self.least, double=True))
        n = x.shape[0]
        chosen, values = _nearest(x * n**0.5, self.k)
        i = np.repeat(np.arange(n), self.k)
        j, values = chosen.ravel(), values.ravel()
        up, down = i < j, i > j
        pairs, seen, _ = np.intersect1d(i[up] * n + j[up], j[down] * n + i[down], assume_unique=True, return_indices=True)
        entries = values[up][seen]
        itself = _hsic(pairs, entries, entries, n)
        if not itself > 1e-13 * float(entries @ entries):  # rounding of its terms
            raise UndefinedError("its mutual neighbours are all equally alike, so centring leaves nothing of their Gram matrix")
        return Mutual(pairs, entries, itself, n)

    def permute(self, a: Mutual, order: np.ndarray) -> Mutual:
        """Of others at equal distance those are kept that were first by index before."""
        i, j = _places(order)[np.stack(np.divmod(a.pairs, a.n))]
        pairs = np.minimum(i, j) * a.n + np.maximum(i, j)
        sort = np.argsort(pairs)
        return a._replace(pairs=pairs[sort], entries=a.entries[sort])

    def prepare_flops(self, n: int, p: int) -> float:
        return _search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * self.k  # at most; two numbers for a pair of which each is the other's neighbour

    def pair(self, a: Mutual, b: Mutual) -> float:
        pairs, i, j = np.intersect1d(a.pairs, b.pairs, assume_unique=True, return_indices=True)
        return _hsic(pairs, a.entries[i], b.entries[j], a.n) / (a.itself * b.itself) ** 0.5


def _hsic(pairs: np.ndarray, k: np.ndarray, m: np.ndarray, n: int) -> float:
    """n(n - 3) times the unbiased HSIC of two symmetric matrices that are 0 but for these pairs (i < j, as i·n + j) and their mirrors."""
    i, j = np.divmod(pairs, n)
    k_rows, m_rows = (np.bincount(i, v, n) + np.bincount(j, v, n) for v in (k, m))
    return float(2 * k @ m + k_rows.sum() * m_rows.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_rows @ m_rows))
