"""Functional measures of predicted classes, and of the order in which models rank the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError, warn_user
from repsim_nb.support.validation import check_labels, check_representation, to_numpy

from .arrays import eps
from .functional import Functional, check_outputs, check_same_classes
from .ties import FEW, row_ranks


class Decisions(NamedTuple):
    """The predicted class of each sample.

    Attributes
    ----------
    classes : array (n,)
        The largest output; the first of several that are equal.
    number : int
        How many classes there are.
    """

    classes: np.ndarray
    number: int


def _decisions(x: Array) -> Decisions:
    """Return the predicted classes of checked outputs."""
    x = to_numpy(check_outputs(x))
    return Decisions(x.argmax(axis=1), x.shape[1])


def _differ(a: Decisions, b: Decisions) -> np.ndarray:
    """Return which samples have different predicted classes on the two sides, as bool (n,)."""
    check_same_classes(a.number, b.number)
    return a.classes != b.classes


class _OfDecisions(Functional):
    """A measure that depends on the outputs by the predicted classes only."""

    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})

    def prepare(self, x: Array) -> Decisions:
        # returns the predicted classes
        return _decisions(x)

    def permute(self, a: Decisions, order: np.ndarray) -> Decisions:
        return a._replace(classes=a.classes[order])

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 200.0 * n

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n


@dataclass(frozen=True, kw_only=True)
class Disagreement(_OfDecisions):
    """Fraction of samples for which two models predict different classes.

    A functional measure: it compares outputs (samples, classes). It has no options.

    Notes
    -----
    The predicted class is the largest output, and the first of several that are equal.

    Range 0 to 1; larger is less alike. It is a metric (it obeys the triangle inequality). Scaling the outputs by a
    positive factor does not change it. One sample is enough. Cost: time proportional to the number of samples.

    Misleads when both models are accurate: they cannot disagree on more samples than the sum of their error rates, so a
    small value shows accuracy first. Compare with `Kappa`, or with models of equal accuracy.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
    >>> y = np.array([[1.0, 0.0], [1.0, 0.0], [5.0, 1.0], [0.0, 9.0]])
    >>> rs.measures.Disagreement()(x, y)
    0.25
    """

    kind: ClassVar = "dissimilarity"
    is_metric: ClassVar[bool] = True

    def pair(self, a: Decisions, b: Decisions) -> float:
        return float(np.mean(_differ(a, b)))


@dataclass(frozen=True, kw_only=True)
class Kappa(_OfDecisions):
    """Cohen's kappa: agreement of the predicted classes beyond what their frequencies give by chance.

    A functional measure: it compares outputs (samples, classes). It has no options.

    Raises
    ------
    UndefinedError
        If both models always predict one and the same class.

    Notes
    -----
    (agreement - expected) / (1 - expected), where agreement is the fraction of samples with equal predicted classes,
    and expected is the sum over classes of the product of both frequencies. The predicted class is the largest output,
    and the first of several that are equal.

    Range -1 to 1; larger is more alike, and 0 is the chance level: independent predictions with these frequencies.
    Scaling the outputs by a positive factor does not change it. One sample is enough if the predictions are not all of
    one class. Cost: time proportional to the number of samples.

    Misleads when nearly all samples are predicted to be of one class: the expected agreement is then close to 1, and
    few samples decide the value. Two accurate models agree because both are right.

    References
    ----------
    Cohen 1960, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
    >>> y = np.array([[1.0, 0.0], [1.0, 0.0], [5.0, 1.0], [0.0, 9.0]])
    >>> rs.measures.Kappa()(x, y)
    0.5
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def pair(self, a: Decisions, b: Decisions) -> float:
        agreement = 1 - float(np.mean(_differ(a, b)))
        often = [np.bincount(side.classes, minlength=side.number) / len(side.classes) for side in (a, b)]
        expected = float(often[0] @ often[1])
        if expected == 1:
            raise UndefinedError("both sides always predict one and the same class, so their agreement is no evidence")
        return (agreement - expected) / (1 - expected)


