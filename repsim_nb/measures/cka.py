"""Centred kernel alignment and distance correlation: cosines of centred kernel and distance matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_integer, check_positive, to_numpy
from repsim_nb.support.workers import Workers

from . import cost, engine
from .arrays import eps
from .base import NO_LINEAR
from .cosine import Cosine
from .engine import Products
from .features import Features
from .gram import Batches, Kernel, Source, Vector, median_distance


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
        # what rounding leaves of the distance of copies
        if middle <= 8 * eps(features.sizes) * features.p**0.5 * float(np.median(to_numpy(features.sizes))):
            raise UndefinedError(
                "the median distance between samples is 0 (half of them are copies), so the RBF kernel has no width"
            )
        return Kernel(features, _Gaussian(-1 / (2 * self.bandwidth**2 * middle)), whole=whole, unbiased=unbiased)

    def _products(
        self, left: Sequence[Source], right: Sequence[Source] | None, run: Workers, tick: Callable[[float], None]
    ) -> Products:
        if self.kernel == "linear":
            features = [kernel.features for kernel in (*left, *(right or ())) if isinstance(kernel, (Kernel, Batches))]
            one, other = features[: len(left)], None if right is None else features[len(left) :]
            widths = [side.p for side in one], None if other is None else [side.p for side in other]
            if self.batch_size is None and engine.cheaper_by_features(features[0].n, *widths):
                return engine.by_features(one, other, run, tick, unbiased=self.debiased)
            size = sum(side.n * side.p * side.itemsize for side in features)
            if not run.separate_memory and size <= cost.MATRIX_BYTES:
                for side in features:
                    side.hold()
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
        table_bytes = n * (sum(ps) + sum(qs or ())) * itemsize
        flops = (
            by_tiles * min(self.batch_size / n, 1)
            if self.batch_size
            else min(by_tiles, cost.flops_by_features(n, ps, qs))
        )
        return cost.Cost(flops, table_bytes if table_bytes <= cost.MATRIX_BYTES else 0, 4 * 2**26)


class _Gaussian:
    """Squared distances -> exp(slope · d²) less 1: centring takes the 1 out again, here without cancellation."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __call__(self, squared: Array) -> Array:
        return array_api_compat.array_namespace(squared).expm1(squared * self.slope)


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation(Cosine):
    """Distance correlation: the cosine between two double-centred matrices of Euclidean distances.

    In the population it is 0 only for independent data.

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
        # dCov² is never below 0 but by rounding
        return cosine if self.squared else np.sqrt(np.where(np.asarray(cosine) > 0, cosine, cosine * 0))

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


def _cost_of_distances(n: int, ps: Sequence[int], qs: Sequence[int] | None, itemsize: int, passes: int) -> cost.Cost:
    """A table of matrices that are made from distances: kept where they fit, else made again in every pass."""
    number = len(ps) + len(qs or ())
    whole = number * n * n * itemsize
    fits = whole <= cost.MATRIX_BYTES
    entries = 60.0 * n * n * number
    return cost.Cost(
        (1 if fits else passes) * (cost.flops_by_tiles(n, ps, qs) + entries),
        whole if fits else 0,
        4.0 * n * n * itemsize if fits else 4 * 2**26,
    )
