"""Measures of single units that are matched one to one, or each with its best partner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import array_api_compat
import numpy as np
from scipy.optimize import linear_sum_assignment

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_representation, to_numpy

from .alignment import shape_distance
from .arrays import centred_unit, eps
from .base import Measure

UNITS = frozenset({"permutation", "scaling", "translation"})
MOST = 8192  # units of one side; to assign so many takes some minutes


class Matched(Measure):
    """A measure of the products of the units of both sides, which are prepared as columns (n, p) in float64."""

    invariant_to: ClassVar[frozenset[str]] = UNITS

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def prepare_flops(self, n: int, p: int) -> float:
        return 10.0 * n * p

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * p

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 4.0 * n * p * q + (4.0 * p * q * min(p, q) if max(p, q) <= MOST else 0.0)


def check_number(p: int, q: int) -> None:
    """Raise UndefinedError if the units are too many to be matched in time."""
    if max(p, q) > MOST:
        raise UndefinedError(
            f"matching {p} units with {q} takes too long (at most {MOST} units of one side). Pool the activations, or"
            " choose a sample of the units"
        )


def unit_columns(x: Array, min_samples: int) -> Array:
    """Centre each column and scale it to length 1, in float64; UndefinedError if one of them is constant."""
    x = check_representation(x, min_samples=min_samples)
    xp = array_api_compat.array_namespace(x)
    rounding = 8 * eps(x)
    x = xp.astype(x, xp.float64)
    largest = xp.max(xp.abs(x), axis=0)
    x = x / xp.where(largest > 0, largest, xp.ones_like(largest))  # so that no square overflows
    x = x - xp.mean(x, axis=0)
    lengths = xp.linalg.vector_norm(x, axis=0)
    still = np.flatnonzero(to_numpy(lengths <= rounding * math.sqrt(x.shape[0])))
    if len(still):
        raise UndefinedError(
            f"{len(still)} of {x.shape[1]} units are constant (the first is unit {still[0]}) and have no correlation."
            " Leave them out: x[:, x.std(axis=0) > 0]"
        )
    return x / lengths


@dataclass(frozen=True, kw_only=True)
class PermutationProcrustes(Matched):
    """Permutation Procrustes: how far two representations are apart after the best reordering of units.

    As `Procrustes`, but units are matched one to one instead of being rotated.

    Parameters
    ----------
    form : {"squared", "distance", "angle"}
        "squared" is the squared distance, in [0, 4]; "distance" its root, in [0, 2]; "angle" the angle between both in
        radians, in [0, 3.14].

    Raises
    ------
    UndefinedError
        If one side has more than 8192 units.

    Notes
    -----
    Both representations are centred (the mean of each unit is subtracted) and scaled to Frobenius norm 1. With s the
    largest sum of ⟨x_i, y_j⟩ over pairs of a one-to-one matching of units, the squared distance is 2 - 2s, and the
    angle is arccos s; their rounding makes two equal representations up to 1e-7 apart. If widths differ, the narrower
    side is filled up with units that are 0. For equal widths it is the number of units times the value of
    `SoftMatching`.

    Range from 0 to 4, 2 or 3.14, by the form; larger is less alike. Between representations of one width, the distance
    and the angle are metrics; between different widths they are not. Invariant to permutations of the features, scaling
    and translation; not to rotations. Needs at least 3 samples. Cost: an assignment problem for each pair, which grows
    as the third power of the number of units. A pair of 1000 units each takes a tenth of a second, of 4000 some
    seconds.

    Misleads when few units have nearly all of the variance: the others then hardly count. With few samples, many units
    match well by chance.

    References
    ----------
    Williams, Kunz, Kornblith, Linderman 2021, "Generalized shape metrics on neural representations", NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> measure = rs.measures.PermutationProcrustes()
    >>> round(measure(x, 3 * x[:, ::-1]), 6), measure(x, x @ rotation) > 0.5
    (0.0, True)
    """

    form: Literal["squared", "distance", "angle"] = "squared"

    kind: ClassVar = "dissimilarity"

    def __post_init__(self) -> None:
        check_choice(self.form, "form of PermutationProcrustes", ("squared", "distance", "angle"))

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, {"squared": 4.0, "distance": 2.0, "angle": math.pi}[self.form]

    def prepare(self, x: Array) -> Array:
        return centred_unit(check_representation(x, min_samples=self.min_samples, double=True))

    def pair(self, a: Array, b: Array) -> float:
        check_number(a.shape[1], b.shape[1])
        if a is b:
            s = float((a * a).sum())
        else:
            agreement = to_numpy(a.T @ b)
            s = float(agreement[linear_sum_assignment(agreement, maximize=True)].sum())
        return shape_distance(s, self.form)


@dataclass(frozen=True, kw_only=True)
class CorrelationMatch(Matched):
    """Correlation of matched units: how well each unit of one side corresponds to a unit of the other.

    Parameters
    ----------
    match : {"hard", "soft"}
        "hard" matches units one to one, so that the sum of their correlations is largest; if widths differ, some units
        of the wider side have no partner and do not count. "soft" takes for each unit its best partner, which several
        units may share, and averages over both directions.

    Raises
    ------
    UndefinedError
        If a unit is constant, or if one side has more than 8192 units ("hard" only).

    Notes
    -----
    The mean, over matched pairs of units, of their Pearson correlation. All units count alike, whatever their variance.
    "soft" is never below "hard" for sides of one width.

    Range from -1 to 1; larger is more alike. Invariant to permutations of the features, scaling and translation; not to
    rotations. Needs at least 3 samples. Cost: "hard", an assignment problem for each pair, which grows as the third
    power of the number of units (a pair of 1000 units each takes a tenth of a second, of 4000 some seconds); "soft", a
    product of both sides.

    Misleads when samples are few or units are many: for each unit the best of many partners is searched, so unrelated
    representations have a value well above 0. Compare it with permuted samples.

    References
    ----------
    Li, Yosinski, Clune, Lipson, Hopcroft 2015, "Convergent learning: do different neural networks learn the same
    representations?", workshop Feature Extraction at NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> hard, soft = rs.measures.CorrelationMatch(), rs.measures.CorrelationMatch(match="soft")
    >>> round(hard(x, x[:, ::-1]), 6), round(hard(x, rng.normal(size=(100, 5))), 1)
    (1.0, 0.1)
    >>> twice = x[:, [0, 0, 0, 1, 2]]  # three units are copies
    >>> round(soft(x, twice) - hard(x, twice), 1)
    0.3
    """

    match: Literal["hard", "soft"] = "hard"

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_choice(self.match, "match of CorrelationMatch", ("hard", "soft"))

    def prepare(self, x: Array) -> Array:
        return unit_columns(x, self.min_samples)

    def pair(self, a: Array, b: Array) -> float:
        correlations = to_numpy(a.T @ b)
        if self.match == "soft":
            return float(correlations.max(axis=0).mean() + correlations.max(axis=1).mean()) / 2
        check_number(*correlations.shape)
        return float(correlations[linear_sum_assignment(correlations, maximize=True)].mean())

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return super().pair_flops(n, p, q) if self.match == "hard" else 4.0 * n * p * q + 4.0 * p * q
