"""Centred kernel alignment and distance correlation: cosines of centred kernel and distance matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_flag, check_integer, check_positive, to_numpy
from repsim_nb.support.workers import Workers

from . import cost, engine
from .arrays import eps
from .base import NO_LINEAR
from .cosine import Cosine
from .distances import rounding_of
from .engine import Products
from .features import Distances, Features, open_features
from .gram import Batches, Kernel, MatrixSource, Vector, median_distance
from .losses import cka_value

if TYPE_CHECKING:
    import torch

_HELD_BYTES = 2**26  # of centred representations that are kept although they are read only a few times


@dataclass(frozen=True, kw_only=True)
class CKA(Cosine):
    """Centred kernel alignment (CKA): agreement of the similarities between samples in two representations.

    If you do not know which measure to use, take `CKA(debiased=True)` ("cka_debiased").

    Parameters
    ----------
    kernel : {"linear", "rbf"}
        How similar two samples are within one representation: the inner product of their centred activations, or
        exp(-d² / (2 b² m)), with d their Euclidean distance, b the bandwidth and m the median of d².
    bandwidth : float
        The bandwidth of the RBF kernel, as a multiple of the median distance.
    median : {"with_diagonal", "off_diagonal"}
        Whether the distances of samples to themselves, which are 0, count in the median. The reference code of
        Kornblith and others counts them.
    debiased : bool
        Use unbiased estimates of HSIC, in all three places. The value can then be below 0.
    batch_size : int or None
        Sum the unbiased HSIC over batches of so many consecutive samples, weighted by their size, before the ratio is
        taken (minibatch CKA); at least 4. A last batch of fewer than 4 samples joins the one before. Permute samples
        that are sorted (by class, say) first, since only samples of one batch are compared.

    Notes
    -----
    K and L are the matrices of similarities of all pairs of samples, one for each representation. The value is
    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with HSIC (Hilbert-Schmidt independence criterion) the inner product of
    the two matrices after their row and column means are subtracted: a cosine. The unbiased HSIC is that of Song and
    others, equation 5; a ratio of unbiased estimates still has some bias.

    Range 0 to 1, debiased or in batches possibly below 0; larger is more alike. Invariant to permutations and rotations
    of the features, scaling and translation. Needs at least 3 samples, debiased or in batches 4. Cost: a table of many
    representations is one matrix product over the n² pairs of samples, or over pairs of features if these are fewer;
    memory for tiles of it only (an RBF kernel in batches: n · batch_size numbers for each representation).

    Misleads when a few directions with a large variance, or a few samples far from the others, decide both kernels: the
    value then stays near 1 while the rest changes. Without `debiased` also when features outnumber samples: independent
    Gaussian data of p and q features give about sqrt(pq / ((n + p)(n + q))).

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited", ICML.
    Song, Smola, Gretton, Bedo, Borgwardt 2012, "Feature selection via dependence maximization", JMLR.
    Nguyen, Raghu, Kornblith 2021, "Do wide and deep networks learn the same things?", ICLR (batches).
    Davari, Horoi, Natik, Lajoie, Wolf, Belilovsky 2023, "Reliability of CKA as a similarity measure in deep learning",
    ICLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 500)), rng.normal(size=(100, 500))  # unrelated, with many features
    >>> round(rs.measures.CKA()(x, y), 2), round(abs(rs.measures.CKA(debiased=True)(x, y)), 1)
    (0.83, 0.0)
    >>> rotation = np.linalg.qr(rng.normal(size=(500, 500)))[0]
    >>> round(rs.measures.CKA(kernel="rbf")(x, 2 * x @ rotation + 1), 6)
    1.0
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
        check_flag(self.debiased, "debiased of CKA")
        check_choice(self.kernel, "kernel of CKA", ("linear", "rbf"))
        check_choice(self.median, "median of CKA", ("with_diagonal", "off_diagonal"))
        check_positive(self.bandwidth, "bandwidth of CKA", hint="1 for the median distance")
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size of CKA", minimum=4, hint="or None for no batches")

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return 4 if self.debiased or self.batch_size else 3

    @property
    def _by_tiles(self) -> bool:
        return self.kernel == "linear" or self.batch_size is None

    @property
    def has_loss(self) -> bool:
        return self.batch_size is None

    def _torch_value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with_diagonal = self.median == "with_diagonal"
        return cka_value(x, y, self.kernel, self.bandwidth, with_diagonal=with_diagonal, debiased=self.debiased)

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
                f"{self} compares batches of consecutive samples, and another order of samples changes the batches."
                " Use batch_size=None"
            )

    def _source(self, x: Array, number: int = 0) -> MatrixSource:
        features = open_features(x, self.min_samples)
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
        if middle <= rounding_of(float(np.median(to_numpy(features.sizes))), eps(features.sizes)):
            raise UndefinedError(
                "the median distance between samples is 0 (half of them are copies), so the RBF kernel has no width"
            )
        return Kernel(features, _Gaussian(-1 / (2 * self.bandwidth**2 * middle)), whole=whole, unbiased=unbiased)

    def _products(
        self,
        left: Sequence[MatrixSource],
        right: Sequence[MatrixSource] | None,
        run: Workers,
        tick: Callable[[float], None],
    ) -> Products:
        if self.kernel == "linear":
            return linear_products(left, right, run, tick, debiased=self.debiased, batches=self.batch_size is not None)
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


