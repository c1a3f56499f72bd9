"""Corrections for features that are a sample of many, as recorded neurons: of CKA and of participation ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_representation

from .arrays import centred_unit, eps, inner_product
from .base import Measure
from .cka import CKA

_BASE = CKA(debiased=True)
_NOTHING = 1e-10  # of the self-similarity over all pairs of features: what is left by rounding
_LEAST_ERRORS = 2  # below, a value is a division by noise


class Gained(NamedTuple):
    """A representation prepared for debiased CKA, and the factor that corrects its length."""

    kernel: Array
    gain: float


@dataclass(frozen=True, kw_only=True)
class DoublyDebiasedCKA(Measure):
    """Linear CKA, corrected for the samples and for the features that were drawn.

    Use it if the features are a sample of many, such as some recorded neurons of a population. It estimates the CKA of
    the populations. It has no options.

    Raises
    ------
    UndefinedError
        If a side has a single feature, or if the similarity between samples that its features share is within two
        standard errors of that of unrelated features: its length is not known then, and a value could be anything.

    Notes
    -----
    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with linear kernels, as in `CKA`. HSIC(K, K) is the mean over pairs of
    features of the HSIC of both features. A feature with itself has a large HSIC that is not shared by others, so few
    features make HSIC(K, K) too large and CKA too small. Here it is the mean over pairs of different features, and each
    HSIC is unbiased over samples (Song and others). HSIC(K, L) needs no correction, since the features of the two sides
    are different. The value is that of `CKA(debiased=True)`, times sqrt((1 - 1/p) / (1 - e)) for each side, with e the
    fraction of HSIC(K, K) from features with themselves.

    Range about 0 to 1; the estimate can lie below 0 or above 1. Larger is more alike. Invariant to permutations of the
    features, scaling and translation; not to rotations, since single features are the sample. A representation and
    itself, also permuted or scaled, share their features: the value is 1 by definition. Needs at least 4 samples and 2
    features. Cost: as `CKA(debiased=True)`, pair by pair.

    Misleads when both sides share some of their features, or when features are not a sample: all units of a layer, or
    principal components. With few features it varies much: give an interval over features.

    References
    ----------
    Chun, Canatar, Chung, Lee 2025, "Estimating neural representation alignment from sparsely sampled inputs and
    features", arXiv 2502.15104.
    Song, Smola, Gretton, Bedo, Borgwardt 2012, "Feature selection via dependence maximization", JMLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signals = rng.normal(size=(300, 10))
    >>> x, y = signals @ rng.normal(size=(10, 15)), signals @ rng.normal(size=(10, 15))  # 15 neurons of one population
    >>> round(rs.measures.CKA(debiased=True)(x, y), 1), round(rs.measures.DoublyDebiasedCKA()(x, y), 1)
    (0.5, 0.7)
    """

    kind: ClassVar = "similarity"
    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "scaling", "translation"})
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    min_samples: ClassVar[int] = 4

    def prepare(self, x: Array) -> Gained:
        kernel = _BASE.prepare(x)
        checked = check_representation(x, min_samples=self.min_samples, double=True)
        p = checked.shape[1]
        if p < 2:
            raise UndefinedError("it has a single feature, so no features to compare with each other")
        unit = centred_unit(checked)
        every, own = (moments.hsic for moments in feature_moments(unit))
        errors = (every - own) / max(_error_by_chance(unit), _NOTHING * every)
        if errors <= _LEAST_ERRORS:
            raise UndefinedError(
                f"its {p} features share no similarity between samples above chance (the unbiased estimate is"
                f" {errors:.1f} standard errors of unrelated features, and must exceed {_LEAST_ERRORS}), so there is no"
                " correction for features. Use more samples or features, or cka_debiased"
            )
        return Gained(kernel, math.sqrt((1 - 1 / p) * every / (every - own)))

    def permute(self, a: Gained, order: np.ndarray) -> Gained:
        return a._replace(kernel=_BASE.permute(a.kernel, order))

    def pair(self, a: Gained, b: Gained) -> float:
        xp = array_api_compat.array_namespace(a.kernel, b.kernel)
        rounding = max(eps(a.kernel), eps(b.kernel))
        if a is b or (
            math.isclose(a.gain, b.gain, rel_tol=math.sqrt(rounding))
            and bool(xp.all(xp.abs(a.kernel - b.kernel) <= 64 * rounding))
        ):
            return 1.0  # the same features on both sides, maybe in another order or of another size
        return a.gain * b.gain * inner_product(a.kernel, b.kernel)

    def prepare_flops(self, n: int, p: int) -> float:
        return 2.0 * n * n * p + 2.0 * n * p * min(n, p) + 20.0 * n * n

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 2.0 * n * n

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return float(n * n * itemsize)


class FeatureMoments(NamedTuple):
    """Unbiased sums over pairs of features, of their squared covariance and of the product of their variances.

    Both in units of n (n - 3), which cancels in ratios.
    """

    hsic: float
    variances: float


def _error_by_chance(x: Array) -> float:
    """Return the standard deviation that `hsic` over pairs of different features has if all of them are unrelated.

    A squared correlation of two unrelated features is near 1/n times a chi-squared variable. x: centred (n, p).
    """
    xp = array_api_compat.array_namespace(x)
    squared = xp.sum(x * x, axis=0) ** 2
    pairs = float(xp.sum(squared)) ** 2 - float(xp.sum(squared * squared))
    return 2 / x.shape[0] * math.sqrt(max(pairs, 0.0))


def feature_moments(x: Array, products: Any = None) -> tuple[FeatureMoments, FeatureMoments]:
    """Return the moments over all pairs of features, and over each feature with itself; x: centred, n of 4 or more.

    The difference of both is the sum over pairs of different features. products: those of samples or of features, if
    they are at hand. Each moment is a mean over different samples, written with sums over all samples: with d the
    diagonal of the matrix K of inner products of samples, of which all rows sum to 0.
    """
    xp = array_api_compat.array_namespace(x)
    n, p = x.shape
    if products is None:
        products = x @ x.T if p >= n else x.T @ x
    squares = x * x
    d = xp.sum(squares, axis=1)
    all_pairs = _moments(n, float(xp.sum(products * products)), float(xp.sum(d)), float(xp.sum(d * d)))
    per_feature = xp.sum(squares, axis=0)
    second, fourth = float(xp.sum(per_feature**2)), float(xp.sum(squares * squares))
    # for a single feature, |K|² and (Σ d)² are both the squared sum of squares
    return all_pairs, _moments(n, second, math.sqrt(second), fourth)


def _moments(n: int, k: float, total: float, d: float) -> FeatureMoments:
    """Combine |K|², the sum of the diagonal of K, and the sum of its squares."""
    hsic = k - d + total**2 / ((n - 1) * (n - 2)) - 2 * d / (n - 2)
    # Σ over different i, k of v_i² w_k², less twice that of v_i² w_j w_k, plus that of v_i v_j w_k w_l
    two = (total**2 - d) / (n * (n - 1))
    three = (2 * d - total**2) / (n * (n - 1) * (n - 2))
    four = (total**2 + 2 * (k - d) - 4 * d) / (n * (n - 1) * (n - 2) * (n - 3))
    return FeatureMoments(hsic, n * (n - 3) * (two - 2 * three + four))


def corrected_participation_ratio(x: np.ndarray, products: Any = None) -> float:
    """Estimate the participation ratio of the population from which samples and features were drawn.

    (Σλ)² / Σλ² with both parts as means over different samples and different features. The naive value is limited by
    both: 1 over it is about 1 over the true value, plus 1/n, plus 1/p. Infinite if what the features share is within
    two standard errors of what unrelated features share, NaN for fewer than 4 samples or 2 features. x: centred (n, p);
    products as in `feature_moments`.
    """
    if x.shape[0] < 4 or x.shape[1] < 2:
        return math.nan
    every, own = feature_moments(x, products)
    shared = every.hsic - own.hsic
    known = shared > max(_LEAST_ERRORS * _error_by_chance(x), _NOTHING * every.hsic)
    return (every.variances - own.variances) / shared if known else math.inf
