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

from .arrays import left_directions
from .base import NO_LINEAR, Measure
from .linear_readouts import (
    Predictor,
    by_products,
    centred_features,
    decompose,
    many_features,
    missed,
    missed_by_products,
    only_predicted,
    permute_in_sample,
    products,
)
from .tables import Job, pair_by_pair


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
    at least 4 samples, and as many as folds. Cost: a singular value decomposition of each representation, and for each
    pair two products of features by features, or for wide ones an inner product of two matrices of samples.

    Misleads when samples depend on each other: neighbours (frames of a video) leak from fold to fold, so permute whole
    groups first, and copies of a sample are predicted from each other, so keep one of each. A few directions with a
    large variance on the predicted side decide the value.

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
        # returns a basis of the features in folds, and how they predict
        return decompose(*centred_features(x, self.min_samples), self.folds, self.ridge)

    def _prepare_target(self, x: Array) -> Predictor:
        return only_predicted(centred_features(x, self.min_samples)[0], self.folds)

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        if ys is None:
            return super()._table(xs, ys, job)
        prepares = self.prepare, self._prepare_target
        return pair_by_pair(self, xs, ys, job, prepares if self.predict == "y" else prepares[::-1])

    def permute(self, a: Predictor, order: np.ndarray) -> Predictor:
        if self.folds is not None:
            return super().permute(a, order)  # a sample's fold is its place in the order
        return permute_in_sample(a, order)

    def prepare_flops(self, n: int, p: int) -> float:
        small = min(n, p)
        folds = 6.0 * n**3 if many_features(n, p) else 4.0 * n * small * min(small, n / (self.folds or n))
        return (16.0 * p * n * n if p > n else 0.0) + 40.0 * n * small**2 + folds

    def pair_flops(self, n: int, p: int, q: int) -> float:
        if many_features(n, p if self.predict == "y" else q):
            return 2.0 * n * n * (1 if many_features(n, q if self.predict == "y" else p) else min(p, q))
        return (2.0 if self.folds is None else 4.0) * n * min(n, p) * min(n, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        small = min(n, p)
        return 8.0 * n * (small + (2 * n if many_features(n, p) else 0 if self.folds is None else small))

    def pair(self, a: Predictor, b: Predictor) -> float:
        source, target = (a, b) if self.predict == "y" else (b, a)
        self._check_rank(source)
        return 1 - missed(source, target) / target.total

    def pair_both(self, a: Predictor, b: Predictor) -> tuple[float, float]:
        if a is b or not (by_products(a) and by_products(b)):
            return super().pair_both(a, b)
        for source in (a, b):
            self._check_rank(source)
        cross = products(a, b)  # serves both directions
        to_b = 1 - missed_by_products(a, b, cross) / b.total
        to_a = 1 - missed_by_products(b, a, array_api_compat.array_namespace(cross).matrix_transpose(cross)) / a.total
        return (to_b, to_a) if self.predict == "y" else (to_a, to_b)

    def _check_rank(self, source: Predictor) -> None:
        if self.folds is None and self.ridge is None and source.rank >= source.n - 1:
            raise DegenerateComparisonError(
                f"the predicting side has rank {source.rank}, the largest that {source.n} samples allow, so in sample"
                " it predicts everything and R² is 1 whatever the data. Hold samples out, LinearPredictivity(folds=5),"
                " or take more samples"
            )


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
        u, s = left_directions(check_representation(x, min_samples=self.min_samples))
        xp = array_api_compat.array_namespace(u)
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
