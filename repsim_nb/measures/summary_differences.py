"""Differences of one number that each representation has by itself: its size, its direction, its spread.

They do not compare sample by sample, so the order of the samples does not matter, not even of one side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_flag, check_positive, check_representation, to_numpy
from repsim_nb.support.workers import check_stopped

from .arrays import NO_DIRECTION, normalize_rows, split_range
from .base import Measure

_BLOCK = 2**22  # numbers of a matrix of samples that are held at a time


class _SummaryDifference(Measure):
    """The absolute difference of a summary of each side; `_summary` computes it."""

    kind: ClassVar = "dissimilarity"
    is_metric: ClassVar = True

    def _summary(self, x: np.ndarray) -> float:
        """Return the summary of checked float64 activations (n, p)."""
        raise NotImplementedError(f"{type(self).__name__} defines no _summary(x)")

    def prepare(self, x: Array) -> np.float64:
        # returns the summary
        x = check_representation(x, min_samples=self.min_samples, double=True)
        return np.float64(self._summary(to_numpy(x)))

    def pair(self, a: np.float64, b: np.float64) -> float:
        return float(abs(a - b))

    def permute(self, a: np.float64, order: np.ndarray) -> np.float64:
        return a

    def check_exchange(self) -> None:
        """Raise UndefinedError: the value does not depend on which sample is paired with which.

        Examples
        --------
        >>> rs.measures.get("magnitude_difference").check_exchange()
        Traceback (most recent call last):
        ...
        repsim_nb.support.errors.UndefinedError: magnitude_difference is the same for every order of the samples, so
        permuted samples give no chance level. Use a measure that compares sample by sample, such as 'cka_debiased'
        """
        raise UndefinedError(
            f"{self} is the same for every order of the samples, so permuted samples give no chance level. Use a"
            " measure that compares sample by sample, such as 'cka_debiased'"
        )

    def prepare_flops(self, n: int, p: int) -> float:
        return 20.0 * n * p

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 10.0

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0


@dataclass(frozen=True, kw_only=True)
class MagnitudeDifference(_SummaryDifference):
    """Difference of magnitude: how much the lengths of the two mean samples differ.

    It has no options.

    Notes
    -----
    The magnitude of a representation is the Euclidean length of the mean of its samples. The value is the absolute
    difference of both magnitudes.

    Range from 0; larger is less alike. Invariant to permutations and rotations of the features; not to scaling or
    translation. It obeys the triangle inequality, but is 0 for many different pairs. Needs at least 3 samples. Cost:
    one pass over each representation.

    Misleads when it is read as agreement of samples: two unrelated representations of the same magnitude have the value
    0. Widths and units of the activations decide it, so compare layers of one width.

    References
    ----------
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> x = np.array([[3.0, 4.0], [3.0, 0.0], [0.0, 8.0]])  # its mean sample is (2, 4)
    >>> bool(np.isclose(rs.measures.MagnitudeDifference()(x, 2 * x), np.sqrt(20)))
    True
    """

    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "orthogonal"})
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def _summary(self, x: np.ndarray) -> float:
        largest = np.abs(x).max()
        return float(np.linalg.norm((x / largest).mean(axis=0)) * largest)


@dataclass(frozen=True, kw_only=True)
class ConcentricityDifference(_SummaryDifference):
    """Difference of concentricity: how much the density of directions around the mean sample differs.

    It has no options.

    Raises
    ------
    UndefinedError
        If a sample or the mean of all samples is 0, so that it has no direction.

    Notes
    -----
    The concentricity of a representation is the mean over samples of the cosine between the sample and the mean of all
    samples: 1 if all point the same way. The value is the absolute difference of both.

    Range 0 to 2; larger is less alike. Invariant to permutations and rotations of the features and scaling; not to
    translation. It obeys the triangle inequality, but is 0 for many different pairs. Needs at least 3 samples. Cost:
    one pass over each representation.

    Misleads when it is read as agreement of samples: two unrelated representations can have the value 0. A mean that is
    large compared with the differences of samples gives a concentricity near 1 on both sides.

    References
    ----------
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    >>> y = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    >>> round(rs.measures.ConcentricityDifference()(np.vstack([x, x[:1]]), y), 4)  # 1 - cos 45°
    0.2929
    """

    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "orthogonal", "scaling"})
    range: ClassVar[tuple[float, float]] = (0.0, 2.0)

    def _summary(self, x: np.ndarray) -> float:
        x = x / np.abs(x).max()
        mean = x.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if length <= 8 * np.finfo(float).eps * np.abs(x).mean(axis=0).max():
            raise UndefinedError("the mean of its samples is 0, so no sample has a direction relative to it")
        return float(np.mean(to_numpy(normalize_rows(x, NO_DIRECTION)) @ (mean / length)))


@dataclass(frozen=True, kw_only=True)
class UniformityDifference(_SummaryDifference):
    """Difference of uniformity: how much the evenness of the spread of samples differs.

    Parameters
    ----------
    t : float
        How fast the potential of a pair of samples falls with their distance.
    unit : bool
        Whether each sample is scaled to length 1 first, as in the definition of uniformity. False takes samples as
        they are.

    Raises
    ------
    UndefinedError
        If a sample is 0, with `unit`.

    Notes
    -----
    The uniformity of a representation is the logarithm of the mean of exp(-t d²) over all pairs of samples, with d
    their Euclidean distance; a sample with itself counts. The value is the absolute difference of both.

    Range from 0, with `unit` to 4t; larger is less alike. Invariant to permutations and rotations of the features; with
    `unit` also to scaling, else to translation. It obeys the triangle inequality, but is 0 for many different pairs.
    Needs at least 3 samples. Cost: the n² pairs of samples for each representation.

    Misleads when it is read as agreement of samples: two unrelated representations can have the value 0. Without `unit`
    large activations make all terms vanish but those of a sample with itself: both sides then have the uniformity
    log(1/n), and the value is 0.

    References
    ----------
    Wang, Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", ICML.
    Klabunde, Schumacher, Strohmaier, Lemmerich 2025, "Similarity of neural network models: a survey of functional and
    representational measures", ACM Computing Surveys.

    Examples
    --------
    >>> even = np.eye(4)  # all pairs at distance √2
    >>> near = np.vstack([even[0], even[0], even[0], even[1]])
    >>> round(rs.measures.UniformityDifference()(even, near), 3)
    0.874
    """

    t: float = 2.0
    unit: bool = True

    def __post_init__(self) -> None:
        check_flag(self.unit, "unit of UniformityDifference")
        check_positive(self.t, "t of UniformityDifference", hint="2 in the definition")

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"permutation", "orthogonal", "scaling" if self.unit else "translation"})

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, 4 * self.t if self.unit else math.inf

    def _summary(self, x: np.ndarray) -> float:
        if self.unit:
            x = to_numpy(normalize_rows(x, NO_DIRECTION))
        x = x - x.mean(axis=0)
        squares = np.einsum("ij,ij->i", x, x)
        total = 0.0
        for rows in split_range(len(x), _BLOCK // len(x)):
            check_stopped()
            block = squares[rows, None] + squares - 2 * (x[rows] @ x.T)
            own = np.arange(rows.start, rows.stop)
            block[own - rows.start, own] = 0.0
            total += float(np.exp(-self.t * np.clip(block, 0, None, out=block)).sum())
        return math.log(total / len(x) ** 2)

    def prepare_flops(self, n: int, p: int) -> float:
        return 2.0 * n * n * p + 30.0 * n * n
