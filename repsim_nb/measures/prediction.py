"""Measures of linear readouts: does one representation predict the other, do both predict the same? In float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import DegenerateComparisonError
from repsim_nb.support.validation import check_choice, check_integer, check_positive, check_representation

from .arrays import centred_unit, eps, reduce_features, smallest_direction
from .base import NO_LINEAR, Measure


def _centred_features(x: Array, least: int) -> tuple[Array, float]:
    """Return the centred features at unit Frobenius norm, (n, at most n) in float64, and the size of their rounding.

    Singular values below that size are rounding of the numbers of x.
    """
    x = check_representation(x, min_samples=least)
    xp = array_api_compat.array_namespace(x)
    return reduce_features(centred_unit(xp.astype(x, xp.float64))), smallest_direction(x)


def _directions(x: Array, smallest: float) -> tuple[Array, Array, Array]:
    """Decompose all or some rows of centred features of unit norm, at numerical rank."""
    xp = array_api_compat.array_namespace(x)
    u, s, vt = xp.linalg.svd(x, full_matrices=False)
    floor = max(smallest, eps(x) * max(x.shape))  # features that are constant in these rows leave rounding of the whole
    rank = int(xp.sum(xp.astype(s > floor, xp.int64)))
    return u[:, :rank], s[:rank], vt[:rank, :]


class Fold(NamedTuple):
    """One fold of a cross-validation.

    Attributes
    ----------
    tested, fitted : array
        Sample numbers.
    factors : tuple of array
        Their product turns the values of the fitted samples into predictions for the tested ones.
    rank : int
        The rank of the fitted samples.
    """

    tested: Array
    fitted: Array
    factors: tuple[Array, ...]
    rank: int


class Predictor(NamedTuple):
    """A representation that predicts, or is predicted.

    Attributes
    ----------
    features : array (n, at most n)
        Centred features.
    folds : list of Fold
        How each fold is predicted from the others.
    """

    features: Array
    folds: list[Fold]


@dataclass(frozen=True, kw_only=True)
class LinearPredictivity(Measure):
    """Linear predictivity: fraction of the variance of one representation that a linear map from the other explains.

    Parameters
    ----------
    predict : {"y", "x"}
        The side that is predicted, from the other one.
    folds : int or None
        The number of folds of the cross-validation; sample i is in fold i mod `folds`. None fits and tests on all
        samples, which is a different measure: it grows with the width of the predicting side.
    ridge : float or None
        A ridge penalty, as a multiple of the mean squared singular value of the predicting side; None is least squares
        of minimum norm.

    Raises
    ------
    DegenerateComparisonError
        In sample without ridge, if the rank of the predicting side is n - 1, so that it predicts anything.

    Notes
    -----
    R² = 1 - Σ (y - prediction)² / Σ (y - mean)², with both sums over all features and all held-out samples, and the
    mean of the samples that the map was fitted to. In sample it is ‖Q_xᵀY‖² / ‖Y‖², with Q_x an orthonormal basis of
    the centred predicting side.

    Range up to 1, held out without a lower end (below 0 the map is worse than the mean), in sample from 0; larger is
    more alike. Not symmetric. Invariant to permutations and rotations of the features, scaling and translation. Needs
    at least 4 samples, and as many as folds. Cost: a singular value decomposition for each fold of each representation.

    Misleads when neighbouring samples depend on each other (frames of a video): they leak from fold to fold, so permute
    whole groups first. A few directions with a large variance on the predicted side decide the value.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of neural network representations revisited", ICML, equation 12.
    Schrimpf and others 2018, "Brain-Score", bioRxiv 407007 (held out).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 10))
    >>> y = x[:, :3] + 0.5 * rng.normal(size=(200, 3))
    >>> to_y, to_x = rs.measures.LinearPredictivity(), rs.measures.LinearPredictivity(predict="x")
    >>> round(to_y(x, y), 2), round(to_x(x, y), 2)
    (0.77, 0.23)
    """

    predict: Literal["y", "x"] = "y"
    folds: int | None = 5
    ridge: float | None = None

    kind: ClassVar = "similarity"
    symmetric: ClassVar[bool] = False
    # a linear map of the predicted side gives its features other weights
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_choice(self.predict, "predict of LinearPredictivity", ("y", "x"))
        if self.folds is not None:
            check_integer(self.folds, "folds of LinearPredictivity", minimum=2, hint="or None (in sample)")
        if self.ridge is not None:
            check_positive(
                self.ridge, "ridge of LinearPredictivity", hint="or None; 1 is the mean squared singular value"
            )

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return (0.0 if self.folds is None else -math.inf), 1.0

    @property
    def min_samples(self) -> int:  # type: ignore[override]
        return max(4, self.folds or 0)  # at least two samples to fit on

    def prepare(self, x: Array) -> Predictor:
        # returns the features, and the factors of the prediction of each fold (in sample: one fold of all samples)
        x, smallest = _centred_features(x, self.min_samples)
        xp = array_api_compat.array_namespace(x)
        index = xp.arange(x.shape[0], device=array_api_compat.device(x))
        if self.folds is None:
            return Predictor(x, [self._fold(x, index, index, smallest)])
        parts = [(index[index % self.folds == i], index[index % self.folds != i]) for i in range(self.folds)]
        return Predictor(x, [self._fold(x, *part, smallest) for part in parts])

    def permute(self, a: Predictor, order: np.ndarray) -> Predictor:
        if self.folds is not None:
            return super().permute(a, order)  # a sample's fold is its place in the order
        (fold,) = a.folds
        left, *right = fold.factors
        factors = (left[order], right[0][:, order]) if right else (left[order][:, order],)
        return Predictor(a.features[order], [fold._replace(factors=factors)])

    def prepare_flops(self, n: int, p: int) -> float:
        small = min(n, p)
        return (16.0 * p * n * n if p > n else 0.0) + 40.0 * (self.folds or 1) * n * small**2

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 4.0 * n * min(n, (self.folds or 1) * min(p, n)) * min(n, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        small = min(n, p)
        whole, factors = (n, 2 * small) if self.folds is None else (n - n / self.folds, self.folds * small)
        return 8.0 * n * (small + min(whole, factors))

    def _fold(self, x: Array, tested: Array, fitted: Array, smallest: float) -> Fold:
        xp = array_api_compat.array_namespace(x)
        known = xp.take(x, fitted, axis=0)
        mean = xp.mean(known, axis=0, keepdims=True)
        u, s, vt = _directions(known - mean, smallest)
        penalty = self.ridge * xp.mean(s * s) if self.ridge and s.shape[0] else 0.0
        left, right = (xp.take(x, tested, axis=0) - mean) @ vt.T * (s / (s * s + penalty)), u.T
        rank, smaller = s.shape[0], left.shape[0] * right.shape[1] < s.shape[0] * (left.shape[0] + right.shape[1])
        return Fold(tested, fitted, (left @ right,) if smaller else (left, right), rank)

    def pair(self, a: Predictor, b: Predictor) -> float:
        source, target = (a, b) if self.predict == "y" else (b, a)
        n = target.features.shape[0]
        if self.folds is None and self.ridge is None and source.folds[0].rank >= n - 1:
            raise DegenerateComparisonError(
                f"the predicting side has rank {source.folds[0].rank}, the largest that {n} samples allow, so in sample"
                " it predicts everything and R² is 1 whatever the data. Hold samples out, LinearPredictivity(folds=5),"
                " or take more samples"
            )
        xp = array_api_compat.array_namespace(target.features)
        missed = total = 0.0
        for fold in source.folds:
            known, wanted = (xp.take(target.features, which, axis=0) for which in (fold.fitted, fold.tested))
            mean = xp.mean(known, axis=0, keepdims=True)
            predicted = known - mean
            for factor in reversed(fold.factors):
                predicted = factor @ predicted
            missed += float(xp.sum((wanted - mean - predicted) ** 2))
            total += float(xp.sum((wanted - mean) ** 2))
        return 1 - missed / total


class Readout(NamedTuple):
    """The ridge predictions from one representation.

    Attributes
    ----------
    factor : array (n, rank)
        factor @ factor.T turns targets into their ridge predictions.
    itself : float
        The squared Frobenius norm of that matrix.
    """

    factor: Array
    itself: float


@dataclass(frozen=True, kw_only=True)
class GULP(Measure):
    """GULP: how differently ridge regressions from two representations predict, averaged over all targets.

    A squared distance.

    Parameters
    ----------
    ridge : float
        The ridge penalty λ, above 0, for features of total variance 1.

    Notes
    -----
    Both representations are centred and scaled to total variance 1. The value is ‖H_x - H_y‖², with H the matrix that
    turns targets into their ridge predictions, H = X (XᵀX + nλI)⁻¹ Xᵀ. With covariances Σ_x = XᵀX / n and
    Σ_xy = XᵀY / n, and Σ^-λ = (Σ + λI)⁻¹, it is tr(Σ_x^-λ Σ_x Σ_x^-λ Σ_x) + the same for y
    - 2 tr(Σ_x^-λ Σ_xy Σ_y^-λ Σ_yx). Its root obeys the triangle inequality.

    Range 0 to 1 / (2λ); larger is less alike. Invariant to permutations and rotations of the features, scaling and
    translation. Needs at least 3 samples. Cost: a singular value decomposition for each representation, and one product
    of features by features for each pair.

    Misleads when the ridge is small: representations that are linear maps of each other then become alike, and where
    features outnumber samples all representations do. Values with different ridges cannot be compared.

    References
    ----------
    Boix-Adserà, Lawrence, Stepaniants, Rigollet 2022, "GULP: a prediction-based metric between representations",
    NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 10))
    >>> measure = rs.measures.GULP(ridge=0.1)
    >>> abs(measure(x, 2 * x + 1)) < 1e-9, round(measure(x, rng.normal(size=(200, 10))), 1)
    (True, 4.7)
    """

    ridge: float = 1e-2

    kind: ClassVar = "dissimilarity"
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_positive(self.ridge, "ridge of GULP", hint="as features have a total variance of 1")

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, 1 / (2 * self.ridge)  # t²/(t + λ)² is at most t/(4λ), and the t of one side sum to 1

    def prepare(self, x: Array) -> Readout:
        # returns the factor of the ridge predictions (n, rank)
        x, smallest = _centred_features(x, self.min_samples)
        xp = array_api_compat.array_namespace(x)
        u, s, _ = _directions(x, smallest)
        shrinkage = s * s / (s * s + self.ridge)
        return Readout(u * xp.sqrt(shrinkage), float(xp.sum(shrinkage * shrinkage)))

    def permute(self, a: Readout, order: np.ndarray) -> Readout:
        return a._replace(factor=a.factor[order])

    def prepare_flops(self, n: int, p: int) -> float:
        return (16.0 * p * n * n if p > n else 0.0) + 40.0 * n * min(n, p) ** 2

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 4.0 * n * min(n, p) * min(n, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * min(n, p)

    def pair(self, a: Readout, b: Readout) -> float:
        xp = array_api_compat.array_namespace(a.factor)
        cross = a.factor.T @ b.factor
        return a.itself + b.itself - 2 * float(xp.sum(cross * cross))
