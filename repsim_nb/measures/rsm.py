"""Measures that compare sample-by-sample matrices: CKA, distance correlation, RSA.

Each matrix has a standard form in which the value of a pair is a cosine. Prepared, a representation is that form as one
unit vector of n² numbers or fewer, and a pair is one dot product. A table does not write the vectors down where the
engine can make them tile by tile.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import Array, check_integer, check_positive, check_representation, to_numpy
from repsim_nb.support.workers import Workers

from . import cost, engine, moments
from .arrays import centred_unit, eps, inner_product, normalize, normalize_rows, permute_matrix
from .base import NO_LINEAR, Measure
from .engine import Products
from .entries import entry_tolerance, exact_distances
from .features import Features
from .gram import Batches, Kernel, Source, Vector, median_distance
from .tables import Job
from .ties import coarsely_tied, ranks_with_ties

_NONE_WHOLE = 2**62  # of so many representations no matrix is kept whole


class Cosine(Measure):
    """The cosine between two matrices in standard form.

    A member says what its matrix is (`_source`); a table is the engine's work.
    """

    kind: ClassVar = "similarity"
    nothing: ClassVar[str] = (
        "all samples are equally far from one another, so nothing is left of its matrix once it is centred"
    )

    def _source(self, x: Array, number: int = 0) -> Source:
        """The matrix of one of `number` representations of a table (0: of one alone, to be written down whole)."""
        raise NotImplementedError(f"{type(self).__name__} defines no _source(x, number)")

    def _value(self, cosine: Any) -> Any:
        return cosine

    def prepare(self, x: Array) -> Array:
        """-> the matrix in standard form as one unit vector."""
        source = self._source(x)
        return normalize(source.flat(), self.nothing, source.floor)

    def pair(self, a: Array, b: Array) -> float:
        return float(self._value(inner_product(a, b)))

    def permute(self, a: Array, order: np.ndarray) -> Array:
        n = math.isqrt(a.shape[0])
        return array_api_compat.array_namespace(a).reshape(permute_matrix(a.reshape(n, n), order), (-1,))

    def gram_matrix(self, a: Array) -> np.ndarray:
        self.check_gram_matrix()
        n = math.isqrt(a.shape[0])
        return to_numpy(a).reshape(n, n)

    def check_gram_matrix(self) -> None:
        """Its standard form is one, but where an option says otherwise."""

    def _sums(self, of_kernel: moments.KernelSums, source: Any) -> moments.Sums:
        return (
            moments.sums_of(self.gram_matrix(source.values), overwrite=True)
            if isinstance(source, Vector)
            else of_kernel(source)
        )

    @property
    def _by_tiles(self) -> bool:
        """Can its matrix be made piece by piece wherever a piece is needed, rather than written down?"""
        return True

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        sides = [xs] if ys is None else [xs, ys]
        number = sum(map(len, sides))
        if job.run.separate_memory and not self._by_tiles:
            return super()._table(xs, ys, job)  # a vector of n² numbers is no message
        steps = 5 * number  # of which a fifth is reading
        values = np.full((len(xs), len(sides[-1])), np.nan)
        with job.keeper() as keep:
            source = functools.partial(self._source, number=_NONE_WHOLE if job.run.separate_memory else number)
            sources = [job.prepare(source, side, k, (k * len(xs), steps), keep) for k, side in enumerate(sides)]
            which = [[i for i, s in enumerate(side) if not isinstance(s, UndefinedError)] for side in sources]
            if not all(which):
                return values
            good = [[side[i] for i in some] for side, some in zip(sources, which, strict=True)]
            if job.moments is not None:
                sums = functools.partial(self._sums, moments.KernelSums(number))
                for k, side in enumerate(good):
                    found = job.run(sums, side, idle=lambda: job.tick(number, steps))
                    job.moments.update({(k, i): one for i, one in zip(which[k], found, strict=True)})
            between, *squares = self._products(
                good[0],
                None if ys is None else good[1],
                job.run,
                lambda share: job.tick(number + round(share * (steps - number)), steps),
            )
        lengths = []
        for k, side in enumerate(good):
            enough = squares[k] > np.array([s.floor for s in side]) ** 2
            for i in np.flatnonzero(~enough):
                job.reasons.add_representation(k, which[k][i], UndefinedError(self.nothing))
            lengths.append(np.sqrt(np.where(enough, squares[k], np.nan)))
        values[np.ix_(which[0], which[-1])] = self._value(between / np.outer(lengths[0], lengths[-1]))
        return values

    def _products(
        self, left: Sequence[Source], right: Sequence[Source] | None, run: Workers, tick: Callable[[float], None]
    ) -> Products:
        return engine.by_tiles(left, right, run, tick)


@dataclass(frozen=True, kw_only=True)
class CKA(Cosine):
    """Centred kernel alignment: the cosine between two centred sample-by-sample kernel matrices.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = XXᵀ ("linear") or exp(-d²/(2 b² median d²)) ("rbf", b =
    bandwidth). The biased estimator grows with p/n: for independent Gaussians it is about sqrt(pq/((n+p)(n+q))).
    `debiased` uses the unbiased HSIC of Song et al. in all three places (their ratio is no longer unbiased; it can be
    below 0). `batch_size` sums that HSIC over batches of consecutive samples, weighted by their size, before the ratio
    is taken; a last batch of under 4 joins the one before.
    median: Kornblith's reference code includes the zero diagonal in the median distance ("with_diagonal").

    Range 0 to 1 (debiased: may be below 0). Needs n ≥ 3, debiased n ≥ 4. A table needs memory for tiles only, whatever
    n is (an RBF kernel in batches: n · batch_size numbers a representation). [Kornblith, Norouzi, Lee, Hinton 2019;
    Song, Smola, Gretton, Bedo, Borgwardt 2012, eq. 5; Nguyen, Raghu, Kornblith 2021]
    """

    kernel: Literal["linear", "rbf"] = "linear"
    bandwidth: float = 1.0
    median: Literal["with_diagonal", "off_diagonal"] = "with_diagonal"
    debiased: bool = False
    batch_size: int | None = None

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return (-1.0 if self.debiased or self.batch_size else 0.0), 1.0

    def __post_init__(self) -> None:
        if self.kernel not in ("linear", "rbf") or self.median not in ("with_diagonal", "off_diagonal"):
            raise ValueError(
                f"CKA takes kernel 'linear' or 'rbf' and median 'with_diagonal' or 'off_diagonal'; got {self.kernel!r},"
                f" {self.median!r}"
            )
        check_positive(self.bandwidth, "bandwidth of CKA", hint="1 for the median distance")
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size of CKA", minimum=4, hint="or None for no batches")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return 4 if self.debiased or self.batch_size else 3

    @property
    def _by_tiles(self) -> bool:
        return self.kernel == "linear" or self.batch_size is None

    def permute(self, a: Array, order: np.ndarray) -> Array:
        self.check_gram_matrix()
        return super().permute(a, order)

    @property
    def recentring(self) -> str | None:
        if self.kernel == "rbf" or self.batch_size is not None:  # the median distance is that of all samples
            return None
        return "unbiased" if self.debiased else "double"

    def check_gram_matrix(self) -> None:
        if self.batch_size is not None:
            raise NotImplementedError(
                f"{self} compares batches of consecutive samples, and another order of samples makes other batches"
            )

    def _source(self, x: Array, number: int = 0) -> Source:
        features = Features(x, self.min_samples)
        if self.batch_size is None:
            return self._kernel(features, number)
        batched = Batches(features, self.batch_size, self._kernel)
        return batched if self.kernel == "linear" else Vector(batched.flat(), batched.floor)

    def _kernel(self, features: Features, number: int = 0) -> Kernel:
        unbiased = self.debiased or self.batch_size is not None
        if self.kernel == "linear":
            return Kernel(features, unbiased=unbiased)
        whole = features.all_distances(number)
        middle = median_distance(features, whole, diagonal=self.median == "with_diagonal")
        if middle <= 8 * eps(features.sizes) * features.p**0.5 * float(
            np.median(to_numpy(features.sizes))
        ):  # what rounding leaves of the distance of copies
            raise UndefinedError(
                "the median distance between samples is 0 (half of them are copies), so the RBF kernel has no width"
            )
        return Kernel(features, _Gaussian(-1 / (2 * self.bandwidth**2 * middle)), whole=whole, unbiased=unbiased)

    def _products(
        self, left: Sequence[Source], right: Sequence[Source] | None, run: Workers, tick: Callable[[float], None]
    ) -> Products:
        everything = [*left, *(right or ())]
        if self.kernel == "linear":
            if self.batch_size is None and engine.cheaper_by_features(left[0].n, *_widths(left, right)):
                return engine.by_features(
                    [s.features for s in left], right and [s.features for s in right], run, tick, unbiased=self.debiased
                )
            if (
                not run.separate_memory
                and sum(s.features.n * s.features.p * s.features.itemsize for s in everything) <= cost.HELD
            ):
                for source in everything:
                    source.features.hold()
        return super()._products(left, right, run, tick)

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        number, by_tiles = len(ps) + len(qs or ()), cost.flops_by_tiles(n, ps, qs)
        if self.kernel == "rbf" and self.batch_size:
            size = min(self.batch_size, n)
            return cost.Cost(
                (by_tiles + 60.0 * n * n * number) * size / n, number * n * size * itemsize, 4.0 * n * size * itemsize
            )
        if self.kernel == "rbf":
            return _cost_of_distances(n, ps, qs, itemsize, passes=2 + itemsize // 2)
        held = n * (sum(ps) + sum(qs or ())) * itemsize
        flops = (
            by_tiles * min(self.batch_size / n, 1)
            if self.batch_size
            else min(by_tiles, cost.flops_by_features(n, ps, qs))
        )
        return cost.Cost(flops, held if held <= cost.HELD else 0, 4 * 2**26)


class _Gaussian:
    """Squared distances -> exp(slope · d²) less 1: centring takes the 1 out again, here without cancellation."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __call__(self, squared: Array) -> Array:
        return array_api_compat.array_namespace(squared).expm1(squared * self.slope)


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation(Cosine):
    """Distance correlation: the cosine between two double-centred matrices of Euclidean distances; in the population 0
    only for independent data.

    dCov²(x, y) / sqrt(dVar²(x) dVar²(y)), the square of the correlation; squared=False gives its root.
    debiased: U-centred matrices (the bias-corrected estimator of the square; it can be below 0, so it has no root).

    Range 0 to 1 (debiased: may be below 0). The plain estimate is above 0 for unrelated data, more so the wider they
    are. Needs n ≥ 3, debiased n ≥ 4.  [Székely, Rizzo, Bakirov 2007; Székely, Rizzo 2014]
    """

    squared: bool = True
    debiased: bool = False

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return (-1.0 if self.debiased else 0.0), 1.0

    def __post_init__(self) -> None:
        if self.debiased and not self.squared:
            raise ValueError(
                "the bias-corrected distance correlation can be below 0 and has no root:"
                " DistanceCorrelation(debiased=True) comes with squared=True"
            )

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return 4 if self.debiased else 3

    def _source(self, x: Array, number: int = 0) -> Kernel:
        features = Features(x, self.min_samples)
        return Kernel(features, _root, whole=features.all_distances(number), unbiased=self.debiased)

    def _value(self, cosine: Any) -> Any:
        return (
            cosine if self.squared else np.sqrt(np.where(np.asarray(cosine) > 0, cosine, cosine * 0))
        )  # dCov² is never below 0 but by rounding

    @property
    def recentring(self) -> str | None:
        return None if not self.squared else "unbiased" if self.debiased else "double"

    def check_gram_matrix(self) -> None:
        if not self.squared:
            raise NotImplementedError(
                f"a value of {self} is the root of an inner product of two matrices, 'distance_correlation' without"
                " options"
            )

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        return _cost_of_distances(n, ps, qs, itemsize, passes=2)


