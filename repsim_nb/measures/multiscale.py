"""Multi-scale CKA: CKA of powers of the matrices of similarities, in which large directions count more or less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import check_choice, check_positive, check_representation
from repsim_nb.support.workers import Workers

from . import cost
from .arrays import left_directions
from .base import NO_LINEAR
from .cka import CKA, linear_products
from .cosine import Cosine
from .engine import Products
from .features import Features
from .gram import Kernel, MatrixSource

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, kw_only=True)
class MultiscaleCKA(Cosine):
    """Multi-scale CKA: agreement of the similarities between samples after several steps of a random walk over them.

    A dial between two questions: whether the largest directions agree (many steps), and whether both sides span the
    same directions, whatever their variance (few). One step is `CKA`.

    Parameters
    ----------
    steps : float
        The number of steps, above 0; it need not be an integer.
    kernel, bandwidth, median
        How similar two samples are within one representation, as in `CKA`.

    Raises
    ------
    UndefinedError
        If one side is an RDM whose values are not Euclidean distances of samples, unless `steps` is an even integer.

    Notes
    -----
    G is the matrix of similarities of all pairs of the n samples after its row and column means are subtracted. With a
    large c, P = 11ᵀ/n + G/c has rows that sum to 1 and no negative entry: the probabilities of a random walk that
    prefers steps to similar samples. After t steps these are Pᵗ = 11ᵀ/n + (G/c)ᵗ, so that c does not matter. The value
    is CKA of these matrices, ⟨Gᵗ_x, Gᵗ_y⟩ / (‖Gᵗ_x‖ ‖Gᵗ_y‖), with Gᵗ by the eigenvalues of G. For a linear kernel it is
    linear CKA of representations whose singular values are raised to the power t.

    Many steps leave the squared cosine of the first left singular vectors. If t goes to 0, the value goes to the sum of
    the squared canonical correlations over the root of the product of both ranks. Singular values that are rounding of
    the data count as 0.

    The powers of a matrix of transitions are those of Khandait and Gerken. They may normalise it in another way, so
    their values can differ from these; they were not compared.

    Range 0 to 1; larger is more alike. Invariant to permutations and rotations of the features, scaling and
    translation; less and less to other linear maps, the more steps. Needs at least 3 samples. Cost: as `CKA`, and a
    singular value decomposition of each representation (an RBF kernel: the eigenvalues of an n × n matrix). Memory for
    the directions of each representation.

    Misleads when steps are many and one direction has most of the variance: only this direction is then compared. With
    few steps directions of small variance, which are often noise, count nearly as much as large ones. Like `cka`, it is
    too high if features outnumber samples, the more so with few steps: `rs.inference.null_moments` shows by how much.

    References
    ----------
    Khandait, Gerken 2026, "From layers to networks: comparing neural representations via diffusion geometry", arXiv
    2605.15901.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5)) * [3, 2, 1, 1, 1]
    >>> y = np.hstack([x[:, :2], rng.normal(size=(200, 3))])  # only the two largest directions agree
    >>> [round(rs.measures.MultiscaleCKA(steps=t)(x, y), 2) for t in (0.1, 1, 4)]
    [0.49, 0.96, 1.0]
    >>> bool(np.isclose(rs.measures.MultiscaleCKA(steps=1)(x, y), rs.measures.CKA()(x, y)))
    True
    """

    steps: float = 2
    kernel: Literal["linear", "rbf"] = "linear"
    bandwidth: float = 1.0
    median: Literal["with_diagonal", "off_diagonal"] = "with_diagonal"

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def __post_init__(self) -> None:
        check_positive(self.steps, "steps of MultiscaleCKA", hint="1 for the value of CKA")
        check_choice(self.kernel, "kernel of MultiscaleCKA", ("linear", "rbf"))
        check_choice(self.median, "median of MultiscaleCKA", ("with_diagonal", "off_diagonal"))
        check_positive(self.bandwidth, "bandwidth of MultiscaleCKA", hint="1 for the median distance")

    def _source(self, x: Array, number: int = 0) -> MatrixSource:
        # of features whose linear kernel is the power of G
        return Kernel(Features(self._powers(x), self.min_samples))

    def _powers(self, x: Array) -> Array:
        """Return the left singular vectors, each times its singular value to the power of the steps, (n, rank)."""
        if self.kernel == "linear" and not isinstance(x, RDM):
            u, s = left_directions(check_representation(x, min_samples=self.min_samples))
            ratios, power = s / s[0], self.steps
        else:
            u, ratios = self._decompose(x)
            power = self.steps / 2  # of squares
        xp = array_api_compat.array_namespace(u)
        # what is as large as the first up to rounding stays so after any number of steps
        weights = xp.where(ratios > 1 - u.shape[0] * _EPS, xp.ones_like(ratios), ratios) ** power
        some = int(xp.sum(xp.astype(weights**2 > _EPS, xp.int64)))  # the others are rounding next to the first
        return u[:, :some] * weights[:some]

    def _decompose(self, x: Array) -> tuple[Array, Array]:
        """Return eigenvectors of G, and their eigenvalues relative to the largest, largest first."""
        if rdm := isinstance(x, RDM):
            precision, x = float(np.finfo(x.dtype).eps), x.astype(np.float64)
        else:
            precision, x = _EPS, check_representation(x, min_samples=self.min_samples, double=True)
        entries = CKA(kernel=self.kernel, bandwidth=self.bandwidth, median=self.median).prepare(x)
        xp, n = array_api_compat.array_namespace(entries), x.shape[0]
        values, u = xp.linalg.eigh(xp.reshape(entries, (n, n)))
        floor = 8 * n**0.5 * precision * float(xp.max(xp.abs(values)))
        even = self.steps % 2 == 0
        if rdm and not even and float(values[0]) < -floor:
            raise UndefinedError(
                "it is an RDM whose values are not Euclidean distances of samples, so its matrix has negative"
                f" eigenvalues, and their power of {self.steps:g} is no similarity. Use an even number of steps, or"
                " 'cka'"
            )
        sizes = xp.abs(values) if even else xp.clip(values, 0, None)
        order = xp.flip(xp.argsort(sizes))
        order = order[: int(xp.sum(xp.astype(sizes > floor, xp.int64)))]
        return u[:, order], sizes[order] / sizes[order[0]]

    def _products(
        self,
        left: Sequence[MatrixSource],
        right: Sequence[MatrixSource] | None,
        run: Workers,
        tick: Callable[[float], None],
    ) -> Products:
        return linear_products(left, right, run, tick)

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        linear, number = self.kernel == "linear", len(ps) + len(qs or ())
        ranks, others = (None if side is None else [min(n, p) if linear else n for p in side] for side in (ps, qs))
        first = sum(20.0 * n * p * min(n, p) for p in (*ps, *(qs or ()))) if linear else 30.0 * number * float(n) ** 3
        table = CKA().cost(n, ranks or [], others, 8)
        return table._replace(flops=first + table.flops, table_bytes=8.0 * n * sum((*(ranks or []), *(others or []))))
