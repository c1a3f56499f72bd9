"""Functional measures compare the outputs (n, classes) of two models.

Each column is one class, in the same order on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, check_representation, to_numpy

from .base import Measure


def check_outputs(x: Array) -> Array:
    """Check outputs (n, classes) and return them in float64; all samples may have the same output."""
    x = check_representation(x, double=True, constant=True)
    if x.shape[1] < 2:
        raise UndefinedError("outputs are (samples, classes) with at least 2 classes; these have 1 column")
    return x


class Functional(Measure):
    """A measure of outputs; it has no meaning for a hidden layer."""

    compares: ClassVar = "outputs"
    min_samples: ClassVar[int] = 1

    def prepare_flops(self, n: int, p: int) -> float:
        return 200.0 * n * p

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 200.0 * n * p

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * p


def check_same_classes(p: int, q: int) -> None:
    if p != q:
        raise UndefinedError(f"outputs must be over the same classes; they have {p} and {q} columns")


def _probabilities(measure: Measure, x: Array) -> Array:
    """Check that every row is a distribution, up to two digits of each number, and bring its sum to 1."""
    xp = array_api_compat.array_namespace(x)
    total = xp.sum(x, axis=1)
    if bool(xp.any(x < 0)) or float(xp.max(xp.abs(total - 1))) > _rounding_of_sum(x):
        hint = (
            "These look like percent: divide them by 100."
            if _sum_to(x, 100)
            else f"For logits use {type(measure).__name__}(inputs='logits')."
        )
        raise UndefinedError(
            f"probabilities must be at least 0 and sum to 1 in every row; the smallest is {float(xp.min(x)):.3g} and"
            f" rows sum to {float(xp.min(total)):.3g} up to {float(xp.max(total)):.3g}. {hint}"
        )
    return x / total[:, None]


def _logits(measure: Measure, x: Array) -> Array:
    """Refuse logits that look like probabilities or percent, since their softmax is another, flatter distribution."""
    name = type(measure).__name__
    for whole, what, then in ((1, "probabilities", ""), (100, "percent", " after dividing by 100")):
        if _sum_to(x, whole):
            raise UndefinedError(
                f"{name} expects logits; these outputs look like {what}: none is below 0, and every row sums to"
                f" {whole}. Use {name}(inputs='probabilities'){then}. (If they are logits by chance, subtract 1 from"
                " them: that changes no softmax.)"
            )
    return x


def _sum_to(x: Array, whole: float) -> bool:
    """Return whether no number is below 0 and every row sums to `whole`, up to two digits of each number."""
    xp = array_api_compat.array_namespace(x)
    return not bool(xp.any(x < 0)) and float(xp.max(xp.abs(xp.sum(x, axis=1) / whole - 1))) <= _rounding_of_sum(x)


def _rounding_of_sum(x: Array) -> float:
    """Return by how much a row of probabilities with two digits each may miss its sum."""
    return min(0.001 + 0.005 * x.shape[1], 0.1)


@dataclass(frozen=True, kw_only=True)
class _Divergence(Functional):
    """A divergence between predicted distributions, mean over samples."""

    inputs: Literal["logits", "probabilities"] = "logits"

    kind: ClassVar = "dissimilarity"

    def __post_init__(self) -> None:
        check_choice(self.inputs, f"inputs of {type(self).__name__}", ("logits", "probabilities"))


@dataclass(frozen=True, kw_only=True)
class JSD(_Divergence):
    """Jensen-Shannon divergence between the class probabilities that two models predict.

    A functional measure: it compares outputs (samples, classes). It is symmetric and always finite.

    Parameters
    ----------
    inputs : {"logits", "probabilities"}
        What the outputs are. Of logits the softmax is taken. Rows that look like probabilities are refused as logits.

    Notes
    -----
    The mean over samples of (KL(p, m) + KL(q, m)) / 2, where p and q are the two distributions of a sample and
    m = (p + q) / 2; 0 · log 0 counts as 0. The unit is nats. `scipy.spatial.distance.jensenshannon` is the square root.

    Range 0 to log 2 = 0.693; larger is less alike. No transformation of the outputs leaves it unchanged, except one
    order of classes for both sides. One sample is enough. Cost: time and memory proportional to samples times classes.

    Misleads when two models differ in confidence only: the same predicted classes with a sharper softmax give a large
    divergence. Two models that are sure and right on easy samples are close, whatever else they compute.

    References
    ----------
    Lin 1991, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    >>> y = np.array([[1.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    >>> round(rs.measures.JSD()(x, y), 3)
    0.04
    """

    range: ClassVar[tuple[float, float]] = (0.0, float(np.log(2)))

    def prepare(self, x: Array) -> Array:
        # returns the probabilities (n, classes) in float64
        x = check_outputs(x)
        if self.inputs == "probabilities":
            return _probabilities(self, x)
        x, xp = _logits(self, x), array_api_compat.array_namespace(x)
        x = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return x / xp.sum(x, axis=1, keepdims=True)

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def pair(self, a: Array, b: Array) -> float:
        check_same_classes(a.shape[1], b.shape[1])
        xp = array_api_compat.array_namespace(a, b)
        m = (a + b) / 2
        m = xp.where(m > 0, m, xp.ones_like(m))

        def kl(p: Array) -> Array:
            return xp.sum(p * xp.log(xp.where(p > 0, p / m, xp.ones_like(p))), axis=1)

        return float(xp.mean(kl(a) + kl(b)) / 2)


class Distribution(NamedTuple):
    """Predicted distributions.

    Attributes
    ----------
    p : array (n, classes)
        Probabilities.
    log : array (n, classes)
        Their logarithms; -inf only if a given probability is 0.
    """

    p: Array
    log: Array


@dataclass(frozen=True, kw_only=True)
class KL(_Divergence):
    """Kullback-Leibler divergence of the class probabilities of model y from those of model x.

    A functional measure: it compares outputs (samples, classes). It is not symmetric.

    Parameters
    ----------
    inputs : {"logits", "probabilities"}
        What the outputs are. Logits are turned into logarithms of probabilities in one step, so that no probability is
        rounded to 0. Rows that look like probabilities are refused as logits.

    Raises
    ------
    UndefinedError
        If y gives probability 0 to a class of a sample to which x does not: the divergence is infinite.

    Notes
    -----
    The mean over samples of the sum over classes of p · log(p / q), where p comes from x and q from y; 0 · log 0 counts
    as 0. The unit is nats. It is the cost of predicting q when p is right.

    Range from 0, without an upper end; larger is less alike. No transformation of the outputs leaves it unchanged,
    except one order of classes for both sides. One sample is enough. Cost: time and memory proportional to samples
    times classes.

    Misleads when a few samples have a very small probability on the y side: each adds without bound, so that the mean
    shows these few. `JSD` is bounded.

    References
    ----------
    Kullback, Leibler 1951, "On information and sufficiency", Annals of Mathematical Statistics.

    Examples
    --------
    >>> x = np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    >>> y = np.array([[1.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    >>> round(rs.measures.KL()(x, y), 3), round(rs.measures.KL()(y, x), 3)
    (0.151, 0.189)
    """

    symmetric: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))

    def prepare(self, x: Array) -> Distribution:
        # returns the probabilities and their logarithms (n, classes) in float64
        x = check_outputs(x)
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
        check_same_classes(a.p.shape[1], b.p.shape[1])
        xp = array_api_compat.array_namespace(a.p)
        impossible = (a.p > 0) & (b.log == -xp.inf)
        if bool(xp.any(impossible)):
            sample, label = (int(i) for i in np.argwhere(to_numpy(impossible))[0])
            raise UndefinedError(
                f"at sample {sample} the second side gives class {label} the probability 0 and the first side"
                f" {float(a.p[sample, label]):.3g}, so the divergence is infinite"
                f" ({int(xp.sum(xp.astype(impossible, xp.int64)))} such cells in all). jsd is always finite"
            )
        zero = xp.zeros_like(a.p)
        log_ratio = xp.where(a.p > 0, a.log, zero) - xp.where(a.p > 0, b.log, zero)
        return float(xp.mean(xp.sum(a.p * log_ratio, axis=1)))