def linear_products(
    left: Sequence[MatrixSource],
    right: Sequence[MatrixSource] | None,
    run: Workers,
    tick: Callable[[float], None],
    *,
    debiased: bool = False,
    batches: bool = False,
) -> Products:
    """Compute the inner products of linear kernels, by features or by tiles, whichever is cheaper."""
    features = [kernel.features for kernel in (*left, *(right or ())) if isinstance(kernel, (Kernel, Batches))]
    one, other = features[: len(left)], None if right is None else features[len(left) :]
    widths = [side.p for side in one], None if other is None else [side.p for side in other]
    by_features = (
        not batches
        and not any(isinstance(side, Distances) for side in features)
        and engine.cheaper_by_features(features[0].n, *widths)
    )
    size = sum(side.n * side.p * side.itemsize for side in features)
    # by features each is read only a few times, so that many are centred again each time
    if not run.separate_memory and size <= (_HELD_BYTES if by_features else cost.MATRIX_BYTES):
        list(run(methodcaller("hold"), features))
    if by_features:
        return engine.by_features(one, other, run, tick, unbiased=debiased)
    return engine.by_tiles(left, right, run, tick)


class _Gaussian:
    """Turn squared distances into exp(slope · d²) - 1; centring takes the 1 out again, here without cancellation."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __call__(self, squared: Array) -> Array:
        return array_api_compat.array_namespace(squared).expm1(squared * self.slope)


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation(Cosine):
    """Distance correlation: agreement of the distances between samples in two representations.

    Parameters
    ----------
    squared : bool
        True gives the squared correlation, False its root.
    debiased : bool
        Use U-centred matrices: the bias-corrected estimate of the squared correlation. It can be below 0, so it has no
        root.

    Raises
    ------
    ValueError
        For `debiased=True` with `squared=False`.

    Notes
    -----
    The cosine between the two matrices of Euclidean distances of all pairs of samples, after their row and column means
    are subtracted: dCov²(x, y) / sqrt(dVar²(x) dVar²(y)). In the population it is 0 only for independent data.

    Range 0 to 1, debiased possibly below 0; larger is more alike. Invariant to permutations and rotations of the
    features, scaling and translation. Needs at least 3 samples, debiased 4. Cost: as `CKA`, with the distances of all
    pairs of samples for each representation; matrices that fit into memory are kept, others are computed again in each
    pass.

    Misleads when it is not debiased and features outnumber samples: unrelated data then have values far above 0. A few
    samples far from the others can decide all large distances.

    References
    ----------
    Székely, Rizzo, Bakirov 2007, "Measuring and testing dependence by correlation of distances", Annals of Statistics.
    Székely, Rizzo 2014, "Partial distance correlation with methods for dissimilarities", Annals of Statistics.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 500)), rng.normal(size=(100, 500))  # unrelated, with many features
    >>> plain, debiased = rs.measures.DistanceCorrelation(), rs.measures.DistanceCorrelation(debiased=True)
    >>> round(plain(x, y), 2), round(abs(debiased(x, y)), 1)
    (0.95, 0.0)
    """

    squared: bool = True
    debiased: bool = False

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return (-1.0 if self.debiased else 0.0), 1.0

    def __post_init__(self) -> None:
        check_flag(self.squared, "squared of DistanceCorrelation")
        check_flag(self.debiased, "debiased of DistanceCorrelation")
        if self.debiased and not self.squared:
            raise ValueError(
                "the bias-corrected distance correlation can be below 0, so it has no root: use"
                " DistanceCorrelation(debiased=True, squared=True)."
            )

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return 4 if self.debiased else 3

    def _source(self, x: Array, number: int = 0) -> Kernel:
        features = open_features(x, self.min_samples)
        return Kernel(features, _root, whole=features.all_distances(number), unbiased=self.debiased)

    def _value(self, cosine: Any) -> Any:
        # dCov² is below 0 by rounding only
        return cosine if self.squared else np.sqrt(np.where(np.asarray(cosine) > 0, cosine, cosine * 0))

    @property
    def recentring(self) -> str | None:
        return None if not self.squared else "unbiased" if self.debiased else "double"

    def check_gram_matrix(self) -> None:
        if not self.squared:
            raise NotImplementedError(
                f"a value of {self} is the root of an inner product of two matrices. Use 'distance_correlation', which"
                " is the inner product"
            )

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        return _cost_of_distances(n, ps, qs, itemsize, passes=2)


def _root(squared: Array) -> Array:
    return squared**0.5


def _cost_of_distances(n: int, ps: Sequence[int], qs: Sequence[int] | None, itemsize: int, passes: int) -> cost.Cost:
    """Estimate a table of matrices of distances: kept if they fit into memory, else computed again in every pass."""
    number = len(ps) + len(qs or ())
    whole = number * n * n * itemsize
    fits = whole <= cost.MATRIX_BYTES
    entries = 60.0 * n * n * number
    return cost.Cost(
        (1 if fits else passes) * (cost.flops_by_tiles(n, ps, qs) + entries),
        whole if fits else 0,
        4.0 * n * n * itemsize if fits else 4 * 2**26,
    )
