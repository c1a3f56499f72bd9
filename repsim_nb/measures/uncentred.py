"""Measures of representations as they are, without subtracting the means of features: cosines and subspaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import DegenerateComparisonError, UndefinedError
from repsim_nb.support.validation import check_representation, to_numpy

from .arrays import eps, reduce_features
from .base import Measure

_EPS = float(np.finfo(float).eps)


class _Samples(NamedTuple):
    """Samples in at most n coordinates (n, min(n, p)), and the length of each (n,)."""

    coordinates: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AlignedCosine(Measure):
    """Aligned cosine similarity: the mean cosine of each sample with itself after the best rotation.

    The widths of the two representations may differ. It has no options.

    Raises
    ------
    UndefinedError
        If a sample is 0, or if several best rotations give different values.

    Notes
    -----
    One representation is rotated to have the largest inner product with the other (orthogonal Procrustes, without
    centring and scaling; the narrower side gets features that are 0). The value is the mean over samples of the cosine
    between both activations of the sample.

    Range -1 to 1; larger is more alike. Invariant to permutations and rotations of the features and scaling; not to
    translation. Needs at least 3 samples. Cost: a singular value decomposition of a matrix of features by features (at
    most samples by samples) for each pair.

    Misleads when the means of the features are large: all samples then point the same way on both sides, and the value
    is near 1 for unrelated data (the mean activations of a ReLU are enough). Subtract the means to see the rest. When
    features outnumber samples a rotation finds agreement everywhere.

    References
    ----------
    Hamilton, Leskovec, Jurafsky 2016, "Diachronic word embeddings reveal statistical laws of semantic change", ACL.
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 100, 5))
    >>> rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> measure = rs.measures.AlignedCosine()
    >>> round(measure(x, 3 * x @ rotation), 6), round(measure(x, y), 2), round(measure(x + 9, y + 9), 2)
    (1.0, 0.14, 0.99)
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "orthogonal", "scaling"})

    def prepare(self, x: Array) -> _Samples:
        # returns the samples in coordinates of their own, and their lengths
        x = to_numpy(check_representation(x, min_samples=self.min_samples, double=True))
        x = x / np.abs(x).max()
        lengths = np.linalg.norm(x, axis=1)
        if not lengths.all():
            empty = np.flatnonzero(lengths == 0)
            raise UndefinedError(
                f"sample {empty[0]} ({len(empty)} such in all): its activations are all 0, so it has no cosine"
            )
        return _Samples(reduce_features(x), lengths)

    def permute(self, a: _Samples, order: np.ndarray) -> _Samples:
        return _Samples(a.coordinates[order], a.lengths[order])

    def pair(self, a: _Samples, b: _Samples) -> float:
        if a is b:
            return 1.0
        u, s, vt = np.linalg.svd(a.coordinates.T @ b.coordinates, full_matrices=False)
        # directions that may be turned without any loss; what a side lacks is 0 there
        free = s <= max(64, *a.coordinates.shape, *b.coordinates.shape) * _EPS * s[0]
        left, right = (
            np.abs(side.coordinates @ turned[:, free] / side.lengths[:, None]).max(initial=0)
            for side, turned in ((a, u), (b, vt.T))
        )
        if left * right > 1e-9:
            raise UndefinedError(
                f"{int(free.sum())} directions of one side have no inner product with the other side, so that several"
                " rotations are equally good and give different cosines. Use 'nbs', which is the same for all of them"
            )
        products = np.einsum("ij,ij->i", a.coordinates @ (u @ vt), b.coordinates)
        return float(np.mean(products / (a.lengths * b.lengths)))

    def prepare_flops(self, n: int, p: int) -> float:
        return 10.0 * n * p + (16.0 * p * n * n if p > n else 0.0)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        p, q = min(n, p), min(n, q)
        return 4.0 * n * p * q + 60.0 * p * q * min(p, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * (min(n, p) + 1)


@dataclass(frozen=True, kw_only=True)
class EigenspaceOverlap(Measure):
    """Eigenspace overlap: how much of the subspace of one representation lies in that of the other.

    The subspace is that of the columns, in the space of the n samples. It has no options.

    Raises
    ------
    DegenerateComparisonError
        If the columns of one side span all n dimensions: the value is then the ratio of the ranks, whatever the data.

    Notes
    -----
    With U and V orthonormal bases of the columns of both representations, which are not centred, the value is
    ‖UᵀV‖² / max(rank X, rank Y), with the Frobenius norm. `CCA(summary="mean_squared")` has centred columns, and
    divides by the smaller rank.

    Range 0 to 1; larger is more alike. Invariant to every invertible linear map of the features; not to translation.
    Needs at least 3 samples, and fewer features than samples. Cost: a singular value decomposition of each
    representation, and a product of features by features for each pair.

    Misleads when features are not far fewer than samples: unrelated data give about the smaller rank divided by n. All
    directions count alike, those of noise too. Ranks that differ cap the value at their ratio.

    References
    ----------
    May, Zhang, Dao, Ré 2019, "On the downstream performance of compressed word embeddings", NeurIPS.
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 5)), rng.normal(size=(100, 50))
    >>> measure = rs.measures.EigenspaceOverlap()
    >>> round(measure(x, x @ rng.normal(size=(5, 5))), 6), round(measure(x, np.hstack([x, y[:, :5]])), 6)
    (1.0, 0.5)
    >>> round(measure(y, rng.normal(size=(100, 50))), 1)  # unrelated, with half as many features as samples
    0.5
    """

    kind: ClassVar = "similarity"
    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "orthogonal", "scaling", "linear"})

    def prepare(self, x: Array) -> np.ndarray:
        # returns an orthonormal basis of the columns, (n, rank) in float64
        x = check_representation(x, min_samples=self.min_samples)
        values = to_numpy(x).astype(float)
        u, s, _ = np.linalg.svd(values / np.abs(values).max(), full_matrices=False)
        return u[:, : int((s > s[0] * max(values.shape) * eps(x)).sum())]

    def permute(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        return a[order]

    def pair(self, a: np.ndarray, b: np.ndarray) -> float:
        ranks = a.shape[1], b.shape[1]
        if max(ranks) == len(a):
            raise DegenerateComparisonError(
                f"the features of one side span all {len(a)} dimensions of the samples, so the overlap is"
                f" {min(ranks)} / {max(ranks)} whatever the data. Use more samples, or fewer features"
            )
        return float(np.sum((a.T @ b) ** 2)) / max(ranks)

    def prepare_flops(self, n: int, p: int) -> float:
        return 20.0 * n * p * min(n, p)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 2.0 * n * min(n, p) * min(n, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * min(n, p)
