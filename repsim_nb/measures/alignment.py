"""Measures that turn one representation onto the other: Procrustes in its three forms, and its cosine NBS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import array_api_compat

from .base import NO_LINEAR, Array, Measure, centred_unit, enter, reduced


class _Aligned(Measure):
    """Prepared: centred, unit Frobenius norm, float64, at most n features wide. A pair is one nuclear norm."""

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def prepare(self, x: Array) -> Array:
        """-> (n, min(n, p)) float64, centred, unit norm."""
        return reduced(centred_unit(enter(x, least=self.least, double=True)))

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

    With X, Y centred and at unit Frobenius norm and s = ‖XᵀY‖* (nuclear norm): form "squared" is 2 - 2s, in [0, 2]; "distance" its
    root; "angle" is arccos s, in radians. Distance and angle obey the triangle inequality. Rounding that leaves [0, 1] by a hair is
    clipped in the root and the angle. Needs n ≥ 3.  [Schönemann 1966; Ding, Denain, Steinhardt 2021; Williams et al. 2021]
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
    """Normalised Bures similarity: ‖XᵀY‖* of the centred representations at unit Frobenius norm, the cosine of Procrustes' angle.

    Range 0 to 1. Needs n ≥ 3.  [Tang, Maddox, Dickens, Diethe, Damianou 2020]
    """

    kind: ClassVar = "similarity"

    def pair(self, a: Array, b: Array) -> float:
        return _overlap(a, b)
