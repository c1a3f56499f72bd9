"""Measures of what is left after one representation is rotated to the other: Procrustes, and its cosine, NBS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_choice, check_representation

from .arrays import centred_unit, reduce_features
from .base import NO_LINEAR, Measure
from .losses import nuclear_norm, procrustes_value
from .polar import polar_nuclear_norms

if TYPE_CHECKING:
    import torch


class Aligned(Measure):
    """A measure that depends on two representations by the nuclear norm of their product."""

    invariant_to: ClassVar[frozenset[str]] = NO_LINEAR

    def prepare(self, x: Array) -> Array:
        # returns the centred representation at unit Frobenius norm, (n, min(n, p)) in float64
        return reduce_features(centred_unit(check_representation(x, min_samples=self.min_samples, double=True)))

    def permute(self, a: Array, order: np.ndarray) -> Array:
        return a[order]

    def prepare_flops(self, n: int, p: int) -> float:
        return 10.0 * n * p + (8.0 * p * n * n if p > n else 0)

    def pair_flops(self, n: int, p: int, q: int) -> float:
        p, q = min(n, p), min(n, q)
        return 4.0 * n * p * q + 30.0 * p * q * min(p, q)

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        return 8.0 * n * min(n, p)


def overlap(a: Array, b: Array) -> float:
    """Return the nuclear norm of aᵀb: the inner product of both after the best rotation, whatever their widths."""
    xp = array_api_compat.array_namespace(a, b)
    if a is b:  # aᵀa has no negative eigenvalue, so its nuclear norm is its trace
        return float(xp.sum(a * a))
    product = a.T @ b
    if array_api_compat.is_torch_array(product) and product.device.type != "cpu":
        return float(polar_nuclear_norms(product))
    return float(xp.sum(xp.linalg.svdvals(product)))


def shape_distance(s: float, form: str) -> float:
    """Return the squared distance, the distance or the angle of two representations of unit norm with this overlap."""
    if form == "angle":
        return math.acos(min(max(s, -1.0), 1.0))
    return 2 - 2 * s if form == "squared" else math.sqrt(max(2 - 2 * s, 0.0))


@dataclass(frozen=True, kw_only=True)
class Procrustes(Aligned):
    """Orthogonal Procrustes: how far two representations are apart after the best rotation of one onto the other.

    The widths of the two representations may differ.

    Parameters
    ----------
    form : {"squared", "distance", "angle"}
        "squared" is the squared distance, in [0, 2]; "distance" its root, in [0, 1.41]; "angle" the angle between both
        in radians, in [0, 1.57]. The distance and the angle are metrics (they obey the triangle inequality).

    Notes
    -----
    Both representations are centred (the mean of each feature is subtracted) and scaled to Frobenius norm 1. With s the
    nuclear norm of XᵀY (the sum of its singular values), the squared distance is 2 - 2s, and the angle is arccos s. It
    is computed in float64. Rounding beyond 1 is clipped in the root and in the angle, and a root makes 1e-8 of a
    rounding of 1e-16, so two equal representations may be that far apart.

    Range from 0 to 2, 1.41 or 1.57, by the form; larger is less alike. Invariant to permutations and rotations of the
    features, scaling and translation. Needs at least 3 samples. Cost: a singular value decomposition of a matrix of
    features by features (at most samples by samples) for each pair.

    Misleads when features outnumber samples: two unrelated representations then come close to each other, since a
    rotation finds agreement everywhere. Directions with a large variance decide the value, and changes in small ones
    hardly show.

    References
    ----------
    Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem", Psychometrika.
    Ding, Denain, Steinhardt 2021, "Grounding representation similarity with statistical testing", NeurIPS.
    Williams, Kunz, Kornblith, Linderman 2021, "Generalized shape metrics on neural representations", NeurIPS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> measure = rs.measures.Procrustes()
    >>> round(measure(x, 3 * x @ rotation), 6), round(measure(x, rng.normal(size=(100, 5))), 1)
    (0.0, 1.6)
    """

    form: Literal["squared", "distance", "angle"] = "squared"

    kind: ClassVar = "dissimilarity"

    def __post_init__(self) -> None:
        check_choice(self.form, "form of Procrustes", ("squared", "distance", "angle"))

    @property
    def is_metric(self) -> bool:  # type: ignore[override]
        return self.form != "squared"

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, {"squared": 2.0, "distance": math.sqrt(2), "angle": math.pi / 2}[self.form]

    def pair(self, a: Array, b: Array) -> float:
        return shape_distance(overlap(a, b), self.form)

    @property
    def has_loss(self) -> bool:
        return True

    def _torch_value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return procrustes_value(x, y, self.form)


@dataclass(frozen=True, kw_only=True)
class NBS(Aligned):
    """Normalised Bures similarity: how well two representations agree after the best rotation of one onto the other.

    It is the cosine of the angle of `Procrustes`. It has no options.

    Notes
    -----
    The nuclear norm of XᵀY (the sum of its singular values), where both representations are centred and scaled to
    Frobenius norm 1.

    Range 0 to 1; larger is more alike. Invariant to permutations and rotations of the features, scaling and
    translation. Needs at least 3 samples. Cost: a singular value decomposition of a matrix of features by features (at
    most samples by samples) for each pair.

    Misleads when features outnumber samples: two unrelated representations then have a value near 1, since a rotation
    finds agreement everywhere. Directions with a large variance decide the value.

    References
    ----------
    Tang, Maddox, Dickens, Diethe, Damianou 2020, "Similarity of neural networks with gradients", arXiv 2003.11498.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> measure = rs.measures.NBS()
    >>> few, many = rng.normal(size=(2, 100, 5)), rng.normal(size=(2, 100, 1000))
    >>> round(measure(*few), 1), round(measure(*many), 1)  # unrelated, with few and with many features
    (0.2, 1.0)
    """

    kind: ClassVar = "similarity"

    def pair(self, a: Array, b: Array) -> float:
        return overlap(a, b)

    @property
    def has_loss(self) -> bool:
        return True

    def _torch_value(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nuclear_norm(x, y)
