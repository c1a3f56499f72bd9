"""Representational similarity analysis: how alike are two matrices of (dis)similarities between samples?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_representation, to_numpy

from . import cost
from .arrays import centred_unit, eps, normalize, normalize_rows, permute_matrix
from .base import NO_LINEAR
from .cosine import Cosine
from .entries import entry_tolerance, exact_distances
from .gram import Vector
from .ties import coarsely_tied, ranks_with_ties


@dataclass(frozen=True, kw_only=True)
class RSA(Cosine):
    """Representational similarity analysis: how alike are two sample-by-sample (dis)similarity matrices?

    first: how two samples are compared within a representation: "correlation", "cosine" and "dot" as similarities,
    "euclidean" as a distance. second: how the two matrices are compared: "spearman", "pearson" or "cosine" of all pairs
    of samples, each once; or "row_cosine", "row_pearson": of matching rows, then the mean over rows. diagonal: whether
    a sample's comparison with itself counts; then the whole matrix does, each pair twice (so "dot" with "cosine" of
    centred features is linear CKA).
    Spearman: numbers that differ by rounding only, a few spacings of the two samples' own numbers, are tied and share
    their mean rank.

    Range -1 to 1. High values of the row forms are no evidence by themselves: for unrelated Gaussian data of width d,
    cosine with "row_cosine" and the diagonal gives about 1/(1 + (n - 1)/d). [Kriegeskorte, Mur, Bandettini 2008; Abnar,
    Beinborn, Choenni, Zuidema 2019]
    """

    first: Literal["correlation", "cosine", "dot", "euclidean"] = "correlation"
    second: Literal["spearman", "pearson", "cosine", "row_cosine", "row_pearson"] = "spearman"
    diagonal: bool = False

    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        firsts, seconds = (
            ("correlation", "cosine", "dot", "euclidean"),
            ("spearman", "pearson", "cosine", "row_cosine", "row_pearson"),
        )
        if self.first not in firsts or self.second not in seconds:
            raise ValueError(
                f"RSA takes first in {firsts} and second in {seconds}; got {self.first!r}, {self.second!r}"
            )

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return {
            "correlation": frozenset({"permutation", "scaling"}),
            "cosine": frozenset({"permutation", "orthogonal", "scaling"}),
            "dot": frozenset({"permutation", "orthogonal", "scaling"}),
            "euclidean": NO_LINEAR,
        }[self.first]

    def matrix(self, x: Array) -> Array:
        """The first-order matrix (n, n) of one representation."""
        return self._matrix(check_representation(x, min_samples=self.min_samples))

    def prepare(self, x: Array) -> Array:
        """-> the matrix as a unit vector: (pairs,) for whole-matrix forms, (n², or n (n - 1),) for row forms."""
        x = check_representation(x, min_samples=self.min_samples)
        xp = array_api_compat.array_namespace(x)
        if self.second == "spearman":
            return self._ranked(x)
        matrix, n = self._matrix(x), x.shape[0]
        if self.second.startswith("row"):
            rows = matrix if self.diagonal else _without_diagonal(matrix)
            rows = normalize_rows(
                rows, "its row of the similarity matrix is constant", centre=self.second == "row_pearson"
            )
            return xp.reshape(rows, (-1,)) / n**0.5
        vector = matrix[xp.asarray(self._lower(n), device=array_api_compat.device(x))]  # each pair once
        largest = float(xp.max(xp.abs(vector)))
        rounding = 8 * eps(vector) * (1.0 if self.first in ("correlation", "cosine") else largest)
        if self.second == "pearson":
            if float(xp.max(vector)) - float(xp.min(vector)) <= rounding:
                raise UndefinedError("all pairs of samples are equally alike")
            vector = vector - self._mean(vector, n)
        return normalize(self._weighted(vector, n), "all pairs of samples are equally alike", 8 * eps(vector) * largest)

    def _ranked(self, x: Array) -> Array:
        """The ranks of all pairs as a unit vector.

        The matrix is in float64: of float32 data only those numbers are tied that the data cannot tell apart, for each
        pair by its own sizes.
        """
        xp = array_api_compat.array_namespace(x)
        exact = xp.astype(x, xp.float64, copy=False)
        n = x.shape[0]
        which = self._lower(n)
        if self.first == "euclidean":
            values, tolerance = exact_distances(exact, eps(x), which)
        else:
            values = to_numpy(self._matrix(exact))[which]
            tolerance = entry_tolerance(exact, self.first, eps(x), which)
        weights = self._weights(n) if self.diagonal else None
        ranks = ranks_with_ties(values, tolerance, weights)
        if coarsely_tied(values, ranks, tolerance) > 0.5:
            raise UndefinedError(
                "most pairs of samples differ by no more than the rounding of its numbers, which are large beside their"
                " differences: subtract what they share before they are rounded, or keep more digits"
            )
        ranks -= ((len(values) if weights is None else n * n) + 1) / 2
        if weights is not None:
            ranks *= np.sqrt(weights)
        length = math.sqrt(ranks @ ranks)
        if length == 0:  # ranks of rounding look like ranks
            raise UndefinedError("all pairs of samples are equally alike")
        ranks = xp.astype(xp.asarray(ranks / length, device=array_api_compat.device(x)), x.dtype)
        return normalize(ranks, "all pairs of samples are equally alike")  # of length 1 in this precision, too

    def _weights(self, n: int) -> np.ndarray:
        """How often each entry of a prepared vector stands in the whole matrix: 2, and 1 on the diagonal."""
        which = self._lower(n)
        return np.where(np.eye(n, dtype=bool), 1, 2)[which]

    def _mean(self, vector: Array, n: int) -> Any:
        """The mean of the pairs, with the diagonal that of the whole matrix."""
        xp = array_api_compat.array_namespace(vector)
        if not self.diagonal:
            return xp.mean(vector)
        weights = xp.astype(xp.asarray(self._weights(n), device=array_api_compat.device(vector)), vector.dtype)
        return xp.sum(vector * weights, dtype=xp.float64) / n**2

    def _weighted(self, vector: Array, n: int) -> Array:
        """With the diagonal each pair stands in the matrix twice: times √2, so that inner products are those of whole
        matrices.
        """
        if not self.diagonal:
            return vector
        xp = array_api_compat.array_namespace(vector)
        return vector * xp.astype(
            xp.asarray(np.sqrt(self._weights(n)), device=array_api_compat.device(vector)), vector.dtype
        )

    def permute(self, a: Array, order: np.ndarray) -> Array:
        xp = array_api_compat.array_namespace(a)
        if self.second.startswith("row"):
            matrix = permute_matrix(
                xp.reshape(a, (self._samples(a), -1)) if self.diagonal else _with_diagonal(a, self._samples(a)), order
            )
            return xp.reshape(matrix if self.diagonal else _without_diagonal(matrix), (-1,))
        which = self._lower(self._samples(a))
        matrix = np.zeros(which.shape, to_numpy(a).dtype)
        matrix[which] = matrix.T[which] = to_numpy(a)
        return xp.asarray(permute_matrix(matrix, order)[which], device=array_api_compat.device(a))

    @property
    def recentring(self) -> str | None:
        return "pairs" if self.second == "pearson" and not self.diagonal else None

    def check_gram_matrix(self) -> None:
        if self.second.startswith("row"):
            raise NotImplementedError(
                f"{self} brings every row of its matrix to a length of its own, so that the matrix is no longer"
                " symmetric"
            )

    def gram_matrix(self, a: Array) -> np.ndarray:
        self.check_gram_matrix()
        values = to_numpy(a)
        which = self._lower(self._samples(a))
        matrix = np.zeros(which.shape, values.dtype)
        matrix[which] = values * values.dtype.type(0.5**0.5)  # each pair stands there twice and counts once
        matrix += matrix.T
        if self.diagonal:
            # the diagonal stands there once, and was just doubled
            matrix[np.diag_indices(len(matrix))] *= values.dtype.type(0.5**0.5)
        return matrix

    def _samples(self, a: Array) -> int:
        """n, from the length of a prepared vector: n², n (n - 1), n (n + 1) / 2 or n (n - 1) / 2."""
        size = a.shape[0] if self.second.startswith("row") else 2 * a.shape[0]
        return math.isqrt(size) + (not self.diagonal)

    def _lower(self, n: int) -> np.ndarray:
        """Which cells of its matrix count, each pair once (n, n)."""
        return np.tri(n, k=0 if self.diagonal else -1, dtype=bool)

    _by_tiles: ClassVar[bool] = False

    def _source(self, x: Array, number: int = 0) -> Vector:
        return Vector(self.prepare(x), 0.0)

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        number, pairs = len(ps) + len(qs or ()), n * n if self.second.startswith("row") else n * n / 2
        sorting = 60.0 * pairs * math.log2(n) if self.second == "spearman" else 0.0
        flops = (
            2.0 * n * n * (sum(ps) + sum(qs or ()))
            + number * (20 * n * n + sorting)
            + 2 * pairs * len(ps) * len(ps if qs is None else qs)
        )
        return cost.Cost(
            flops,
            number * pairs * itemsize,
            n * n * (3 * itemsize + (40 if sorting else 0)) + 3.0 * itemsize * n * max([*ps, *(qs or ())]) + 2**26,
        )

    def _matrix(self, x: Array) -> Array:
        xp = array_api_compat.array_namespace(x)
        if self.first == "euclidean":
            return _squared_distances(x) ** 0.5
        x = x / xp.max(xp.abs(x))  # no later square can overflow
        if self.first == "correlation":
            if x.shape[1] < 2:
                raise UndefinedError("correlation between samples needs at least 2 features; it has 1")
            x = normalize_rows(x, "its features are all equal, and correlation needs them to differ", centre=True)
        elif self.first == "cosine":
            x = normalize_rows(x, "its activations are all 0, so its cosine with others is undefined")
        else:
            return x @ x.T
        return _with_itself(x @ x.T, 1)


def _without_diagonal(matrix: Array) -> Array:
    """(n, n) -> (n, n - 1): each row without its own sample."""
    xp = array_api_compat.array_namespace(matrix)
    n = matrix.shape[0]
    flat = xp.reshape(matrix, (-1,))[:-1]  # a[0,0] then n - 1 runs of [n others, next diagonal]
    return xp.reshape(xp.reshape(flat, (n - 1, n + 1))[:, 1:], (n, n - 1))


def _with_diagonal(flat: Array, n: int) -> Array:
    """What `_without_diagonal` made of (n, n), as one vector -> (n, n), 0 on the diagonal."""
    xp = array_api_compat.array_namespace(flat)
    nothing = xp.zeros((n, 1), dtype=flat.dtype, device=array_api_compat.device(flat))
    rows = xp.concat([nothing[:-1], xp.reshape(flat, (n - 1, n))], axis=1)
    return xp.reshape(xp.concat([xp.reshape(rows, (-1,)), nothing[0]]), (n, n))


def _squared_distances(x: Array) -> Array:
    """Squared Euclidean distances between the samples (n, n), in units of the whole."""
    xp = array_api_compat.array_namespace(x)
    x = centred_unit(x)
    size = xp.vecdot(x, x)
    squared = x @ x.T
    squared *= -2
    squared += size[:, None]
    squared += size[None, :]
    return _with_itself(xp.clip(squared, 0, None), 0)


def _with_itself(matrix: Array, value: float) -> Array:
    """The matrix with this value on its diagonal, written into it: rounding must not break these ties."""
    if isinstance(matrix, np.ndarray):
        np.fill_diagonal(matrix, value)
        return matrix
    return matrix.fill_diagonal_(value)


def first_order(x: Array, kind: Literal["correlation", "cosine", "dot", "euclidean"] = "correlation") -> Any:
    """The sample-by-sample matrix of one representation as NumPy, for pictures: (n, n)."""
    return to_numpy(RSA(first=kind).matrix(x))
