"""The family of canonical correlations: all in float64, from one orthonormal basis a representation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat

from ..errors import DegenerateComparisonError
from .base import NO_LINEAR, TRANSFORMS, Array, Measure, centred_unit, enter, eps, reduced


class Basis(NamedTuple):
    """q: orthonormal columns (n, rank); coordinates: the original columns in it (rank, p), for projection weights only; n."""

    q: Array
    coordinates: Array | None
    n: int


@dataclass(frozen=True, kw_only=True)
class CCA(Measure):
    """Canonical correlation analysis, summed up in one number.

    ρ = the singular values of Q_xᵀ Q_y, Q orthonormal bases of the centred columns at their numerical rank.
    summary: "mean" of ρ or "mean_squared", over the smaller rank; "projection_weighted" (PWCCA): the mean of ρ weighted by how much of
    one side's activations lies along each canonical direction, α_i = Σ_j |<h_i, x_j>|.
    variance: keep only the fewest principal components with this share of the variance on each side first (SVCCA: 0.99).
    weights: the side, "x" or "y", that gives PWCCA its weights: it is not symmetric. normalise: over the directions that have a
    partner ("kept"), or over all directions of the weighting side, a missing partner counting as ρ = 0 ("all", the published
    grounding code; where ranks differ, the directions without a partner are fixed only as a space, so the value is
    reproducible to the basis that the SVD returns).
    degenerate: when rank x + rank y > n - 1 some ρ are 1 whatever the data, so the value is no evidence: "raise" or "allow" (warns).

    Range 0 to 1. Needs more samples than the two ranks together.
    [Hotelling 1936; Raghu et al. 2017 (SVCCA); Morcos, Raghu, Bengio 2018 (PWCCA)]
    """

    summary: Literal["mean", "mean_squared", "projection_weighted"] = "mean"
    variance: float | None = None
    weights: Literal["x", "y"] = "x"
    normalise: Literal["kept", "all"] = "kept"
    degenerate: Literal["raise", "allow"] = "raise"

    kind: ClassVar = "similarity"

    def __post_init__(self) -> None:
        legal = {"summary": ("mean", "mean_squared", "projection_weighted"), "weights": ("x", "y"), "normalise": ("kept", "all"), "degenerate": ("raise", "allow")}
        for option, values in legal.items():
            if getattr(self, option) not in values:
                raise ValueError(f"CCA's {option} is one of {values}; got {getattr(self, option)!r}")
        if self.variance is not None and not 0 < self.variance <= 1:
            raise ValueError(f"CCA's variance is a share above 0 and up to 1; got {self.variance}")

    @property
    def symmetric(self) -> bool:  # type: ignore[override]
        return self.summary != "projection_weighted"

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        if self.summary == "projection_weighted":  # the weights are sums of |.| over the columns as they are
            return frozenset({"permutation", "scaling", "translation"})
        return TRANSFORMS if self.variance is None else NO_LINEAR

    def prepare(self, x: Array) -> Basis:
        """-> an orthonormal basis of the centred columns, at numerical rank or at the share of variance asked for."""
        x = enter(x, least=self.least)
        xp, precision = array_api_compat.array_namespace(x), eps(x)
        x = centred_unit(xp.astype(x, xp.float64))
        u, s, _ = xp.linalg.svd(reduced(x), full_matrices=False)
        rank = int(xp.sum(xp.astype(s > s[0] * max(x.shape) * precision, xp.int64)))
        if self.variance is not None:
            share = xp.cumulative_sum(s * s) / xp.sum(s * s)
            rank = min(rank, 1 + int(xp.sum(xp.astype(share < self.variance - 1e-12, xp.int64))))
        q = u[:, :rank]
        return Basis(q, q.T @ x if self.summary == "projection_weighted" else None, x.shape[0])

    def pair(self, a: Basis, b: Basis) -> float:
        self._check_ranks(a, b)
        xp = array_api_compat.array_namespace(a.q)
        if self.summary != "projection_weighted":
            rho = xp.linalg.svdvals(a.q.T @ b.q)
            return float(xp.mean(rho if self.summary == "mean" else rho * rho))
        first, second = (a, b) if self.weights == "x" else (b, a)
        u, rho, _ = xp.linalg.svd(first.q.T @ second.q, full_matrices=self.normalise == "all")
        alpha = xp.sum(xp.abs(u.T @ first.coordinates), axis=1)
        return float(xp.sum(alpha[: rho.shape[0]] * rho) / xp.sum(alpha))

    def _check_ranks(self, a: Basis, b: Basis) -> None:
        ranks = a.q.shape[1], b.q.shape[1]
        if sum(ranks) <= a.n - 1:
            return
        certain = sum(ranks) - (a.n - 1)
        sentence = (f"ranks {ranks[0]} + {ranks[1]} exceed n - 1 = {a.n - 1}, so {certain} canonical correlations are 1 whatever the data; "
                    f"take more samples than both have features together, or keep fewer components (svcca, CCA(variance=...))")
        if self.degenerate == "raise":
            raise DegenerateComparisonError(sentence)
        warnings.warn(f"CCA: {sentence}", RuntimeWarning, stacklevel=4)
