"""Shape distances next to Procrustes: partly whitened, and with the size of both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import DegenerateComparisonError, show_value
from repsim_nb.support.validation import check_choice, check_flag, check_representation, is_number

from .alignment import Aligned, overlap
from .arrays import centred_unit_and_scale, left_directions, reduce_features
from .base import NO_LINEAR, TRANSFORMS


@dataclass(frozen=True, kw_only=True)
class WhitenedShape(Aligned):
    """Angle between two representations after the best rotation, both partly whitened first.

    A dial between two questions: `angular_shape` (alpha = 1), in which large directions decide, and CCA (alpha = 0), in
    which all directions count alike.

    Parameters
    ----------
    alpha : float
        How much of the variances stays, in [0, 1].
    normalise : bool
        Whether each side is scaled first so that whitening keeps its Frobenius norm. False mixes the centred features
        as they are with the whitened ones, as in the formula of the paper: the value then depends on the units of
        measurement and on the number of samples.

    Raises
    ------
    DegenerateComparisonError
        With alpha = 0, if the two ranks sum to n or more.

    Notes
    -----
    A centred representation X is replaced by X ((1 - alpha) (XᵀX)^(-1/2) + alpha I), at its numerical rank: each
    singular value s becomes alpha s + 1 - alpha. The value is the angle arccos of the nuclear norm of XᵀY (the sum of
    its singular values), with both sides at Frobenius norm 1. With alpha = 0 it is the arccos of the sum of the
    canonical correlations over the root of the product of both ranks.

    Range from 0 to 1.57; larger is less alike. It is a metric. Invariant to permutations and rotations of the features,
    scaling (unless `normalise=False`) and translation; with alpha = 0 to every invertible linear map. Needs at least 3
    samples. Cost: as for `Procrustes`, and one singular value decomposition for each representation.

    Misleads when alpha is small and samples are few: directions that are only noise then count as much as others.

    References
    ----------
    Williams, Kunz, Kornblith, Linderman 2021, "Generalized shape metrics on neural representations", NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5)) * [5, 1, 1, 1, 1]
    >>> y = x * [1, 5, 5, 5, 5]  # the same directions, with other variances
    >>> [round(rs.measures.WhitenedShape(alpha=alpha)(x, y), 2) for alpha in (1, 0.5, 0)]
    [0.73, 0.36, 0.0]
    """

    alpha: float = 0.5
    normalise: bool = True

    kind: ClassVar = "dissimilarity"
    is_metric: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, math.pi / 2)

    def __post_init__(self) -> None:
        check_flag(self.normalise, "normalise of WhitenedShape")
        if not (is_number(self.alpha) and 0 <= self.alpha <= 1):
            raise ValueError(f"alpha of WhitenedShape must be a number from 0 to 1; got {show_value(self.alpha)}")

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        if self.alpha == 0:
            return TRANSFORMS
        return NO_LINEAR if self.normalise or self.alpha == 1 else NO_LINEAR - {"scaling"}

    def prepare(self, x: Array) -> Array:
        # returns the whitened representation at unit Frobenius norm, (n, rank) in float64
        x = check_representation(x, min_samples=self.min_samples)
        xp = array_api_compat.array_namespace(x)
        unit, scale = centred_unit_and_scale(xp.astype(x, xp.float64))
        if self.alpha == 1:
            return reduce_features(unit)
        u, s = left_directions(x)
        s = s * (math.sqrt(s.shape[0]) if self.normalise else scale)
        s = self.alpha * s + (1 - self.alpha)
        return u * (s / xp.linalg.vector_norm(s))

    def pair(self, a: Array, b: Array) -> float:
        n, ranks = a.shape[0], (a.shape[1], b.shape[1])
        if self.alpha == 0 and sum(ranks) > n - 1:
            raise DegenerateComparisonError(
                f"ranks {ranks[0]} + {ranks[1]} exceed n - 1 = {n - 1}, so some canonical correlations are 1 whatever"
                " the data. Take more samples than the two ranks together, or an alpha above 0"
            )
        return math.acos(min(overlap(a, b), 1.0))

    def prepare_flops(self, n: int, p: int) -> float:
        small = min(n, p)
        return super().prepare_flops(n, p) + (0 if self.alpha == 1 else 20.0 * n * small**2)


class Sized(NamedTuple):
    """A centred representation: at unit norm (n, p), and its norm."""

    x: Array
    size: float


@dataclass(frozen=True, kw_only=True)
class SizeAndShape(Aligned):
    """Size-and-shape Procrustes: how far two representations are apart after the best rotation, in their own units.

    As `Procrustes`, without scaling: one representation that is twice as large as another differs from it.

    Parameters
    ----------
    form : {"distance", "squared"}
        The distance, which is a metric, or its square.

    Notes
    -----
    Both representations are centred. The squared distance is ‖X‖² + ‖Y‖² - 2s, with Frobenius norms, and s the nuclear
    norm (the sum of the singular values) of XᵀY. Widths may differ. Distances near 0 are computed from the residual, so
    that rounding stays near 1e-16 of the size. The value grows with the root of the number of samples.

    Range from 0, without upper bound; larger is less alike. Invariant to permutations and rotations of the features and
    to translation; not to scaling. Needs at least 3 samples. Cost: as for `Procrustes`.

    Misleads when sizes differ for a reason that does not matter, such as the initialisation or the width of a layer:
    the difference of sizes then decides the value. It depends on units of measurement, so values of different layers
    cannot be compared.

    References
    ----------
    Williams, Kunz, Kornblith, Linderman 2021, "Generalized shape metrics on neural representations", NeurIPS.
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> measure = rs.measures.SizeAndShape()
    >>> size = np.linalg.norm(x - x.mean(0))
    >>> round(measure(x, x @ rotation), 6), bool(np.isclose(measure(x, 2 * x), size))
    (0.0, True)
    """

    form: Literal["distance", "squared"] = "distance"

    kind: ClassVar = "dissimilarity"
    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR - {"scaling"}
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __post_init__(self) -> None:
        check_choice(self.form, "form of SizeAndShape", ("distance", "squared"))

    @property
    def is_metric(self) -> bool:  # type: ignore[override]
        return self.form == "distance"

    def prepare(self, x: Array) -> Sized:
        # returns the centred representation (n, min(n, p)) in float64
        x, size = centred_unit_and_scale(check_representation(x, min_samples=self.min_samples, double=True))
        return Sized(reduce_features(x), size)

    def permute(self, a: Sized, order: np.ndarray) -> Sized:
        return a._replace(x=a.x[order])

    def pair(self, a: Sized, b: Sized) -> float:
        # |X - Y|² = (|X| - |Y|)² + 2 |X| |Y| (1 - overlap), which no rounding makes negative
        larger, other = a.size - b.size, math.sqrt(2 * _gap(a.x, b.x)) * math.sqrt(a.size) * math.sqrt(b.size)
        if self.form == "squared":
            return larger * larger + other * other
        return math.hypot(larger, other)  # squares of sizes may exceed the largest float


def _gap(a: Array, b: Array) -> float:
    """Return 1 - overlap of two representations at unit norm, also where nearly nothing is left of it."""
    if a is b:
        return 0.0
    gap = 1 - overlap(a, b)
    if gap > 1e-6:
        return gap
    xp = array_api_compat.array_namespace(a, b)
    u, _, vt = xp.linalg.svd(a.T @ b, full_matrices=False)
    left, right = a @ u, b @ vt.T
    rests = (left - right, a - left @ u.T, b - right @ vt)  # the last two are 0, unless one side is wider
    return sum(float(xp.sum(rest * rest)) for rest in rests) / 2
