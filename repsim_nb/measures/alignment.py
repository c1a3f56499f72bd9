"""Measures that lay one representation onto the other: by a rotation (Procrustes, its cosine NBS), or unit by unit
(SoftMatching).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np
from scipy.optimize import linear_sum_assignment

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_representation, to_numpy
from repsim_nb.support.workers import check_stopped

from .arrays import centred_unit, reduce_features
from .base import NO_LINEAR, Measure


class _Aligned(Measure):
    """Prepared: centred, unit Frobenius norm, float64, at most n features wide. A pair is one nuclear norm."""

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def prepare(self, x: Array) -> Array:
        """-> (n, min(n, p)) float64, centred, unit norm."""
        return reduce_features(centred_unit(check_representation(x, min_samples=self.min_samples, double=True)))

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def prepare_flops(self, n: int, p: int) -> float:
        return 10.0 * n * p + (8.0 * p * n * n if p > n else 0)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        p, q = min(n, p), min(n, q)
        return 4.0 * n * p * q + 30.0 * p * q * min(p, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * min(n, p)


def _overlap(a: Array, b: Array) -> float:
    """‖aᵀb‖*: the most that a rotation can make the two agree. Unequal widths need no padding."""
    xp = array_api_compat.array_namespace(a, b)
    if a is b:  # aᵀa has no negative eigenvalue, so its nuclear norm is its trace
        return float(xp.sum(a * a))
    return float(xp.sum(xp.linalg.svdvals(a.T @ b)))


@dataclass(frozen=True, kw_only=True)
class Procrustes(_Aligned):
    """Orthogonal Procrustes: how far apart are two representations after the best rotation of one onto the other?

    With X, Y centred and at unit Frobenius norm and s = ‖XᵀY‖* (nuclear norm): form "squared" is 2 - 2s, in [0, 2];
    "distance" its root; "angle" is arccos s, in radians. Distance and angle obey the triangle inequality. Rounding that
    leaves [0, 1] by a hair is clipped in the root and the angle; a root makes 1e-8 of a rounding of 1e-16, so identical
    sides may be that far apart. Needs n ≥ 3.  [Schönemann 1966; Ding, Denain, Steinhardt 2021; Williams et al. 2021]
    """

    form: Literal["squared", "distance", "angle"] = "squared"

    kind: ClassVar = "dissimilarity"

    def __post_init__(self) -> None:
        if self.form not in ("squared", "distance", "angle"):
            raise ValueError(f"Procrustes comes in the forms 'squared', 'distance' and 'angle'; got {self.form!r}")

    @property
    def is_metric(self) -> bool:  # type: ignore[override]
        return self.form != "squared"

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, {"squared": 2.0, "distance": math.sqrt(2), "angle": math.pi / 2}[self.form]

    def pair(self, a: Array, b: Array) -> float:
        s = _overlap(a, b)
        if self.form == "angle":
            return math.acos(min(s, 1.0))
        return 2 - 2 * s if self.form == "squared" else math.sqrt(max(2 - 2 * s, 0.0))


@dataclass(frozen=True, kw_only=True)
class NBS(_Aligned):
    """Normalised Bures similarity: the cosine of Procrustes' angle.

    ‖XᵀY‖* of the centred representations at unit Frobenius norm.

    Range 0 to 1. Needs n ≥ 3.  [Tang, Maddox, Dickens, Diethe, Damianou 2020]
    """

    kind: ClassVar = "similarity"

    def pair(self, a: Array, b: Array) -> float:
        return _overlap(a, b)


@dataclass(frozen=True, kw_only=True)
class SoftMatching(Measure):
    """Soft matching: how far apart are two representations after the best matching of their single units (columns)?

    Squared distance.

    The least Σ T_ij ‖x_i - y_j‖² over transport plans T, whose rows sum to 1/p and columns to 1/q; of equal widths that
    is the best permutation, mean over units. preprocess: columns centred and the matrix at unit Frobenius norm first,
    else as they are. The norm is shared out over all units, so values fall as 1/width: compare them between
    representations of one size. A rotation of the units changes it, unlike Procrustes. Its root obeys the triangle
    inequality.

    Range from 0; with preprocessing and equal widths up to 4/p. Needs n ≥ 3. Exact, and slow where layers are wide: a
    pair of 1000 units each takes a tenth of a second, of 4000 some seconds, of 1000 and 768 up to half a minute;
    undefined above 8192 units of equal or nearly equal width and where otherwise p·q > 2,097,152.  [Khosla, Williams
    2024]
    """

    preprocess: bool = True

    kind: ClassVar = "dissimilarity"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"permutation", "scaling", "translation"} if self.preprocess else {"permutation"})

    def prepare(self, x: Array) -> Array:
        """-> (n, p) float64; centred at unit norm where asked for."""
        x = check_representation(x, min_samples=self.min_samples, double=True)
        return centred_unit(x) if self.preprocess else x

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def pair(self, a: Array, b: Array) -> float:
        xp = array_api_compat.array_namespace(a, b)
        p, q = a.shape[1], b.shape[1]
        copies, few = _copies(p, q)
        if not few and p * q > _CELLS:
            raise UndefinedError(
                f"to match {p} units with {q} takes too long (at most {_COPIES} units of one width, at most {_CELLS}"
                " pairs of units of different widths). Pool the activations, or choose a sample of the units"
            )
        agreement = to_numpy(a.T @ b)
        best = _best_assignment(agreement, copies) if few else _best_plan(agreement)
        return float(xp.sum(a * a)) / p + float(xp.sum(b * b)) / q - 2 * best

    def prepare_flops(self, n: int, p: int) -> float:
        return 10.0 * n * p

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * p

    def pair_flops(self, n: int, p: int, q: int) -> float:
        copies, few = _copies(p, q)
        matching = 4.0 * copies**3 if few else 200.0 * p * q * max(p, q) if p * q <= _CELLS else 0.0
        return 4.0 * n * p * q + matching


# copies that are assigned at once; the most of them, and of pairs of units, that end in time
_QUICK, _COPIES, _CELLS = (1024, 8192, 2**21)


def _copies(p: int, q: int) -> tuple[int, bool]:
    """How many copies on each side make p units comparable with q, and whether these are few enough to be assigned."""
    copies = math.lcm(p, q)
    return copies, copies <= _QUICK or copies <= min(4 * min(p, q), _COPIES)


def _best_assignment(agreement: np.ndarray, copies: int) -> float:
    """The most Σ T_ij agreement_ij over transport plans T: units are cut into equal copies, and some best plan moves
    these whole.
    """
    p, q = agreement.shape
    cut = np.repeat(np.repeat(agreement, copies // p, axis=0), copies // q, axis=1)
    return float(cut[linear_sum_assignment(cut, maximize=True)].mean())


def _best_plan(agreement: np.ndarray) -> float:
    """The same without copies, where widths differ much: units of the wider side are placed one by one, along cheapest
    chains of moves.

    Every unit of the wider side has `supply` parts, every one of the narrower `room` for parts. A part goes where there
    is room, or into another's place, whose part moves on: Dijkstra's shortest paths over the narrower side, with prices
    that keep all steps at or above 0 (the assignment method of Jonker and Volgenant, with room for several).
    """
    cost = -np.ascontiguousarray(agreement if agreement.shape[0] >= agreement.shape[1] else agreement.T)
    (p, q), common = cost.shape, math.gcd(*cost.shape)
    supply, room = q // common, np.full(q, p // common)
    placed, price = np.zeros((p, q), dtype=np.int64, order="F"), np.zeros(q)
    for unit in range(p):
        check_stopped()
        left = supply
        while left:
            end, path = _cheapest_chain(unit, cost, placed, price, room)
            flow = min(left, room[end], *(placed[who, out] for who, out, _ in path if out >= 0))
            for who, out, into in path:
                placed[who, into] += flow
                if out >= 0:
                    placed[who, out] -= flow
            room[end] -= flow
            left -= flow
    return -float(np.sum(placed * cost)) / (p * supply)


def _cheapest_chain(
    unit: int, cost: np.ndarray, placed: np.ndarray, price: np.ndarray, room: np.ndarray
) -> tuple[int, list[Any]]:
    """-> the place with room at the chain's end, and its moves (who, out of, into; out of -1: the new unit).

    Prices are kept up to date.
    """
    q = len(price)
    distance, done = cost[unit] - price, np.zeros(q, dtype=bool)
    before, mover = np.full(q, -1), np.full(q, unit)
    while True:
        end = int(np.where(done, np.inf, distance).argmin())
        done[end] = True
        if room[end]:
            break
        there = np.flatnonzero(placed[:, end])
        steps = cost[there] - price
        steps -= steps[:, [end]]
        who = steps.argmin(axis=0)
        reached = distance[end] + steps[who, np.arange(q)]
        nearer = ~done & (reached < distance)
        distance[nearer], mover[nearer], before[nearer] = reached[nearer], there[who[nearer]], end
    price[done] += distance[done] - distance[end]
    path, into = [], end
    while into >= 0:
        path.append((mover[into], before[into], into))
        into = before[into]
    return end, path
