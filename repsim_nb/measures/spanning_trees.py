"""Light topology: how samples join into clusters as the distance grows, from minimum spanning trees of distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_representation

from .arrays import eps, permute_matrix
from .base import NO_LINEAR, Measure
from .entries import exact_distances
from .ties import ranks_with_ties


def _distances(x: Array, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Euclidean distance of each pair of samples, in the order of SciPy, and by how much it may be rounding.

    Distances are in units of the largest number of x.
    """
    x = check_representation(x, min_samples=min_samples)
    xp = array_api_compat.array_namespace(x)
    which = np.tri(x.shape[0], k=-1, dtype=bool).T
    return exact_distances(xp.astype(x, xp.float64, copy=False), eps(x), which)


def _permute_condensed(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the numbers of all pairs for another order of the samples."""
    return squareform(permute_matrix(squareform(values, checks=False), order), checks=False)


def _tree_length(distances: np.ndarray) -> float:
    """Return the sum of the edges of a minimum spanning tree."""
    return float(linkage(distances, "single")[:, 2].sum())


class _Spread(NamedTuple):
    """Distances of all pairs, in units of their .9 quantile, and the length of their minimum spanning tree (1,)."""

    distances: np.ndarray
    length: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RTDLite(Measure):
    """RTD-lite: how differently samples join into clusters, as the distance grows.

    RTD is the representation topology divergence, and this is its part for connected components.

    Parameters
    ----------
    form : {"rtd", "srtd"}
        "rtd" is the mean of the lengths of both minimum spanning trees, less the length of that of the smaller
        distances; "srtd" (symmetric) is the length of the tree of the larger distances less that of the smaller ones.

    Notes
    -----
    The Euclidean distances of all pairs of samples are divided by the .9 quantile of those above 0, in each
    representation. For each pair of samples the smaller of both distances is taken, and the minimum spanning tree of
    these distances. It is never longer than the trees of both sides. The value is by how much it is shorter. The length
    of a tree is the sum of the distances at which clusters join (single linkage).

    Range from 0; larger is less alike. Invariant to permutations and rotations of the features, scaling and
    translation. Needs at least 3 samples. Cost: the n² pairs of samples for each representation, and a spanning tree of
    n² distances for each pair; memory for n² / 2 numbers for each representation.

    Misleads when it is compared over different numbers of samples: it grows with n. It is 0 for many pairs that differ,
    since distances within clusters that are longer than the edges of the tree do not count.

    References
    ----------
    Tulchinskii, Voronkova, Trofimov, Burnaev, Barannikov 2025, "RTD-Lite: scalable topological analysis for comparing
    weighted graphs in learning tasks", AISTATS.
    Wang, Hu 2026, TMLR, arXiv 2606.06342 (SRTD-lite and NTS).

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0], [11.0]]), np.array([[0.0], [10.0], [11.0]])  # another pair is near
    >>> round(rs.measures.RTDLite()(x, y), 4), round(rs.measures.RTDLite()(x, -3 * x), 4)
    (0.8333, 0.0)
    """

    form: Literal["rtd", "srtd"] = "rtd"

    kind: ClassVar = "dissimilarity"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_choice(self.form, "form of RTDLite", ("rtd", "srtd"))

    def prepare(self, x: Array) -> _Spread:
        # returns distances in units of their quantile, and the length of their tree
        distances = _distances(x, self.min_samples)[0]
        distances = distances / np.quantile(distances[distances > 0], 0.9)
        return _Spread(distances, np.array([_tree_length(distances)]))

    def permute(self, a: _Spread, order: np.ndarray) -> _Spread:
        return _Spread(_permute_condensed(a.distances, order), a.length)

    def pair(self, a: _Spread, b: _Spread) -> float:
        longer = (
            float(a.length[0] + b.length[0]) / 2
            if self.form == "rtd"
            else _tree_length(np.maximum(a.distances, b.distances))
        )
        return longer - _tree_length(np.minimum(a.distances, b.distances))

    def prepare_flops(self, n: int, p: int) -> float:
        return 2.0 * n * n * p + 200.0 * n * n

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return (100.0 if self.form == "rtd" else 200.0) * n * n

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 4.0 * n * n


class _Joins(NamedTuple):
    """For all pairs of samples the rank of their distance, and of the distance at which their clusters join."""

    ranks: np.ndarray
    joins: np.ndarray


@dataclass(frozen=True, kw_only=True)
class NTS(Measure):
    """Normalised topological similarity (NTS): whether the edges of both minimum spanning trees have the same order.

    Parameters
    ----------
    form : {"edges", "merges"}
        What is ranked: the distance of both samples of an edge (NTS-E), or the distance at which their clusters join
        (NTS-M).

    Raises
    ------
    UndefinedError
        If all edges have the same length on one side.

    Notes
    -----
    The edges are the pairs of samples that are neighbours in the minimum spanning tree of the Euclidean distances of
    one of the two representations. The value is Spearman's rank correlation of their lengths on both sides; "merges"
    takes the largest edge on the way from one sample to the other in each tree instead, the height at which single
    linkage joins them. Distances that differ by rounding are tied. A tree is then not unique, and all edges that are in
    one of the possible trees count, so that the order of the samples does not matter.

    Range -1 to 1; larger is more alike. Invariant to permutations and rotations of the features, scaling and
    translation. Needs at least 3 samples. Cost: the n² pairs of samples for each representation, which are sorted;
    memory for n² numbers for each representation.

    Misleads for unrelated representations: an edge of one tree is short on its side and of usual length on the other,
    so that values are far below 0 (about -0.7). `inference.null_moments` gives the chance level.

    References
    ----------
    Wang, Hu 2026, TMLR, arXiv 2606.06342 (SRTD-lite and NTS).

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0], [11.0]]), np.array([[0.0], [10.0], [11.0]])
    >>> round(rs.measures.NTS()(x, y), 6), round(rs.measures.NTS()(x, 5 - x), 6)
    (-1.0, 1.0)
    """

    form: Literal["edges", "merges"] = "edges"

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_choice(self.form, "form of NTS", ("edges", "merges"))

    def prepare(self, x: Array) -> _Joins:
        # returns ranks; trees of ranks are trees of distances, and ties are exact
        ranks = ranks_with_ties(*_distances(x, self.min_samples))
        return _Joins(ranks, cophenet(linkage(ranks, "single")))

    def permute(self, a: _Joins, order: np.ndarray) -> _Joins:
        return _Joins(_permute_condensed(a.ranks, order), _permute_condensed(a.joins, order))

    def pair(self, a: _Joins, b: _Joins) -> float:
        from scipy.stats import rankdata  # here: it takes a quarter of a second to import

        edges = (a.ranks == a.joins) | (b.ranks == b.joins)  # nothing shorter connects both samples
        ranked = []
        for side in (a, b):
            ranks = rankdata((side.ranks if self.form == "edges" else side.joins)[edges])
            ranks -= (len(ranks) + 1) / 2
            length = math.sqrt(ranks @ ranks)
            if length == 0:
                raise UndefinedError("all edges of both minimum spanning trees have the same length on one side")
            ranked.append(ranks / length)
        return float(ranked[0] @ ranked[1])

    def prepare_flops(self, n: int, p: int) -> float:
        return 2.0 * n * n * p + 500.0 * n * n

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 10.0 * n * n + 1000.0 * n

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * n
