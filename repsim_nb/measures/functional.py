"""Functional measures: how alike are two networks' outputs (n, classes)? The columns mean something, so nothing may rotate them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np
from scipy.stats import rankdata

from ..errors import UndefinedError
from .base import Array, Measure, enter


def _outputs(x: Array) -> Array:
    """(n, classes) in float64; a network may give all samples the same output."""
    x = enter(x, double=True, constant=True)
    if x.shape[1] < 2:
        raise UndefinedError("outputs are (samples, classes) with at least 2 classes; it has 1 column")
    return x


class _Functional(Measure):
    """Compares outputs, so it has no meaning on a hidden layer."""

    of: ClassVar = "outputs"
    least: ClassVar[int] = 1


def _same_classes(a: Array, b: Array) -> None:
    if a.shape[1] != b.shape[1]:
        raise UndefinedError(f"outputs must be over the same classes; they have {a.shape[1]} and {b.shape[1]} columns")


@dataclass(frozen=True, kw_only=True)
class JSD(_Functional):
    """Jensen-Shannon divergence of the predicted distributions, mean over samples, in nats.

    (KL(p‖m) + KL(q‖m))/2 with m = (p + q)/2 and 0·log 0 = 0. inputs: "logits" (softmax is taken here) or "probabilities".
    Range 0 to log 2 = 0.693 nats. (SciPy's `jensenshannon` is its square root.)  [Lin 1991]
    """

    inputs: Literal["logits", "probabilities"] = "logits"

    kind: ClassVar = "dissimilarity"
    range: ClassVar[tuple[float, float]] = (0.0, float(np.log(2)))

    def __post_init__(self) -> None:
        if self.inputs not in ("logits", "probabilities"):
            raise ValueError(f"JSD takes inputs='logits' or 'probabilities'; got {self.inputs!r}")

    def prepare(self, x: Array) -> Array:
        """-> probabilities (n, classes), float64."""
        x = _outputs(x)
        xp = array_api_compat.array_namespace(x)
        if self.inputs == "logits":
            x = xp.exp(x - xp.max(x, axis=1, keepdims=True))
            return x / xp.sum(x, axis=1, keepdims=True)
        total = xp.sum(x, axis=1)
        if bool(xp.any(x < 0)) or float(xp.max(xp.abs(total - 1))) > 1e-3:
            raise UndefinedError(f"probabilities are at least 0 and sum to 1 in every row; here the smallest is {float(xp.min(x)):.3g} and rows sum to "
                             f"{float(xp.min(total)):.3g} up to {float(xp.max(total)):.3g}. For logits use JSD(inputs='logits')")
        return x

    def pair(self, a: Array, b: Array) -> float:
        _same_classes(a, b)
        xp = array_api_compat.array_namespace(a, b)
        m = (a + b) / 2
        m = xp.where(m > 0, m, xp.ones_like(m))

        def kl(p: Array) -> Array:
            return xp.sum(p * xp.log(xp.where(p > 0, p / m, xp.ones_like(p))), axis=1)

        return float(xp.mean(kl(a) + kl(b)) / 2)


@dataclass(frozen=True, kw_only=True)
class Disagreement(_Functional):
    """The share of samples to which the two networks give different classes (the largest output; of equals the first).

    Range 0 to 1; obeys the triangle inequality.
    """

    kind: ClassVar = "dissimilarity"
    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})
    is_metric: ClassVar[bool] = True

    def prepare(self, x: Array) -> tuple[Array, int]:
        """-> (the predicted classes (n,), the number of classes)."""
        x = _outputs(x)
        return array_api_compat.array_namespace(x).argmax(x, axis=1), x.shape[1]

    def pair(self, a: tuple[Array, int], b: tuple[Array, int]) -> float:
        if a[1] != b[1]:
            raise UndefinedError(f"outputs must be over the same classes; they have {a[1]} and {b[1]} columns")
        xp = array_api_compat.array_namespace(a[0])
        return float(xp.mean(xp.astype(a[0] != b[0], xp.float64)))


class Ranks(NamedTuple):
    """unit: each sample's ranks, centred and at unit length (n, classes); valid: False where all outputs of a sample are equal."""

    unit: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OutputRank(_Functional):
    """The thesis's rank coefficient: Spearman's ρ between the two output vectors of each sample, mean over samples.

    A sample whose outputs are all equal has no ranks: it is left out, and a warning counts how many were. With two classes each
    sample gives ±1, so the mean is 2·agreement - 1. Range -1 to 1.  [Yellapragada 2020]
    """

    kind: ClassVar = "similarity"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    invariant_to: ClassVar[frozenset[str]] = frozenset({"scaling"})

    def prepare(self, x: Array) -> Ranks:
        x = np.asarray(array_api_compat.to_device(_outputs(x), "cpu"))
        ranks = rankdata(x, axis=1)
        ranks -= ranks.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
        valid = lengths[:, 0] > 0
        return Ranks(ranks / np.where(lengths > 0, lengths, 1), valid)

    def pair(self, a: Ranks, b: Ranks) -> float:
        _same_classes(a.unit, b.unit)
        valid = a.valid & b.valid
        if not valid.any():
            raise UndefinedError("every sample has constant outputs on one side, and a constant has no ranks")
        if not valid.all():
            warnings.warn(f"output_rank: {(~valid).sum()} of {len(valid)} samples have constant outputs on one side and are left out", stacklevel=4)
        return float(np.mean(np.sum(a.unit[valid] * b.unit[valid], axis=1)))
