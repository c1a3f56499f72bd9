"""Measures that ask more of shared neighbours than who they are: their ranks, and how near they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import array_api_compat
import numpy as np
from scipy.special import digamma

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_representation, to_numpy
from repsim_nb.support.workers import check_stopped

from .arrays import NO_DIRECTION, normalize_rows, reduce_features, split_range
from .neighbour_search import BLOCK, Neighbours, about_median, find_nearest, find_ranks, permute_lists, search_flops
from .neighbours import _KNN


class RankedNeighbours(NamedTuple):
    """The nearest neighbours of every sample with their ranks.

    Attributes
    ----------
    starts : array (n + 1,)
        Where the neighbours of each sample start.
    others : array (m,)
        Neighbours as sample numbers, increasing for each sample.
    weights : array (m,)
        How much each counts, below 1 for those that are tied at the k-th place.
    ranks : array (m,)
        Their ranks, 1 for the nearest; the mean rank of ties.
    """

    starts: np.ndarray
    others: np.ndarray
    weights: np.ndarray
    ranks: np.ndarray

    def keys(self) -> np.ndarray:
        """Return one increasing number for each (sample, neighbour)."""
        n = len(self.starts) - 1
        return np.repeat(np.arange(n), np.diff(self.starts)) * n + self.others


@dataclass(frozen=True, kw_only=True)
class RankSimilarity(_KNN):
    """Rank similarity: shared nearest neighbours of each sample, and whether they have the same ranks.

    Parameters
    ----------
    k : int
        How many neighbours each sample has.
    metric : {"cosine", "euclidean"}
        Nearest are the samples with the largest cosine of the activations as they are, or with the smallest Euclidean
        distance.

    Notes
    -----
    A neighbour that a sample has in both representations, with the ranks r and s, counts
    2 / ((1 + |r - s|) (r + s)). The sum over common neighbours is divided by 1 + 1/2 + ... + 1/m, its largest value for
    m common neighbours. The value is the mean over samples; a sample without a common neighbour counts 0. Samples tied
    at the k-th distance share the last places as in `MutualKNN`, and ties have their mean rank; a number m that is not
    whole takes the harmonic number that the digamma function gives. So the order of the samples does not matter, and a
    representation with ties has a value below 1 with itself.

    Range 0 to 1; larger is more alike. Invariant to permutations and rotations of the features and scaling;
    "euclidean" also to translation. Needs at least k + 1 samples; "cosine" needs samples that are not all 0. Cost: the
    n² pairs of samples twice for each representation; a pair is then fast.

    Misleads when few neighbours are shared: the sum is divided by its largest value for those that are, so a sample
    with one common neighbour of rank 1 on both sides has the value 1. Read it next to `MutualKNN`. For few samples the
    chance level is far above 0: `inference.null_moments` gives it.

    References
    ----------
    Wang, Rao, Chen and others 2020, IEEE Transactions on Knowledge and Data Engineering 34 (rank similarity).
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> measure = rs.measures.RankSimilarity(k=10)
    >>> near, unrelated = x + 0.1 * rng.normal(size=(200, 5)), rng.normal(size=(200, 5))
    >>> round(measure(x, near), 2), round(measure(x, unrelated), 2)
    (0.61, 0.02)
    """

    def prepare(self, x: Array) -> RankedNeighbours:  # type: ignore[override]
        # returns the k nearest neighbours of every sample, with ranks
        space = self._space(x)
        near = find_nearest(space, self.k)[0]
        first, last = find_ranks(space, near.starts, near.others)
        return RankedNeighbours(near.starts, near.others, near.weights, (first + last) / 2)

    def permute(self, a: RankedNeighbours, order: np.ndarray) -> RankedNeighbours:  # type: ignore[override]
        starts, others, places = permute_lists(a.starts, a.others, order)
        return RankedNeighbours(starts, others, a.weights[places], a.ranks[places])

    def pair(self, a: RankedNeighbours, b: RankedNeighbours) -> float:
        n = len(a.starts) - 1
        keys, i, j = np.intersect1d(a.keys(), b.keys(), assume_unique=True, return_indices=True)
        weights, one, other = a.weights[i] * b.weights[j], a.ranks[i], b.ranks[j]
        counted = 2 * weights / ((1 + np.abs(one - other)) * (one + other))
        sums, common = (np.bincount(keys // n, values, minlength=n) for values in (counted, weights))
        some = common > 0
        return float(np.sum(sums[some] / (digamma(common[some] + 1) + np.euler_gamma))) / n

    def prepare_flops(self, n: int, p: int) -> float:
        return 2 * search_flops(n, p)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 28.0 * n * self.k


class _Located(NamedTuple):
    """The nearest neighbours of every sample, and the samples (n, p) that distances are computed from."""

    neighbours: Neighbours
    samples: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SecondOrderCosine(_KNN):
    """Second-order cosine similarity: whether each sample is as near to its neighbours in both representations.

    Parameters
    ----------
    k : int
        How many neighbours each sample has.
    metric : {"cosine", "euclidean"}
        Nearest are the samples with the largest cosine of the activations as they are, or with the smallest Euclidean
        distance.
    values : {"distances", "similarities"}
        What is compared: distances to the neighbours (1 - cosine, or Euclidean), as in the code of the ReSi benchmark,
        or cosine similarities, as in the survey. Similarities differ little among neighbours, so that they agree for
        unrelated data too.

    Raises
    ------
    ValueError
        For `values="similarities"` with `metric="euclidean"`.
    UndefinedError
        If all neighbours of a sample are copies of it, so that their distances are 0.

    Notes
    -----
    The neighbours of a sample are those that it has in either representation. Its distances to them are one vector in
    each representation. The value is the mean over samples of the cosine of the two vectors. Samples tied at the k-th
    distance share the last places as in `MutualKNN`: each counts with the probability that chance chooses it on one
    side at least.

    Range 0 to 1, with similarities -1 to 1; larger is more alike. Invariant to permutations and rotations of the
    features and scaling; "euclidean" also to translation. Needs at least k + 1 samples; "cosine" needs samples that
    are not all 0. Cost: the n² pairs of samples once for each representation; 2nk distances for each pair.

    Misleads when it is read without its chance level: all entries of the vectors are positive, so that unrelated
    representations have values far above 0. `inference.chance_corrected` subtracts it.

    References
    ----------
    Hamilton, Leskovec, Jurafsky 2016, "Cultural shift or linguistic drift? Comparing two computational measures of
    semantic change", EMNLP.
    Klabunde, Wald, Schumacher, Maier-Hein, Strohmaier, Lemmerich 2025, "ReSi: a comprehensive benchmark for
    representational similarity measures", ICLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 200, 5))
    >>> measure = rs.measures.SecondOrderCosine(k=10)
    >>> round(measure(x, x + 0.1 * rng.normal(size=(200, 5))), 2), round(measure(x, y), 2)
    (0.97, 0.31)
    """

    values: Literal["distances", "similarities"] = "distances"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.values, "values of SecondOrderCosine", ("distances", "similarities"))
        if self.values == "similarities" and self.metric != "cosine":
            raise ValueError(
                f"values='similarities' of SecondOrderCosine are cosines, and metric is '{self.metric}'. Use"
                " metric='cosine', or values='distances'."
            )

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return (0.0 if self.values == "distances" else -1.0), 1.0

    def prepare(self, x: Array) -> _Located:  # type: ignore[override]
        # returns the k nearest neighbours of every sample, and the samples
        near = find_nearest(self._space(x), self.k)[0]
        x = check_representation(x, min_samples=self.min_samples, double=True)
        if self.metric == "cosine":
            x = normalize_rows(x, NO_DIRECTION)
        else:
            x = about_median(x / array_api_compat.array_namespace(x).max(abs(x)))
        return _Located(near, to_numpy(reduce_features(x)))

    def permute(self, a: _Located, order: np.ndarray) -> _Located:  # type: ignore[override]
        return _Located(super().permute(a.neighbours, order), a.samples[order])

    def pair(self, a: _Located, b: _Located) -> float:
        n = len(a.samples)
        one, other = a.neighbours.matrix(), b.neighbours.matrix()
        either = (one + other - one.multiply(other)).tocoo()  # the probability of being in one of two independent sets
        left, right = (self._compare(side.samples, either.row, either.col) for side in (a, b))

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(either.row, either.data * values, minlength=n)

        lengths = total(left * left), total(right * right)
        for square in lengths:
            if not square.all():
                raise UndefinedError(
                    f"sample {np.flatnonzero(square == 0)[0]}: its {self.values} to all neighbours are 0, so they have"
                    " no cosine. Take a larger k, or leave out copies of samples"
                )
        return float(np.mean(total(left * right) / np.sqrt(lengths[0] * lengths[1])))

    def _compare(self, samples: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the distance, or the similarity, of each pair of samples."""
        found = np.empty(len(rows))
        for some in split_range(len(rows), BLOCK // samples.shape[1]):
            check_stopped()
            one, other = samples[rows[some]], samples[columns[some]]
            if self.values == "similarities":
                found[some] = np.einsum("ij,ij->i", one, other)
            else:  # a difference keeps the digits of near samples; of unit vectors half of its square is 1 - cosine
                squares = np.einsum("ij,ij->i", one - other, one - other)
                found[some] = squares / 2 if self.metric == "cosine" else np.sqrt(squares)
        return found

    def prepare_flops(self, n: int, p: int) -> float:
        return search_flops(n, p) + (8.0 * p * n * n if p > n else 0)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return n * self.k * (2000.0 + 20.0 * (min(n, p) + min(n, q)))

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * (min(n, p) + self.k)
