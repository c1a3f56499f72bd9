"""Functional measures: how similar are the outputs (n, classes) of two models?

The columns mean something, so nothing may rotate them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError, warn_user
from repsim_nb.support.validation import check_labels, check_representation, to_numpy

from .arrays import eps
from .base import Measure
from .ties import FEW, row_ranks


def _outputs(x: Array) -> Array:
    """(n, classes) in float64; a model may give all samples the same output."""
    x = check_representation(x, double=True, constant=True)
    if x.shape[1] < 2:
        raise UndefinedError("outputs are (samples, classes) with at least 2 classes; it has 1 column")
    return x


class _Functional(Measure):
    """Compares outputs, so it has no meaning on a hidden layer."""

    compares: ClassVar = "outputs"
    min_samples: ClassVar[int] = 1

    def prepare_flops(self, n: int, p: int) -> float:
        return 200.0 * n * p

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 200.0 * n * p

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * p


def _same_classes(a: Array, b: Array) -> None:
    if a.shape[1] != b.shape[1]:
        raise UndefinedError(f"outputs must be over the same classes; they have {a.shape[1]} and {b.shape[1]} columns")


class Decisions(NamedTuple):
    """classes: the predicted one of each sample (n,), the largest output, of equals the first; number: of classes there
    are.
    """

    classes: np.ndarray
    number: int


def _decisions(x: Array) -> Decisions:
    x = to_numpy(_outputs(x))
    return Decisions(x.argmax(axis=1), x.shape[1])


def _differ(a: Decisions, b: Decisions) -> np.ndarray:
    """Whether the two differ, sample by sample."""
    if a.number != b.number:
        raise UndefinedError(f"outputs must be over the same classes; they have {a.number} and {b.number} columns")
    return a.classes != b.classes


def _check_inputs(measure: Measure, inputs: str) -> None:
    if inputs not in ("logits", "probabilities"):
        raise ValueError(f"{type(measure).__name__} takes inputs='logits' or 'probabilities'; got {inputs!r}")


def _probabilities(measure: Measure, x: Array) -> Array:
    """x, if every row is a distribution, up to its digits: then it is brought to the sum 1."""
    xp = array_api_compat.array_namespace(x)
    total = xp.sum(x, axis=1)
    if bool(xp.any(x < 0)) or float(xp.max(xp.abs(total - 1))) > _rounded(x):
        hint = (
            "These look like percent: divide by 100"
            if _sum_to(x, 100)
            else f"For logits use {type(measure).__name__}(inputs='logits')"
        )
        raise UndefinedError(
            f"probabilities are at least 0 and sum to 1 in every row; here the smallest is {float(xp.min(x)):.3g} and"
            f" rows sum to {float(xp.min(total)):.3g} up to {float(xp.max(total)):.3g}. {hint}"
        )
    return x / total[:, None]


def _logits(measure: Measure, x: Array) -> Array:
    """x, unless its rows are distributions, also if they were rounded or are percent: the softmax of probabilities is
    another, flatter distribution.
    """
    name = type(measure).__name__
    for whole, what, then in ((1, "probabilities", ""), (100, "percent", " after dividing by 100")):
        if _sum_to(x, whole):
            raise UndefinedError(
                f"{name} takes logits here, and these outputs look like {what}: none is below 0, and every row sums to"
                f" {whole}. Use {name}(inputs='probabilities'){then}. (If they are logits by chance, subtract 1 from"
                " them: it changes no softmax.)"
            )
    return x


def _sum_to(x: Array, whole: float) -> bool:
    """Whether no number is below 0 and every row sums to `whole`, up to two digits of each number."""
    xp = array_api_compat.array_namespace(x)
    return not bool(xp.any(x < 0)) and float(xp.max(xp.abs(xp.sum(x, axis=1) / whole - 1))) <= _rounded(x)


def _rounded(x: Array) -> float:
    """By how much a row of probabilities with two digits each may miss its sum."""
    return min(0.001 + 0.005 * x.shape[1], 0.1)


@dataclass(frozen=True, kw_only=True)
class JSD(_Functional):
    """Jensen-Shannon divergence of the predicted distributions, mean over samples, in nats.

    (KL(p‖m) + KL(q‖m))/2 with m = (p + q)/2 and 0·log 0 = 0. inputs: "logits" (softmax is taken here) or
    "probabilities"; rows that are probabilities are refused as logits. Range 0 to log 2 = 0.693 nats. (SciPy's
    `jensenshannon` is its square root.)  [Lin 1991]
    """

    inputs: Literal["logits", "probabilities"] = "logits"

    kind: ClassVar = "dissimilarity"
    range: ClassVar[tuple[float, float]] = (0.0, float(np.log(2)))

    def __post_init__(self) -> None:
        _check_inputs(self, self.inputs)

    def prepare(self, x: Array) -> Array:
        """-> probabilities (n, classes), float64."""
        x = _outputs(x)
        if self.inputs == "probabilities":
            return _probabilities(self, x)
        x, xp = _logits(self, x), array_api_compat.array_namespace(x)
        x = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return x / xp.sum(x, axis=1, keepdims=True)

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def pair(self, a: Array, b: Array) -> float:
        _same_classes(a, b)
        xp = array_api_compat.array_namespace(a, b)
        m = (a + b) / 2
        m = xp.where(m > 0, m, xp.ones_like(m))

        def kl(p: Array) -> Array:
            return xp.sum(p * xp.log(xp.where(p > 0, p / m, xp.ones_like(p))), axis=1)

        return float(xp.mean(kl(a) + kl(b)) / 2)


class _OfDecisions(_Functional):
    """Prepared: the predicted classes."""

    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})

    def prepare(self, x: Array) -> Decisions:
        """-> the predicted classes."""
        return _decisions(x)

    def permute(self, a: Decisions, order: np.ndarray) -> Decisions:
        return a._replace(classes=a.classes[order])

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 200.0 * n

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n


class Distribution(NamedTuple):
    """p: probabilities (n, classes); log: their logarithms, -inf only where a probability given was 0."""

    p: Array
    log: Array


@dataclass(frozen=True, kw_only=True)
class KL(_Functional):
    """Kullback-Leibler divergence of y's predicted distributions from x's, mean over samples, in nats.

    KL(p‖q) = Σ p·log(p/q), p from x, q from y, 0·log 0 = 0: what it costs to take q for p; not symmetric. inputs:
    "logits" (logarithms are taken of the softmax as a whole, so no probability is 0; rows that are probabilities are
    refused) or "probabilities". Range from 0, unbounded. Undefined where y gives probability 0 to a class to which x
    does not.  [Kullback, Leibler 1951]
    """

    inputs: Literal["logits", "probabilities"] = "logits"

    kind: ClassVar = "dissimilarity"
    symmetric: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))

    def __post_init__(self) -> None:
        _check_inputs(self, self.inputs)

    def prepare(self, x: Array) -> Distribution:
        """-> probabilities and their logarithms (n, classes), float64."""
        x = _outputs(x)
        xp = array_api_compat.array_namespace(x)
        if self.inputs == "logits":
            x = _logits(self, x)
            log = x - xp.max(x, axis=1, keepdims=True)
            log = log - xp.log(xp.sum(xp.exp(log), axis=1, keepdims=True))
            return Distribution(xp.exp(log), log)
        p = _probabilities(self, x)
        return Distribution(p, xp.where(p > 0, xp.log(xp.where(p > 0, p, xp.ones_like(p))), -xp.inf * xp.ones_like(p)))

    def permute(self, a: Distribution, order: np.ndarray) -> Distribution:
        return Distribution(a.p[order], a.log[order])

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 16.0 * n * p

    def pair(self, a: Distribution, b: Distribution) -> float:
        _same_classes(a.p, b.p)
        xp = array_api_compat.array_namespace(a.p)
        impossible = (a.p > 0) & (b.log == -xp.inf)
        if bool(xp.any(impossible)):
            sample, label = (int(i) for i in np.argwhere(to_numpy(impossible))[0])
            raise UndefinedError(
                f"at sample {sample} the second gives class {label} the probability 0 and the first"
                f" {float(a.p[sample, label]):.3g}, so the divergence is infinite"
                f" ({int(xp.sum(xp.astype(impossible, xp.int64)))} such cells in all); jsd is always finite"
            )
        zero = xp.zeros_like(a.p)
        log_ratio = xp.where(a.p > 0, a.log, zero) - xp.where(a.p > 0, b.log, zero)
        return float(xp.mean(xp.sum(a.p * log_ratio, axis=1)))


@dataclass(frozen=True, kw_only=True)
class Disagreement(_OfDecisions):
    """The fraction of samples to which two models give different classes (the largest output; of equals the first).

    Range 0 to 1; obeys the triangle inequality.
    """

    kind: ClassVar = "dissimilarity"
    is_metric: ClassVar[bool] = True

    def pair(self, a: Decisions, b: Decisions) -> float:
        return float(np.mean(_differ(a, b)))


@dataclass(frozen=True, kw_only=True)
class Kappa(_OfDecisions):
    """Cohen's κ: how far the classes of two models agree beyond what their frequencies make likely.

    (agreement - expected) / (1 - expected), expected = Σ over classes of the product of both frequencies; of equal
    outputs the first is the class. Range -1 to 1; 0 is what independent predictions of these frequencies give.
    Undefined where both always predict one and the same class.  [Cohen 1960]
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def pair(self, a: Decisions, b: Decisions) -> float:
        agreement = 1 - float(np.mean(_differ(a, b)))
        often = [np.bincount(side.classes, minlength=side.number) / len(side.classes) for side in (a, b)]
        expected = float(often[0] @ often[1])
        if expected == 1:
            raise UndefinedError(
                "both always predict one and the same class, so agreement is certain and tells nothing"
            )
        return (agreement - expected) / (1 - expected)