def _root(squared: Array) -> Array:
    return squared**0.5


def _widths(left: Sequence[Source], right: Sequence[Source] | None) -> tuple[list[int], list[int] | None]:
    return [s.features.p for s in left], None if right is None else [s.features.p for s in right]


def _cost_of_distances(n: int, ps: Sequence[int], qs: Sequence[int] | None, itemsize: int, passes: int) -> cost.Cost:
    """A table of matrices that are made from distances: kept where they fit, else made again in every pass."""
    number = len(ps) + len(qs or ())
    whole = number * n * n * itemsize
    kept = whole <= cost.HELD
    entries = 60.0 * n * n * number
    return cost.Cost(
        (1 if kept else passes) * (cost.flops_by_tiles(n, ps, qs) + entries),
        whole if kept else 0,
        4.0 * n * n * itemsize if kept else 4 * 2**26,
    )


@dataclass(frozen=True, kw_only=True)
class RSA(Cosine):
    """Representational similarity analysis: how alike are two sample-by-sample (dis)similarity matrices?

    first: how two samples are compared within a representation: "correlation", "cosine" and "dot" as similarities,
    "euclidean" as a distance. second: how the two matrices are compared: "spearman", "pearson" or "cosine" of all pairs
    of samples, each once; or
    "row_cosine", "row_pearson": of matching rows, then the mean over rows. diagonal: whether a sample's comparison with
    itself counts; then the whole matrix does, each pair twice (so "dot" with "cosine" of centred features is linear
    CKA).
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
            matrix[np.diag_indices(len(matrix))] *= values.dtype.type(
                0.5**0.5
            )  # this stands there once, and was just doubled
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


def first_order(x: Array, kind: str = "correlation") -> Any:
    """The sample-by-sample matrix of one representation as NumPy, for pictures: (n, n)."""
    return to_numpy(RSA(first=kind).matrix(x))
