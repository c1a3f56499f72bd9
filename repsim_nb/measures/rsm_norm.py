"""The norm of the difference of two matrices of samples: RSA without any scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_choice, check_representation, to_numpy

from .arrays import centred_unit_and_scale, permute_matrix
from .base import Measure
from .rsa import RSA


@dataclass(frozen=True, kw_only=True)
class RSMNormDifference(Measure):
    """RSM norm difference: how far two matrices of (dis)similarities of samples are apart, entry by entry.

    Parameters
    ----------
    first : {"euclidean", "cosine", "correlation"}
        How two samples are compared within a representation: the Euclidean distance, or a similarity. "correlation" is
        over the features of the two samples.
    norm : {"frobenius", "spectral"}
        "frobenius" is the root of the sum of squared differences over pairs of samples, each pair once; "spectral" the
        largest absolute eigenvalue of the difference of the two matrices.

    Raises
    ------
    UndefinedError
        If a sample has no direction ("cosine", "correlation").

    Notes
    -----
    Each representation gives a symmetric matrix with one number for each pair of samples (a representational similarity
    matrix, RSM). The value is a norm of the difference of both.

    Range from 0; larger is less alike. Invariant to permutations of the features; "cosine" also to rotations and
    scaling, "correlation" to scaling, "euclidean" to rotations and translation. It obeys the triangle inequality. Needs
    at least 3 samples. Cost: the n² pairs of samples for each representation and for each pair; "spectral" takes the
    eigenvalues of an n × n matrix for each pair. Memory for n² numbers for each representation.

    Misleads when values of different data are compared: it grows with the number of samples, and with "euclidean" with
    the scale and the width of the activations. `RSA` has no such unit.

    References
    ----------
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2 and 3
    >>> round(rs.measures.RSMNormDifference()(x, 2 * x) ** 2, 9)
    14.0
    """

    first: Literal["euclidean", "cosine", "correlation"] = "euclidean"
    norm: Literal["frobenius", "spectral"] = "frobenius"

    kind: ClassVar = "dissimilarity"
    is_metric: ClassVar = True
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __post_init__(self) -> None:
        check_choice(self.first, "first of RSMNormDifference", ("euclidean", "cosine", "correlation"))
        check_choice(self.norm, "norm of RSMNormDifference", ("frobenius", "spectral"))

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        found = RSA(first=self.first).invariant_to
        return found - {"scaling"} if self.first == "euclidean" else found

    def prepare(self, x: Array) -> np.ndarray:
        # returns the matrix (n, n) in float64
        x = check_representation(x, min_samples=self.min_samples, double=True)
        matrix = to_numpy(RSA(first=self.first).matrix(x))
        return matrix * centred_unit_and_scale(x)[1] if self.first == "euclidean" else matrix

    def pair(self, a: np.ndarray, b: np.ndarray) -> float:
        if self.norm == "frobenius":
            gaps = a - b
            largest = float(np.abs(gaps).max()) or 1.0  # squares may exceed the largest float
            return largest * float(np.linalg.norm(gaps / largest)) / math.sqrt(2)
        return float(np.abs(np.linalg.eigvalsh(a - b)[[0, -1]]).max())

    def permute(self, a: np.ndarray, order: np.ndarray) -> np.ndarray:
        return permute_matrix(a, order)

    def prepare_flops(self, n: int, p: int) -> float:
        return 2.0 * n * n * p + 20.0 * n * n

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 10.0 * n * n + (8.0 * float(n) ** 3 if self.norm == "spectral" else 0)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * n
