"""Measures of neighbourhoods compare the nearest neighbours of each sample in two representations.

Samples that are tied at the k-th place are neighbours with the weight (k - number closer) / number tied. It is the
probability of being a neighbour if chance chooses among the tied, independently on each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_integer, check_representation

from .arrays import NO_DIRECTION, eps, normalize_rows
from .base import NO_LINEAR, Measure
from .neighbour_search import Neighbours, Space, about_median, find_nearest, places_of, row_lengths, search_flops
from .ties import FEW


@dataclass(frozen=True, kw_only=True)
class _KNN(Measure):
    """A measure that depends on a representation by the k nearest neighbours of every sample."""

    k: int = 10
    metric: Literal["cosine", "euclidean"] = "cosine"

    kind: ClassVar = "similarity"

    def __post_init__(self) -> None:
        check_integer(self.k, f"k of {type(self).__name__}", minimum=1)
        check_choice(self.metric, f"metric of {type(self).__name__}", ("cosine", "euclidean"))

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return max(3, self.k + 1)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return NO_LINEAR - ({"translation"} if self.metric == "cosine" else set())

    def prepare(self, x: Array) -> Neighbours:
        # returns the k nearest neighbours of every sample
        return find_nearest(self._space(x), self.k)[0]

    def _space(self, x: Array) -> Space:
        x = check_representation(x, min_samples=self.min_samples)
        xp, spacing = array_api_compat.array_namespace(x), eps(x)
        # ties are judged by the precision of the data, and float64 adds no rounding of its own
        x = xp.astype(x, xp.float64, copy=False)
        if self.metric == "cosine":
            # of unit vectors the nearest are those with the largest cosine, and differences keep their digits
            x = normalize_rows(x, NO_DIRECTION)
            if float(xp.max(xp.abs(x - x[:1]))) <= 8 * eps(x):
                raise UndefinedError("all samples have the same direction, so no cosine is larger than another")
        x = x / xp.max(xp.abs(x))
        sizes, x = row_lengths(x), about_median(x)
        if not float(xp.max(xp.abs(x))) > 0:
            raise UndefinedError("it is constant within the precision of its numbers")
        lengths = row_lengths(x)
        coarse = FEW * spacing

        def rounding(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
            """Bound the rounding of half a squared distance: of its terms, and of the numbers of both samples.

            Left out is the part that changes all distances of sample i alike.
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
        return Space(x, rounding, most, xp.vecdot(x, x) / 2)

    def permute(self, a: Neighbours, order: np.ndarray) -> Neighbours:
        plain = a.plain(self.k)
        if plain is None:
            return a.permuted(order)
        return a._replace(others=np.sort(places_of(order)[plain[order]], axis=1).ravel())

    def prepare_flops(self, n: int, p: int) -> float:
        return search_flops(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 500.0 * n * self.k

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * self.k

    def _common(self, a: Neighbours, b: Neighbours) -> np.ndarray:
        """Return how many neighbours each sample has in both, by weight (n,)."""
        one, other = a.plain(self.k), b.plain(self.k)
        if one is not None and other is not None:
            both = np.sort(np.concatenate([one, other], axis=1), axis=1)
            return np.sum(both[:, 1:] == both[:, :-1], axis=1)
        return np.asarray(a.matrix().multiply(b.matrix()).sum(axis=1)).ravel()


@dataclass(frozen=True, kw_only=True)
class MutualKNN(_KNN):
    """Mutual nearest neighbours: fraction of the k nearest neighbours of a sample that are the same in both.

    Parameters
    ----------
    k : int
        How many neighbours each sample has.
    metric : {"cosine", "euclidean"}
        Nearest are the samples with the largest cosine of the activations as they are, or with the smallest Euclidean
        distance.

    Notes
    -----
    The mean over samples of |N_x ∩ N_y| / k, where N_x and N_y are the sets of the k nearest neighbours of a sample in
    the two representations. A sample is not its own neighbour. Samples tied at the k-th distance (equal up to rounding)
    share the last places: each counts (k - number closer) / number tied, as if chance chose among them, independently
    on each side. So the order of the samples does not matter, and a representation with ties has a value below 1 with
    itself.

    Range 0 to 1; larger is more alike. The chance level is k / (n - 1), see `chance`. Invariant to permutations and
    rotations of the features and scaling; "euclidean" also to translation. Needs at least k + 1 samples; "cosine" needs
    samples that are not all 0. Cost: the n² pairs of samples once for each representation; a pair is then fast.

    Misleads when it is read without its chance level, which is high for few samples; and when copies or near repeats of
    a sample (frames of a film, tokens of a text) are its neighbours in every representation.

    References
    ----------
    Huh, Cheung, Wang, Isola 2024, "The Platonic representation hypothesis", ICML.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> measure = rs.measures.MutualKNN(k=10)
    >>> round(measure(x, x + 0.1 * rng.normal(size=(200, 5))), 2), round(measure.chance(200), 2)
    (0.83, 0.05)
    """

    def pair(self, a: Neighbours, b: Neighbours) -> float:
        return float(np.mean(self._common(a, b)) / self.k)

    def chance(self, n: int) -> float:
        """Return the chance level: the expected value when the samples of one side are permuted.

        Parameters
        ----------
        n : int
            The number of samples.

        Returns
        -------
        float
            k / (n - 1), with or without ties.

        Raises
        ------
        UndefinedError
            If n is below k + 1.

        Examples
        --------
        >>> rs.measures.MutualKNN(k=10).chance(101)
        0.1
        """
        return self.k / (_enough(self, n) - 1)


@dataclass(frozen=True, kw_only=True)
class JaccardKNN(_KNN):
    """Jaccard similarity of neighbourhoods: nearest neighbours in both representations over those in either.

    Parameters
    ----------
    k : int
        How many neighbours each sample has.
    metric : {"cosine", "euclidean"}
        Nearest are the samples with the largest cosine of the activations as they are, or with the smallest Euclidean
        distance.

    Notes
    -----
    The mean over samples of |N_x ∩ N_y| / |N_x ∪ N_y|, where N_x and N_y are the sets of the k nearest neighbours of a
    sample in the two representations. With ties it is the mean of s / (2k - s), with s the number of common neighbours
    by weight; ties are treated as in `MutualKNN`.

    Range 0 to 1; larger is more alike. The chance level is not 0, see `chance`. Invariant to permutations and rotations
    of the features and scaling; "euclidean" also to translation. Needs at least k + 1 samples; "cosine" needs samples
    that are not all 0. Cost: the n² pairs of samples once for each representation; a pair is then fast.

    Misleads when it is read without its chance level, which is high for few samples; and when copies or near repeats of
    a sample (frames of a film, tokens of a text) are its neighbours in every representation.

    References
    ----------
    Schumacher, Wolf, Ritzert and others 2021, "The effects of randomness on the stability of node embeddings", ECML
    PKDD workshops.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> measure = rs.measures.JaccardKNN(k=10)
    >>> round(measure(x, x + 0.1 * rng.normal(size=(200, 5))), 2), round(measure.chance(200), 2)
    (0.72, 0.03)
    """

    def pair(self, a: Neighbours, b: Neighbours) -> float:
        common = self._common(a, b)
        return float(np.mean(common / (2 * self.k - common)))

    def chance(self, n: int) -> float:
        """Return the chance level: the expected value when the samples of one side are permuted.

        Parameters
        ----------
        n : int
            The number of samples.

        Returns
        -------
        float
            The mean of m / (2k - m), with m hypergeometric (k of n - 1 drawn, k of them marked). With ties it is an
            upper bound, and `inference.permutation_test` computes the mean for given data.

        Raises
        ------
        UndefinedError
            If n is below k + 1.

        Examples
        --------
        >>> round(rs.measures.JaccardKNN(k=10).chance(101), 3)
        0.055
        """
        from scipy.stats import hypergeom  # here: it takes a quarter of a second to import

        m = np.arange(self.k + 1)
        return float(np.sum(hypergeom(_enough(self, n) - 1, self.k, self.k).pmf(m) * m / (2 * self.k - m)))


def _enough(measure: Measure, n: int) -> int:
    """Return n, or raise if a measure needs more samples."""
    if n < measure.min_samples:
        raise UndefinedError(f"{measure} needs at least {measure.min_samples} samples; got {n}. Take a smaller k")
    return n


def search_space(measure: MutualKNN, x: Array) -> Space:
    """Return the samples as the measure sees them, for `find_nearest` and `find_ranks`."""
    return measure._space(x)