@dataclass(frozen=True, repr=False)
class AccuracyGap(Functional):
    """Absolute difference between the accuracies of two models.

    A functional measure: it compares outputs (samples, classes).

    Parameters
    ----------
    targets : sequence of int (n,)
        The right class of each sample, 0 for the first column of the outputs.

    Raises
    ------
    ValueError
        If `targets` are not integers from 0 on, or not one for each sample.
    UndefinedError
        If a target is not among the classes of the outputs.

    Notes
    -----
    |accuracy of x - accuracy of y|. The predicted class is the largest output, and the first of several that are equal.

    Range 0 to 1; larger is less alike. It obeys the triangle inequality. Scaling the outputs by a positive factor does
    not change it. One sample is enough. Cost: time proportional to the number of samples.

    Misleads when two models are right on different samples: the gap is 0 if they are right equally often. See
    `Disagreement`.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
    >>> y = np.array([[1.0, 0.0], [1.0, 0.0], [5.0, 1.0], [0.0, 9.0]])
    >>> rs.measures.AccuracyGap([0, 1, 0, 1])(x, y)
    0.25
    """

    targets: tuple[int, ...]

    kind: ClassVar = "dissimilarity"
    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})
    is_metric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given: Any = self.targets
        many = given.shape[0] if getattr(given, "ndim", 0) else len(given) if hasattr(given, "__len__") else 0
        targets = check_labels(given, many, "targets")
        if targets.ndim != 1 or not targets.size or targets.dtype.kind not in "iu" or targets.min() < 0:
            raise ValueError(
                "targets of AccuracyGap must be class numbers from 0 on, one for each sample; got shape"
                f" {targets.shape}, dtype {targets.dtype}"
                + (f", smallest {targets.min()}" if targets.size and targets.dtype.kind in "if" else "")
            )
        # a tuple: the measure stays comparable and hashable
        object.__setattr__(self, "targets", tuple(targets.tolist()))

    def prepare(self, x: Array) -> float:
        # returns the accuracy
        predicted = _decisions(x)
        if len(self.targets) != len(predicted.classes):
            raise ValueError(
                f"AccuracyGap needs one target for each sample; there are {len(self.targets)} targets and"
                f" {len(predicted.classes)} samples."
            )
        if max(self.targets) >= predicted.number:
            raise UndefinedError(
                f"the targets go up to class {max(self.targets)}, and the outputs have {predicted.number} classes"
            )
        return float(np.mean(predicted.classes == np.array(self.targets)))

    def pair(self, a: float, b: float) -> float:
        return abs(a - b)

    def __str__(self) -> str:
        return f"AccuracyGap({len(self.targets)} targets)"

    __repr__ = __str__


class Ranks(NamedTuple):
    """Ranks of the outputs of each sample.

    Attributes
    ----------
    unit : array (n, classes)
        The ranks of each sample, centred and at unit length.
    valid : bool array (n,)
        False if all outputs of a sample are equal.
    """

    unit: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OutputRank(Functional):
    """Rank coefficient: Spearman correlation of the two output vectors of a sample, averaged over samples.

    A functional measure: it compares outputs (samples, classes). It has no options.

    Warns
    -----
    UserWarning
        If samples are left out because all their outputs are equal on one side; it counts them.

    Notes
    -----
    The outputs of a sample are ranked over the classes, on each side; outputs that are equal up to rounding share their
    mean rank. The value is the mean over samples of the correlation of both ranks.

    Range -1 to 1; larger is more alike, and 0 is the chance level. Scaling the outputs by a positive factor does not
    change it, nor does a softmax. One sample is enough. Cost: one sort for each sample.

    Misleads when most classes are never predicted: the order of these unlikely classes counts as much as the order of
    the likely ones. With two classes each sample gives 1 or -1, so the value is 2 · agreement - 1.

    References
    ----------
    Yellapragada 2020, "Are the proposed similarity metrics also a measure of functional similarity?", New York
    University.

    Examples
    --------
    >>> x = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    >>> y = np.array([[5.0, 1.0, 0.0], [1.0, 3.0, 0.0]])
    >>> round(rs.measures.OutputRank()(x, y), 2)
    0.75
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})

    def prepare(self, x: Array) -> Ranks:
        # returns the ranks of the outputs of each sample
        spacing = eps(check_representation(x, constant=True))
        x = to_numpy(check_outputs(x))
        ranks = row_ranks(x, FEW * spacing * np.abs(x).max(axis=1))
        ranks -= ranks.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
        valid = lengths[:, 0] > 0
        return Ranks(ranks / np.where(lengths > 0, lengths, 1), valid)

    def permute(self, a: Ranks, order: np.ndarray) -> Ranks:
        return Ranks(a.unit[order], a.valid[order])

    def pair(self, a: Ranks, b: Ranks) -> float:
        check_same_classes(a.unit.shape[1], b.unit.shape[1])
        valid = a.valid & b.valid
        if not valid.any():
            raise UndefinedError("every sample has constant outputs on one side, and constant outputs have no ranks")
        if not valid.all():
            warn_user(
                f"output_rank: {(~valid).sum()} of {len(valid)} samples have constant outputs on one side and are"
                " left out."
            )
        return float(np.mean(np.sum(a.unit[valid] * b.unit[valid], axis=1)))
