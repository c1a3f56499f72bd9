"""Measures of canonical correlations, in float64, from one orthonormal basis for each representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import DegenerateComparisonError, warn_user
from repsim_nb.support.validation import check_choice, check_fraction, check_representation

from .arrays import centred_unit, eps, fewest_components, reduce_features, smallest_direction
from .base import NO_LINEAR, TRANSFORMS, Measure


class Basis(NamedTuple):
    """An orthonormal basis of the centred features.

    Attributes
    ----------
    q : array (n, rank)
        Orthonormal columns.
    coordinates : array (rank, p) or None
        The original features in this basis, for projection weights only.
    n : int
        The number of samples.
    """

    q: Array
    coordinates: Array | None
    n: int


@dataclass(frozen=True, kw_only=True)
class CCA(Measure):
    """Canonical correlation analysis (CCA): correlation of the best-matching directions, averaged over all of them.

    The first canonical correlation is the largest correlation between a linear combination of the features of one
    representation and one of the other; each further one is the largest that is uncorrelated with those before. The
    measure averages them.

    Parameters
    ----------
    summary : {"mean", "mean_squared", "projection_weighted"}
        The average. "mean" and "mean_squared" weigh all directions alike. "projection_weighted" (PWCCA) weighs a
        direction by how much of the activations of one side lies along it.
    variance : float or None
        Keep only the leading principal components with this fraction of the variance, on each side, first; 0.99 is
        SVCCA. None keeps all.
    weights : {"x", "y"}
        The side that gives the weights of "projection_weighted".
    normalise : {"kept", "all"}
        What the weights of "projection_weighted" sum over, if the ranks differ: "kept", the directions that have a
        partner on the other side; "all", all directions of the weighting side, one without a partner counting as
        correlation 0. With "all" the value can depend on the basis that the decomposition returns.
    degenerate : {"raise", "allow"}
        What happens if the two ranks sum to n or more, so that some correlations are 1 whatever the data: an exception,
        or a warning and the value.

    Raises
    ------
    DegenerateComparisonError
        If the two ranks sum to n or more, unless `degenerate="allow"`.

    Notes
    -----
    The canonical correlations are the singular values of Q_xᵀ Q_y, where Q_x and Q_y are orthonormal bases of the
    centred features, at their numerical rank. There are as many as the smaller of the two ranks. The weight of a
    direction h in "projection_weighted" is the sum over features x_j of |⟨h, x_j⟩|.

    Range 0 to 1; larger is more alike. Invariant to every invertible linear map of the features, scaling and
    translation; with `variance` not to linear maps in general, but to rotations; "projection_weighted" to permutations,
    scaling and translation only, and it is not symmetric. Needs more samples than the two ranks together. Cost: a
    singular value decomposition for each representation, and one of rank by rank for each pair.

    Misleads when samples are not many more than features: the correlations of unrelated data are then high. And since
    directions with almost no variance count as much as the largest, "mean" does not notice that small directions were
    deleted, and noise in them lowers it.

    References
    ----------
    Hotelling 1936, "Relations between two sets of variates", Biometrika.
    Raghu, Gilmer, Yosinski, Sohl-Dickstein 2017, "SVCCA", NeurIPS.
    Morcos, Raghu, Bengio 2018, "Insights on representational similarity in neural networks with canonical correlation",
    NeurIPS (PWCCA).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 4))
    >>> y = x @ rng.normal(size=(4, 4))  # another linear map of the same features
    >>> round(rs.measures.CCA()(x, y), 6)
    1.0
    >>> round(rs.measures.CCA()(x, rng.normal(size=(500, 4))), 2)
    0.08
    """

    summary: Literal["mean", "mean_squared", "projection_weighted"] = "mean"
    variance: float | None = None
    weights: Literal["x", "y"] = "x"
    normalise: Literal["kept", "all"] = "kept"
    degenerate: Literal["raise", "allow"] = "raise"

    kind: ClassVar = "similarity"

    def __post_init__(self) -> None:
        check_choice(self.summary, "summary of CCA", ("mean", "mean_squared", "projection_weighted"))
        check_choice(self.weights, "weights of CCA", ("x", "y"))
        check_choice(self.normalise, "normalise of CCA", ("kept", "all"))
        check_choice(self.degenerate, "degenerate of CCA", ("raise", "allow"))
        if self.variance is not None:
            check_fraction(self.variance, "variance of CCA", maximum=1)

    @property
    def symmetric(self) -> bool:  # type: ignore[override]
        return self.summary != "projection_weighted"

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        if self.summary == "projection_weighted":  # the weights are sums of |.| over the columns as they are
            return frozenset({"permutation", "scaling", "translation"})
        return TRANSFORMS if self.variance is None else NO_LINEAR

    def prepare(self, x: Array) -> Basis:
        # return an orthonormal basis of the centred features
        x = check_representation(x, min_samples=self.min_samples)
        xp, n = array_api_compat.array_namespace(x), x.shape[0]
        smallest = smallest_direction(x)
        x = centred_unit(xp.astype(x, xp.float64))
        smallest = max(smallest, max(x.shape) * eps(x))
        q = self._by_gram(x, smallest)
        if q is None:
            u, s, _ = xp.linalg.svd(reduce_features(x), full_matrices=False)
            q = u[:, : self._count_components(s, smallest, n)]
        return Basis(q, q.T @ x if self.summary == "projection_weighted" else None, n)

    def _count_components(self, s: Array, smallest: float, n: int) -> int:
        """Return how many of the singular values s of n samples count, largest first.

        Centred samples have rank n - 1 at most, whatever rounding left of the last direction.
        """
        xp = array_api_compat.array_namespace(s)
        rank = min(int(xp.sum(xp.astype(s > smallest, xp.int64))), n - 1)
        return rank if self.variance is None else min(rank, fewest_components(s, self.variance))

    def _by_gram(self, x: Array, smallest: float) -> Array | None:
        """Return the basis from the eigenvectors of the smaller Gram matrix, twice as fast as from an SVD.

        None if a singular value is too small to be distinguished from 0 this way, since squaring halves the digits.
        """
        xp, (n, p) = array_api_compat.array_namespace(x), x.shape
        squares, vectors = xp.linalg.eigh(x.T @ x if p <= n else x @ x.T)
        squares, vectors = xp.flip(squares), xp.flip(vectors, axis=1)
        floor = 1e-10 * float(squares[0])
        # centred samples have rank n - 1 at most
        if smallest**2 < floor and float(squares[-1 if p <= n else n - 2]) < floor:
            return None
        s = xp.clip(squares, 0, None) ** 0.5
        rank = self._count_components(s, smallest, n)
        if p > n:
            return vectors[:, :rank]
        q = x @ (vectors[:, :rank] / s[:rank])
        # orthonormal to the last digit again
        return q @ (1.5 * xp.eye(rank, dtype=q.dtype, device=array_api_compat.device(q)) - 0.5 * (q.T @ q))

    def permute(self, a: Basis, order: np.ndarray) -> Basis:
        return a._replace(q=a.q[order])

    def pair(self, a: Basis, b: Basis) -> float:
        self._check_ranks(a, b)
        if a is b:
            return 1.0  # every direction is its own partner
        xp = array_api_compat.array_namespace(a.q)
        if self.summary == "mean":
            return float(xp.mean(xp.linalg.svdvals(a.q.T @ b.q)))
        # no decomposition: the squares of singular values sum to those of the entries
        if self.summary == "mean_squared":
            product = a.q.T @ b.q
            return float(xp.sum(product * product)) / min(product.shape)
        first, second = (a, b) if self.weights == "x" else (b, a)
        u, rho, _ = self._directions(first, second)
        return self._weighted_mean(u, rho, first)

    def pair_both(self, a: Basis, b: Basis) -> tuple[float, float]:
        # directions without a partner: as `pair` finds them
        unlike = self.normalise == "all" and a.q.shape[1] != b.q.shape[1]
        if self.summary != "projection_weighted" or a is b or unlike:
            return super().pair_both(a, b)
        self._check_ranks(a, b)
        u, rho, vt = self._directions(a, b)  # the same decomposition serves both orientations
        by_a, by_b = self._weighted_mean(u, rho, a), self._weighted_mean(vt.T, rho, b)
        return (by_a, by_b) if self.weights == "x" else (by_b, by_a)

    def _directions(self, a: Basis, b: Basis) -> tuple[Array, Array, Array]:
        xp = array_api_compat.array_namespace(a.q)
        return xp.linalg.svd(a.q.T @ b.q, full_matrices=self.normalise == "all")

    @staticmethod
    def _weighted_mean(directions: Array, rho: Array, side: Basis) -> float:
        xp = array_api_compat.array_namespace(rho)
        alpha = xp.sum(xp.abs(directions.T @ side.coordinates), axis=1)
        return float(xp.sum(alpha[: rho.shape[0]] * rho) / xp.sum(alpha))

    def prepare_flops(self, n: int, p: int) -> float:
        small = min(n, p)
        return 8.0 * n * p * small + 40.0 * small**3

    def pair_flops(self, n: int, p: int, q: int) -> float:
        p, q = min(n, p), min(n, q)
        return 4.0 * n * p * q + (
            80.0 if self.summary == "projection_weighted" else 30.0 if self.summary == "mean" else 0.0
        ) * p * q * min(p, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * (n * min(n, p) + (min(n, p) * p if self.summary == "projection_weighted" else 0))

    def _check_ranks(self, a: Basis, b: Basis) -> None:
        ranks = a.q.shape[1], b.q.shape[1]
        if sum(ranks) <= a.n - 1:
            return
        certain = sum(ranks) - (a.n - 1)
        fewer = (
            "svcca, or CCA(variance=0.9)"
            if self.variance is None
            else f"a variance below {self.variance:g} in CCA(variance=...)"
        )
        sentence = (
            f"ranks {ranks[0]} + {ranks[1]} exceed n - 1 = {a.n - 1}, so {certain} canonical correlations are 1"
            f" whatever the data. Take more samples than the two ranks together, or keep fewer components ({fewer})"
        )
        if self.degenerate == "raise":
            raise DegenerateComparisonError(sentence)
        warn_user(f"CCA: {sentence}.", RuntimeWarning)
