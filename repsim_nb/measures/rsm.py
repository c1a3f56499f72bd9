"""Measures that compare sample-by-sample matrices: CKA and RSA. Prepared, a representation is one unit vector; a pair is one dot product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np
from scipy.stats import rankdata

from ..errors import UndefinedError
from .base import NO_LINEAR, Array, Measure, centred_unit, enter, eps, inner, unit


class _UnitVectors(Measure):
    """Prepared values are unit vectors whose inner product is the value."""

    kind: ClassVar = "similarity"

    def pair(self, a: Array, b: Array) -> float:
        return inner(a, b)


@dataclass(frozen=True, kw_only=True)
class CKA(_UnitVectors):
    """Centred kernel alignment: the cosine between two centred sample-by-sample kernel matrices.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = XXᵀ ("linear") or exp(-d²/(2 b² median d²)) ("rbf", b = bandwidth).
    The biased estimator grows with p/n: for independent Gaussians it is about sqrt(pq/((n+p)(n+q))). `debiased` uses the unbiased
    HSIC of Song et al. in all three places (their ratio is no longer unbiased; it can be below 0). `batch_size` sums that HSIC over
    batches of consecutive samples, weighted by their size, before the ratio is taken; a last batch of under 4 joins the one before.
    median: Kornblith's reference code includes the zero diagonal in the median distance ("with_diagonal").

    Range 0 to 1 (debiased: may be below 0). Needs n ≥ 3, debiased n ≥ 4.
    [Kornblith, Norouzi, Lee, Hinton 2019; Song, Smola, Gretton, Bedo, Borgwardt 2012, eq. 5; Nguyen, Raghu, Kornblith 2021]
    """

    kernel: Literal["linear", "rbf"] = "linear"
    bandwidth: float = 1.0
    median: Literal["with_diagonal", "off_diagonal"] = "with_diagonal"
    debiased: bool = False
    batch_size: int | None = None

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        if self.kernel not in ("linear", "rbf") or self.median not in ("with_diagonal", "off_diagonal"):
            raise ValueError(f"CKA takes kernel 'linear' or 'rbf' and median 'with_diagonal' or 'off_diagonal'; got {self.kernel!r}, {self.median!r}")
        if not self.bandwidth > 0:
            raise ValueError(f"CKA's bandwidth is a positive multiple of the median distance; got {self.bandwidth}")
        if self.batch_size is not None and self.batch_size < 4:
            raise ValueError(f"the minibatch estimator needs batches of at least 4 samples; got batch_size={self.batch_size}")

    @property
    def least(self) -> int:  # type: ignore[override]
        return 4 if self.debiased or self.batch_size else 3

    def prepare(self, x: Array) -> Array:
        """-> the centred kernel as a unit vector, (n²,) or for batches (sum of their n²,)."""
        x = enter(x, least=self.least)
        xp = array_api_compat.array_namespace(x)
        if self.batch_size is None:
            kernel = self._kernel(centred_unit(x))
            return self._unit(xp.reshape(_u_centred(kernel) if self.debiased else _centred(kernel), (-1,)), [kernel])
        x = centred_unit(x)
        parts, kernels = [], []
        for start, stop in batches(x.shape[0], self.batch_size):
            weight = (1 / (stop - start - 3)) ** 0.5  # n_b · 1/(n_b (n_b - 3)), half of it from each side
            kernels.append(self._kernel(x[start:stop]) * weight)
            parts.append(xp.reshape(_u_centred(kernels[-1]), (-1,)))
        return self._unit(xp.concat(parts), kernels)

    def _kernel(self, x: Array) -> Array:
        xp = array_api_compat.array_namespace(x)
        x = x - xp.mean(x, axis=0, keepdims=True)
        gram = x @ x.T
        if self.kernel == "linear":
            return gram
        size = xp.linalg.diagonal(gram)
        squared = xp.clip(size[:, None] + size[None, :] - 2 * gram, 0, None)
        squared = squared * (1 - xp.eye(x.shape[0], dtype=x.dtype, device=array_api_compat.device(x)))
        middle = _median(squared, diagonal=self.median == "with_diagonal")
        if middle <= 0:
            raise UndefinedError("the median distance between samples is 0 (half of them are copies), so the RBF kernel has no width")
        return xp.expm1(squared / (-2 * self.bandwidth**2 * middle))  # exp less 1: centring takes the 1 out, here without cancellation

    def _unit(self, vector: Array, kernels: list[Array]) -> Array:
        """At unit length, unless nothing but rounding of the kernels is left of it."""
        xp = array_api_compat.array_namespace(vector)
        floor = 8 * eps(vector) * sum(float(xp.sum(k * k, dtype=xp.float64)) for k in kernels) ** 0.5
        return unit(vector, "all samples are equally far from one another, so its centred kernel is 0", floor)


def batches(n: int, size: int) -> list[tuple[int, int]]:
    """Consecutive (start, stop) of `size` samples; a last one of under 4 joins the one before."""
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] < 4:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


def _median(squared: Array, *, diagonal: bool) -> float:
    """The median of all entries of a symmetric matrix with zero diagonal, or of those off its diagonal."""
    xp = array_api_compat.array_namespace(squared)
    values = xp.sort(xp.reshape(squared, (-1,)))
    values = values if diagonal else values[squared.shape[0] :]  # the n zeros of the diagonal sort first
    m = values.shape[0]
    return (float(values[(m - 1) // 2]) + float(values[m // 2])) / 2


def _centred(kernel: Array) -> Array:
    """Row and column means out."""
    xp = array_api_compat.array_namespace(kernel)
    rows = xp.mean(kernel, axis=1, keepdims=True)
    return kernel - rows - rows.T + xp.mean(rows)


def _u_centred(kernel: Array) -> Array:
    """The U-centred matrix A, zero on its diagonal: <A, B> / (n (n - 3)) is the unbiased HSIC of Song et al. (Székely, Rizzo 2014)."""
    xp = array_api_compat.array_namespace(kernel)
    n = kernel.shape[0]
    off = 1 - xp.eye(n, dtype=kernel.dtype, device=array_api_compat.device(kernel))
    kernel = kernel * off
    rows = xp.sum(kernel, axis=1, keepdims=True)
    return (kernel - rows / (n - 2) - rows.T / (n - 2) + xp.sum(rows) / ((n - 1) * (n - 2))) * off


@dataclass(frozen=True, kw_only=True)
class RSA(_UnitVectors):
    """Representational similarity analysis: how alike are two sample-by-sample (dis)similarity matrices?

    first: how two samples are compared within a representation: "correlation", "cosine" and "dot" as similarities, "euclidean" as a
    distance. second: how the two matrices are compared: "spearman", "pearson" or "cosine" of all pairs of samples, each once; or
    "row_cosine", "row_pearson": of matching rows, then the mean over rows. diagonal: whether a sample's comparison with itself counts.

    Range -1 to 1. High values of the row forms are no evidence by themselves: for unrelated Gaussian data of width d, cosine with
    "row_cosine" and the diagonal gives about 1/(1 + (n - 1)/d).
    [Kriegeskorte, Mur, Bandettini 2008; Abnar, Beinborn, Choenni, Zuidema 2019]
    """

    first: Literal["correlation", "cosine", "dot", "euclidean"] = "correlation"
    second: Literal["spearman", "pearson", "cosine", "row_cosine", "row_pearson"] = "spearman"
    diagonal: bool = False

    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        firsts, seconds = ("correlation", "cosine", "dot", "euclidean"), ("spearman", "pearson", "cosine", "row_cosine", "row_pearson")
        if self.first not in firsts or self.second not in seconds:
            raise ValueError(f"RSA takes first in {firsts} and second in {seconds}; got {self.first!r}, {self.second!r}")

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
        return self._matrix(enter(x, least=self.least))

    def prepare(self, x: Array) -> Array:
        """-> the matrix as a unit vector: (pairs,) for whole-matrix forms, (n², or n (n - 1),) for row forms."""
        x = enter(x, least=self.least)
        xp = array_api_compat.array_namespace(x)
        matrix = self._matrix(x)
        n = matrix.shape[0]
        if self.second.startswith("row"):
            rows = matrix if self.diagonal else _without_diagonal(matrix)
            rows = _unit_rows(rows, "its row of the similarity matrix is constant", centre=self.second == "row_pearson")
            return xp.reshape(rows, (-1,)) / n**0.5
        row, column = (xp.asarray(i, device=array_api_compat.device(x)) for i in np.triu_indices(n, 0 if self.diagonal else 1))
        vector = xp.take(xp.reshape(matrix, (-1,)), row * n + column)
        if self.second == "spearman":
            ranks = rankdata(np.asarray(array_api_compat.to_device(vector, "cpu")))
            vector = xp.astype(xp.asarray(ranks, device=array_api_compat.device(x)), vector.dtype)
        largest = float(xp.max(xp.abs(vector)))
        vector = vector - xp.mean(vector) if self.second != "cosine" else vector
        return unit(vector, "all pairs of samples are equally alike", 8 * eps(vector) * largest)

    def _matrix(self, x: Array) -> Array:
        xp = array_api_compat.array_namespace(x)
        if self.first == "euclidean":
            x = centred_unit(x)
            size = xp.vecdot(x, x)
            gram = xp.clip(size[:, None] + size[None, :] - 2 * (x @ x.T), 0, None) ** 0.5
            return gram * (1 - xp.eye(x.shape[0], dtype=x.dtype, device=array_api_compat.device(x)))
        x = x / xp.max(xp.abs(x))  # no later square can overflow
        if self.first == "correlation":
            if x.shape[1] < 2:
                raise UndefinedError("correlation between samples needs at least 2 features; it has 1")
            x = _unit_rows(x, "its features are all equal, and correlation needs them to differ", centre=True)
        elif self.first == "cosine":
            x = _unit_rows(x, "its activations are all 0, so its cosine with others is undefined")
        else:
            return x @ x.T
        itself = xp.eye(x.shape[0], dtype=x.dtype, device=array_api_compat.device(x))
        return (x @ x.T) * (1 - itself) + itself  # exactly 1 with itself: rounding must not break these ties


def _unit_rows(x: Array, reason: str, *, centre: bool = False) -> Array:
    """Each row at unit length, `centre`: its mean out first; UndefinedError names the first row of which nothing is left."""
    xp = array_api_compat.array_namespace(x)
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    empty = largest == 0
    x = x / xp.where(empty, xp.ones_like(largest), largest)  # each by its own size: a faint sample is no empty one
    x = x - xp.mean(x, axis=1, keepdims=True) if centre else x
    lengths = xp.linalg.vector_norm(x, axis=1, keepdims=True)
    empty = empty | (lengths <= (8 * eps(x) * x.shape[1] ** 0.5 if centre else 0))
    if bool(xp.any(empty)):
        bad = np.flatnonzero(np.asarray(array_api_compat.to_device(empty, "cpu")))
        raise UndefinedError(f"sample {bad[0]} ({len(bad)} such in all): {reason}")
    return x / lengths


def _without_diagonal(matrix: Array) -> Array:
    """(n, n) -> (n, n - 1): each row without its own sample."""
    xp = array_api_compat.array_namespace(matrix)
    n = matrix.shape[0]
    flat = xp.reshape(matrix, (-1,))[:-1]  # a[0,0] then n - 1 runs of [n others, next diagonal]
    return xp.reshape(xp.reshape(flat, (n - 1, n + 1))[:, 1:], (n, n - 1))


def first_order(x: Array, kind: str = "correlation") -> Any:
    """The sample-by-sample matrix of one representation as NumPy, for pictures: (n, n)."""
    return np.asarray(array_api_compat.to_device(RSA(first=kind).matrix(x), "cpu"))
