"""Measures of what a linear readout can do: does one representation predict the other, do both predict the same?

All in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import DegenerateComparisonError
from repsim_nb.support.validation import check_integer, check_positive, check_representation

from .arrays import centred_unit, eps, reduce_features, smallest_direction
from .base import NO_LINEAR, Measure


def _centred_features(x: Array, least: int) -> tuple[Array, float]:
    """-> (n, at most n) float64, centred, unit Frobenius norm; and the size below which its singular values are
    rounding of x's numbers.
    """
    x = check_representation(x, min_samples=least)
    xp = array_api_compat.array_namespace(x)
    return reduce_features(centred_unit(xp.astype(x, xp.float64))), smallest_direction(x)


def _directions(x: Array, smallest: float) -> tuple[Array, Array, Array]:
    """The singular value decomposition at numerical rank, of all or some rows of centred features of unit norm."""
    xp = array_api_compat.array_namespace(x)
    u, s, vt = xp.linalg.svd(x, full_matrices=False)
    floor = max(smallest, eps(x) * max(x.shape))  # features that are constant in these rows leave rounding of the whole
    rank = int(xp.sum(xp.astype(s > floor, xp.int64)))
    return u[:, :rank], s[:rank], vt[:rank, :]


class Fold(NamedTuple):
    """tested, fitted: samples; factors: their product takes what the fitted say to predictions for the tested; rank: of
    the fitted.
    """

    tested: Array
    fitted: Array
    factors: tuple[Array, ...]
    rank: int


class Predictor(NamedTuple):
    """features: centred (n, at most n); folds: how each fold is predicted from the others."""

    features: Array
    folds: list[Fold]


@dataclass(frozen=True, kw_only=True)
class LinearPredictivity(Measure):
    """How much of one representation's variance does the best linear map from the other explain?

    R², over all features together.

    predict: the side that is predicted, "y" (from x) or "x" (from y); not symmetric. folds: held out; sample i belongs
    to fold i mod `folds`, every fold is predicted from the others by least squares of minimum norm, both sides centred
    by the means of the fitted samples, and R² = 1 - Σ (y - prediction)² / Σ (y - mean of the fitted samples)², each sum
    over all folds. Samples that depend on their neighbours in order (frames of a video) leak from fold to fold.
    folds=None: in sample, ‖Q_xᵀY‖²/‖Y‖² of the centred sides, which grows with the width of the predicting side: a
    different measure. ridge: a penalty, as a multiple of the mean squared singular value of the predicting side.

    Range up to 1; held out it is below 0 where a map does worse than the mean. Needs n ≥ 4 and n ≥ folds; in sample,
    without ridge, a predicting side of rank below n - 1.  [Kornblith, Norouzi, Lee, Hinton 2019, eq. 12; Schrimpf et
    al. 2018, held out]
    """

    predict: Literal["y", "x"] = "y"
    folds: int | None = 5
    ridge: float | None = None

    kind: ClassVar = "similarity"
    symmetric: ClassVar[bool] = False
    # a linear map of the predicted side gives its features other weights
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        if self.predict not in ("y", "x"):
            raise ValueError(f"LinearPredictivity predicts 'y' (from x) or 'x' (from y); got {self.predict!r}")
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
        """-> the features, and for every fold the factors of its prediction (in sample: one fold, all samples on both
        sides).
        """
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
                f"the predicting side has rank {source.folds[0].rank}, as much as {n} samples allow, so in sample it"
                " predicts everything and R² is 1 whatever the data; hold samples out, LinearPredictivity(folds=5), or"
                " take more of them"
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
    """factor @ factor.T: the matrix that takes targets to their ridge predictions (n, rank); itself: its squared
    norm.
    """

    factor: Array
    itself: float


@dataclass(frozen=True, kw_only=True)
class GULP(Measure):
    """How far apart are the ridge regressions from two representations, over all targets alike? A squared distance.

    X, Y centred, at Frobenius norm √n; Σ_x = XᵀX/n (trace 1), Σ_xy = XᵀY/n, λ = ridge:
    tr(Σ_x^-λ Σ_x Σ_x^-λ Σ_x) + the same for y - 2 tr(Σ_x^-λ Σ_xy Σ_y^-λ Σ_yx) with Σ^-λ = (Σ + λI)⁻¹. It is ‖H_x -
    H_y‖², H the matrix that takes targets to their ridge predictions. Its root obeys the triangle inequality. A small
    ridge makes all linear recodings alike, and, where features outnumber samples, everything.

    Range 0 to 1/(2λ). Needs n ≥ 3.  [Boix-Adserà, Lawrence, Stepaniants, Rigollet 2022]
    """

    ridge: float = 1e-2

    kind: ClassVar = "dissimilarity"
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ValueError(f"GULP's ridge is above 0 (features have a total variance of 1); got {self.ridge}")

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, 1 / (2 * self.ridge)  # t²/(t + λ)² is at most t/(4λ), and the t of one side sum to 1

    def prepare(self, x: Array) -> Readout:
        """-> the factor of its ridge predictions (n, rank)."""
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