@dataclass(frozen=True, repr=False)
class AccuracyGap(_Functional):
    """The difference between the accuracies of two models, |accuracy x - accuracy y|.

    targets: class numbers, one a sample.

    The class is the largest output, of equals the first. 0 does not mean that they are right on the same samples: see
    Disagreement. Range 0 to 1; obeys the triangle inequality. ValueError where targets and samples differ in number.
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
                f"AccuracyGap takes the targets as class numbers from 0 on, one a sample; got shape {targets.shape},"
                f" dtype {targets.dtype}"
                + (f", smallest {targets.min()}" if targets.size and targets.dtype.kind in "if" else "")
            )
        # a tuple: the measure stays comparable and hashable
        object.__setattr__(self, "targets", tuple(targets.tolist()))

    def prepare(self, x: Array) -> float:
        """-> the accuracy."""
        predicted = _decisions(x)
        if len(self.targets) != len(predicted.classes):
            raise ValueError(
                f"AccuracyGap needs a target for every sample: there are {len(self.targets)} targets and"
                f" {len(predicted.classes)} samples"
            )
        if max(self.targets) >= predicted.number:
            raise UndefinedError(
                f"the targets go up to class {max(self.targets)}, and its outputs are over {predicted.number} classes"
            )
        return float(np.mean(predicted.classes == np.array(self.targets)))

    def pair(self, a: float, b: float) -> float:
        return abs(a - b)

    def __str__(self) -> str:
        return f"AccuracyGap({len(self.targets)} targets)"

    __repr__ = __str__


class Ranks(NamedTuple):
    """unit: each sample's ranks, centred and at unit length (n, classes); valid: False where all outputs of a sample
    are equal.
    """

    unit: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OutputRank(_Functional):
    """The thesis's rank coefficient: Spearman's ρ between the two output vectors of each sample, mean over samples.

    Outputs of a sample that are equal up to rounding are tied. A sample whose outputs are all equal has no ranks: it is
    left out, and a warning counts how many were. With two classes each sample gives ±1, so the mean is 2·agreement - 1.
    Range -1 to 1.  [Yellapragada 2020]
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})

    def prepare(self, x: Array) -> Ranks:
        spacing = eps(check_representation(x, constant=True))
        x = to_numpy(_outputs(x))
        ranks = row_ranks(x, FEW * spacing * np.abs(x).max(axis=1))
        ranks -= ranks.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
        valid = lengths[:, 0] > 0
        return Ranks(ranks / np.where(lengths > 0, lengths, 1), valid)

    def permute(self, a: Ranks, order: np.ndarray) -> Ranks:
        return Ranks(a.unit[order], a.valid[order])

    def pair(self, a: Ranks, b: Ranks) -> float:
        _same_classes(a.unit, b.unit)
        valid = a.valid & b.valid
        if not valid.any():
            raise UndefinedError("every sample has constant outputs on one side, and a constant has no ranks")
        if not valid.all():
            warn_user(
                f"output_rank: {(~valid).sum()} of {len(valid)} samples have constant outputs on one side and are"
                " left out"
            )
        return float(np.mean(np.sum(a.unit[valid] * b.unit[valid], axis=1)))
