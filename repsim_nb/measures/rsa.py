"""Representational similarity analysis: agreement of two matrices of (dis)similarities between samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import check_flag, check_representation, to_numpy

from . import cost
from .arrays import NO_DIRECTION, centred_unit_and_scale, eps, normalize, normalize_rows, off_diagonal, permute_matrix
from .base import NO_LINEAR, Measure
from .comparators import ALIKE, DISTANCES, RANKED, WHITENED, First, Second, check_orders, tau_a, whiten
from .cosine import Cosine
from .distances import squared_distances
from .entries import entry_tolerance, exact_distances
from .gram import Vector
from .losses import rsa_value
from .rdm_sides import KnownPairs, as_first_order, compare_known, known_pairs
from .tables import Job, pair_by_pair
from .ties import coarsely_tied, ranks_with_ties, tolerance_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class RSA(Cosine):
    """Representational similarity analysis (RSA): correlation of two matrices of (dis)similarities of samples.

    Parameters
    ----------
    first : {"correlation", "cosine", "dot", "euclidean", "squared_euclidean"}
        How two samples are compared within a representation: a similarity, or the Euclidean distance or its square.
        "correlation" is over the features of the two samples.
    second : {"spearman", "rho_a", "tau_a", "pearson", "cosine", "whitened_cosine", "whitened_pearson", ...}
        How the two matrices are compared, over all pairs of samples at once: by ranks (Spearman; ρ_a, which does not
        correct for ties; Kendall's τ_a), by values, or by values whose dependence is taken into account (whitened). The
        row forms, "row_cosine" and "row_pearson", compare each sample's row, and take the mean over samples.
    diagonal : bool
        Whether the comparison of a sample with itself counts. If so, the whole matrix does, each pair twice, so that
        "dot" with "cosine" of centred features is linear CKA; else each pair counts once. Not for ρ_a, τ_a and the
        whitened forms.

    Raises
    ------
    ValueError
        For combinations that have no meaning: a diagonal as above, or whitened forms of "dot".
    UndefinedError
        If all pairs of samples are equally alike, a sample has no direction ("cosine", "correlation"), or most pairs
        differ by rounding only ("spearman").

    Notes
    -----
    Each representation gives a matrix with one number for each pair of samples (a representational similarity or
    dissimilarity matrix, RDM). The value is the correlation, or cosine, of the two matrices. For "spearman", numbers
    that differ by a few roundings of the samples' own numbers are tied and share their mean rank. τ_a is the difference
    of the fractions of pairs (of pairs of samples) in the same and in the other order, and ρ_a is Spearman's covariance
    of ranks over its largest value without ties. A tie lowers both, so that no model gains by predicting ties.

    Dissimilarities of pairs that share a sample have dependent errors. The whitened forms weight by the inverse of the
    covariance of these errors if all conditions have equal noise: the dissimilarities (1 - similarity, or distances)
    are centred by rows and columns, and the value is the cosine of the two matrices; for "whitened_pearson" the mean of
    all pairs is subtracted first. "squared_euclidean" with "whitened_cosine" is linear CKA, and "euclidean" with it is
    distance correlation.

    Range -1 to 1; larger is more alike. Invariant to permutations of the features and scaling; "cosine" and "dot" also
    to rotations; distances also to rotations and translation. Needs at least 3 samples. Cost: the n² pairs of samples
    for each representation ("spearman" sorts them), and one dot product of this length for each pair; memory for n² / 2
    numbers for each representation of a table, which `compare(scratch=...)` moves to a disk.

    Misleads when samples come in groups (classes, repeats): two representations that only separate the groups agree.
    High values of the row forms are no evidence: "cosine" with "row_cosine" and the diagonal gives about
    1 / (1 + (n - 1) / d) for unrelated Gaussian data of d features. "correlation" depends on the axes and the means of
    the features: a rotation or a translation changes it.

    References
    ----------
    Kriegeskorte, Mur, Bandettini 2008, "Representational similarity analysis", Frontiers in Systems Neuroscience.
    Abnar, Beinborn, Choenni, Zuidema 2019, "Blackbox meets blackbox", BlackboxNLP (row forms).
    Diedrichsen, Berlot, Mur, Schütt, Shahbazi, Kriegeskorte 2021, "Comparing representational geometries using whitened
    unbiased-distance-matrix similarity", NBDT.
    Schütt, Kipnis, Diedrichsen, Kriegeskorte 2023, "Statistical inference on representational geometries", eLife (ρ_a).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 20))
    >>> y = x + rng.normal(size=(50, 20))
    >>> round(rs.measures.RSA()(x, y), 2), round(rs.measures.RSA()(x, rng.normal(size=(50, 20))), 2)
    (0.5, -0.03)
    >>> rs.measures.RSA(first="euclidean", second="pearson").matrix(x).shape
    (50, 50)
    """

    first: First = "correlation"
    second: Second = "spearman"
    diagonal: bool = False

    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_flag(self.diagonal, "diagonal of RSA")
        check_orders(self.first, self.second, diagonal=self.diagonal)

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return {
            "correlation": frozenset({"permutation", "scaling"}),
            "cosine": frozenset({"permutation", "orthogonal", "scaling"}),
            "dot": frozenset({"permutation", "orthogonal", "scaling"}),
            "euclidean": NO_LINEAR,
            "squared_euclidean": NO_LINEAR,
        }[self.first]

    @property
    def has_loss(self) -> bool:
        return self.second == "pearson"

    def _torch_value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return rsa_value(x, y, self.first, diagonal=self.diagonal)

    def matrix(self, x: Array) -> Array:
        """Return the matrix (n, n) of one representation.

        Parameters
        ----------
        x : array (n, ...)
            The representation.

        Returns
        -------
        array (n, n)
            Similarities of the samples, or distances for "euclidean" and "squared_euclidean", in the library of x.
            Distances are those of x centred and scaled to unit Frobenius norm.

        Examples
        --------
        >>> rs.measures.RSA(first="cosine").matrix(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))
        array([[1., 0., 1.],
               [0., 1., 0.],
               [1., 0., 1.]])
        """
        return self._matrix(check_representation(x, min_samples=self.min_samples))

    def prepare(self, x: Array) -> Any:
        # returns the matrix as a unit vector: (pairs,), or (n²,) or (n (n - 1),) with the diagonal or in rows;
        # the KnownPairs of an RDM of which some are missing
        if isinstance(x, RDM):
            return self._prepare_rdm(x)
        x = check_representation(x, min_samples=self.min_samples)
        if self.second in WHITENED:
            xp = array_api_compat.array_namespace(x)
            return self._whiten(self._matrix(xp.astype(x, xp.float64, copy=False)), eps(x))
        return self._rank_pairs(x) if self.second in RANKED else self._standardize(self._matrix(x))

    def _whiten(self, matrix: Array, spacing: float) -> Array:
        return whiten(matrix if self.first in DISTANCES else 1 - matrix, self.second, 8 * spacing)

    def _prepare_rdm(self, x: RDM) -> Any:
        matrix = as_first_order(x, self.first, self.second, diagonal=self.diagonal, least=self.min_samples)
        if not x.is_complete:
            in_rows = self.second.startswith("row") and not self.diagonal
            cells = _without_diagonal(matrix) if in_rows else matrix[self._cells(len(x))]
            return known_pairs(np.reshape(cells, (-1,)), self.second)
        if self.second in WHITENED:
            return self._whiten(matrix, eps(matrix))
        if self.second not in RANKED:
            return self._standardize(matrix)
        values = matrix[self._cells(len(x))]
        return self._unit_ranks(values, tolerance_of(values), matrix)

    def _standardize(self, matrix: Array) -> Array:
        """Return the matrix (n, n) as a unit vector of its cells that count, for all second orders but ranks."""
        xp, n = array_api_compat.array_namespace(matrix), matrix.shape[0]
        if self.second.startswith("row"):
            rows = matrix if self.diagonal else _without_diagonal(matrix)
            rows = normalize_rows(
                rows, "its row of the similarity matrix is constant", centre=self.second == "row_pearson"
            )
            return xp.reshape(rows, (-1,)) / n**0.5
        vector = matrix[xp.asarray(self._cells(n), device=array_api_compat.device(matrix))]
        largest = float(xp.max(xp.abs(vector)))
        rounding = 8 * eps(vector) * (1.0 if self.first in ("correlation", "cosine") else largest)
        if self.second == "pearson":
            if float(xp.max(vector)) - float(xp.min(vector)) <= rounding:
                raise UndefinedError(ALIKE)
            vector = vector - xp.mean(vector)
        return normalize(vector, ALIKE, 8 * eps(vector) * largest)

    def _rank_pairs(self, x: Array) -> Array:
        """Return the ranks of all pairs as a unit vector.

        The matrix is in float64. Numbers of float32 data are tied only if the data cannot distinguish them, for each
        pair by the sizes of its own samples.
        """
        xp = array_api_compat.array_namespace(x)
        exact = xp.astype(x, xp.float64, copy=False)
        which = self._cells(x.shape[0])
        if self.first in DISTANCES:  # a square has the rank of its root
            values, tolerance = exact_distances(exact, eps(x), which)
        else:
            values = to_numpy(self._matrix(exact))[which]
            tolerance = entry_tolerance(exact, self.first, eps(x), which)
        return self._unit_ranks(values, tolerance, x)

    def _unit_ranks(self, values: np.ndarray, tolerance: Any, like: Array) -> Array:
        """Return the centred ranks of values (pairs,) as a unit vector, in library and precision of `like`."""
        xp = array_api_compat.array_namespace(like)
        ranks = ranks_with_ties(values, tolerance)
        if coarsely_tied(values, ranks, tolerance) > 0.5:
            raise UndefinedError(
                "most pairs of samples differ by no more than the rounding of its numbers, which are large compared"
                " with their differences. Subtract the common part before the numbers are rounded, or keep more digits"
            )
        ranks -= (len(ranks) + 1) / 2
        length, many = math.sqrt(ranks @ ranks), float(len(ranks))
        if length > 0 and self.second != "spearman":  # the length without ties, which are no agreement
            return xp.asarray(ranks / math.sqrt((many**3 - many) / 12), device=array_api_compat.device(like))
        if length == 0:  # ranks of rounding look like ranks
            raise UndefinedError(ALIKE)
        ranks = xp.astype(xp.asarray(ranks / length, device=array_api_compat.device(like)), like.dtype)
        return normalize(ranks, ALIKE)  # of length 1 in this precision, too

    def pair(self, a: Any, b: Any) -> float:
        if isinstance(a, KnownPairs) or isinstance(b, KnownPairs):
            known = a if isinstance(a, KnownPairs) else b
            return compare_known(a, b, self.second, self._samples(known.known))
        return tau_a(a, b) if self.second == "tau_a" else super().pair(a, b)

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        if self.second in ("rho_a", "tau_a"):
            return pair_by_pair(self, xs, ys, job)  # the engine divides by lengths, which ties make shorter
        if all(not isinstance(x, RDM) or x.is_complete for x in (*xs, *(ys or ()))):
            return super()._table(xs, ys, job)
        if job.moments is not None:
            raise _missing_pairs(self)
        return pair_by_pair(self, xs, ys, job)

    def permute(self, a: Any, order: np.ndarray) -> Array:
        if isinstance(a, KnownPairs):
            return Measure.permute(self, a, order)
        if self._whole:
            return super().permute(a, order)
        xp, n = array_api_compat.array_namespace(a), self._samples(a)
        if self.second.startswith("row"):
            return xp.reshape(_without_diagonal(permute_matrix(_with_diagonal(a, n), order)), (-1,))
        which = self._cells(n)
        matrix = np.zeros(which.shape, to_numpy(a).dtype)
        matrix[which] = matrix.T[which] = to_numpy(a)
        return xp.asarray(permute_matrix(matrix, order)[which], device=array_api_compat.device(a))

    @property
    def recentring(self) -> str | None:
        if self.second == "whitened_cosine":
            return "double"
        return "pairs" if self.second == "pearson" and not self.diagonal else None

    def check_gram_matrix(self) -> None:
        if self.second.startswith("row"):
            raise NotImplementedError(
                f"{self} scales every row of its matrix on its own, so that the matrix is no longer symmetric. Use"
                " second='spearman', 'pearson' or 'cosine'"
            )
        if self.second in ("rho_a", "tau_a"):
            Measure.check_gram_matrix(self)

    def gram_matrix(self, a: Any) -> np.ndarray:
        if isinstance(a, KnownPairs):
            raise _missing_pairs(self)
        if self._whole:
            return super().gram_matrix(a).copy()  # whoever sums it may write into it
        self.check_gram_matrix()
        values = to_numpy(a)
        which = self._cells(self._samples(a))
        matrix = np.zeros(which.shape, values.dtype)
        matrix[which] = values * values.dtype.type(0.5**0.5)  # each pair stands there twice and counts once
        return matrix + matrix.T

    def _samples(self, a: Array) -> int:
        """Return the number of samples n, from the length of a prepared vector: n², n (n - 1) or n (n - 1) / 2."""
        if self._whole:
            return math.isqrt(a.shape[0])
        once = not self.diagonal and not self.second.startswith("row")
        return math.isqrt(2 * a.shape[0] if once else a.shape[0]) + (not self.diagonal)

    @property
    def _whole(self) -> bool:
        """Whether a prepared vector is a whole symmetric matrix."""
        return self.diagonal or self.second in WHITENED

    def _cells(self, n: int) -> np.ndarray:
        """Return which cells of the matrix count (n, n): all with the diagonal, else each pair once."""
        return np.ones((n, n), dtype=bool) if self.diagonal else np.tri(n, k=-1, dtype=bool)

    _by_tiles: ClassVar[bool] = False

    def _source(self, x: Array, number: int = 0) -> Vector:
        return Vector(self.prepare(x), 0.0)

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> cost.Cost:
        number = len(ps) + len(qs or ())
        pairs = n * n if self._whole or self.second.startswith("row") else n * n / 2
        sorting = 60.0 * pairs * math.log2(n) if self.second in RANKED else 0.0
        flops = (
            2.0 * n * n * (sum(ps) + sum(qs or ()))
            + number * (20 * n * n + sorting)
            + 2 * pairs * len(ps) * len(ps if qs is None else qs)
        )
        return cost.Cost(
            flops,
            number * pairs * itemsize,
            n * n * (3 * itemsize + (40 if sorting else 0)) + 3.0 * itemsize * n * max([*ps, *(qs or ())]) + 2**26,
        )

    def _matrix(self, x: Array) -> Array:
        xp = array_api_compat.array_namespace(x)
        if self.first in DISTANCES:
            unit, scale = centred_unit_and_scale(x)
            lengths = xp.vecdot(unit, unit)
            squared = squared_distances(unit @ unit.T, lengths, lengths, x, x, scale)
            return squared**0.5 if self.first == "euclidean" else squared
        x = x / xp.max(xp.abs(x))  # no later square can overflow
        if self.first == "correlation":
            if x.shape[1] < 2:
                raise UndefinedError("correlation between samples needs at least 2 features; it has 1")
            x = normalize_rows(x, "its features are all equal, and correlation needs them to differ", centre=True)
        elif self.first == "cosine":
            x = normalize_rows(x, NO_DIRECTION)
        else:
            return x @ x.T
        matrix = x @ x.T
        if isinstance(matrix, np.ndarray):  # rounding must not break the ties of the diagonal
            np.fill_diagonal(matrix, 1)
            return matrix
        return matrix.fill_diagonal_(1)


def _missing_pairs(measure: RSA) -> NotImplementedError:
    return NotImplementedError(
        f"{measure} of an RDM with missing pairs is no inner product of two matrices, since a value is over the pairs"
        " that both sides know. Use compare and permutation_test, or rdm[rows] with samples whose pairs are all known"
    )


def _without_diagonal(matrix: Array) -> Array:
    """Return a matrix (n, n) without its diagonal, (n, n - 1)."""
    n = matrix.shape[0]
    return array_api_compat.array_namespace(matrix).reshape(matrix[off_diagonal(matrix) > 0], (n, n - 1))


def _with_diagonal(flat: Array, n: int) -> Array:
    """Undo `_without_diagonal` for one vector; return a matrix (n, n) with 0 on the diagonal."""
    xp = array_api_compat.array_namespace(flat)
    matrix = xp.zeros((n, n), dtype=flat.dtype, device=array_api_compat.device(flat))
    matrix[off_diagonal(matrix) > 0] = flat
    return matrix


def first_order(x: Array, kind: First = "correlation") -> Any:
    """Compute the matrix of similarities, or distances, of the samples of one representation, for pictures.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    kind : {"correlation", "cosine", "dot", "euclidean", "squared_euclidean"}
        How two samples are compared, as `first` of `RSA`.

    Returns
    -------
    array (n, n)
        A NumPy array. Distances are those of x centred and scaled to unit Frobenius norm.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> rs.measures.first_order(x, "cosine")
    array([[1., 0., 1.],
           [0., 1., 0.],
           [1., 0., 1.]])
    """
    return to_numpy(RSA(first=kind).matrix(x))
