"""Facts of one representation for `diagnose`: spectrum, distances from the mean, repeats."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from repsim_nb.measures.arrays import centred_unit, eps, reduce_features, smallest_direction
from repsim_nb.measures.feature_sampling import corrected_participation_ratio
from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation, to_numpy

# the most multiplications for the inner products of one side, about a second on one core with all that follows
MAX_MULTIPLICATIONS = 1e10
# fraction of cka from one component, at which cka of the data and that component alone is .95. Trained layers on their
# own data reach .86 (an output of 10 classes)
DOMINANT_FRACTION = 0.9
# an outlier is at least so many median distances from the mean, and above the median distance by so many standard
# deviations (estimated from the median deviation). Layers of the zoo reach 4.1 and 11
OUTLIER_MEDIANS, OUTLIER_DEVIATIONS = 5.0, 8.0


class Side(NamedTuple):
    """One representation with the quantities that `diagnose` needs.

    n: the number of samples in all. raw: the samples looked at. x: the same, centred and of unit norm (s, p), so that
    the variances sum to 1. products: inner products of samples or of features, whichever are fewer. first, scores: the
    fraction of variance of the first component, and the scores of the samples on it.
    """

    name: str
    n: int
    raw: np.ndarray
    x: np.ndarray
    products: np.ndarray
    first: float
    scores: np.ndarray
    rank: int
    facts: dict[str, Any]

    @property
    def spread(self) -> float:
        """The participation ratio (Σλ)²/Σλ²."""
        return 1 / float(np.vdot(self.products, self.products))

    @property
    def by_samples(self) -> bool:
        """Whether `products` are of samples."""
        return self.x.shape[1] >= self.x.shape[0]

    @property
    def is_dominated(self) -> bool:
        """Whether cka depends almost only on one component, of several units."""
        return (
            self.facts["first component, of cka"] >= DOMINANT_FRACTION
            and self.facts["features"] - self.facts["dead units"] > 1
        )


def affordable_samples(n: int, p: int) -> int:
    """Return the number of samples whose inner products take MAX_MULTIPLICATIONS or fewer."""
    if n * p * min(n, p) <= MAX_MULTIPLICATIONS:
        return n
    by_features = MAX_MULTIPLICATIONS / p**2
    return max(100, int(by_features if by_features >= p else math.sqrt(MAX_MULTIPLICATIONS / p)))


def describe_side(name: str, looked_at: Array, n: int, places: np.ndarray) -> Side:
    """Compute the facts of one representation. looked_at: the samples to look at. places: their rows among all n."""
    checked = check_representation(looked_at)
    smallest = smallest_direction(checked)
    raw = to_numpy(checked)
    constant = np.all(raw == raw[0], axis=0)
    x = centred_unit(raw.astype(np.float64))
    s, p = x.shape
    products = x @ x.T if p >= s else x.T @ x
    values = np.linalg.eigvalsh(products)[::-1]
    last = len(products) - 1
    vector = eigh(products, subset_by_index=[last, last])[1][:, 0]
    scores = vector if p >= s else x @ vector
    scores = scores / np.linalg.norm(scores)
    distances = np.sqrt(np.einsum("ij,ij->i", x, x))
    median = float(np.median(distances))
    rank = _rank(x, values, max(smallest, max(x.shape) * eps(x)))
    facts = {
        "samples": n,
        "samples looked at": s,
        "features": p,
        "rank": rank,
        "participation ratio": 1 / float(np.vdot(products, products)),
        "participation ratio, corrected": corrected_participation_ratio(x, products),
        "first component, of variance": float(values[0]),
        "first component, of cka": float(values[0] ** 2 / np.vdot(products, products)),
        "furthest sample": int(places[distances.argmax()]),
        "its distance in medians": float(distances.max() / median) if median > 0 else math.inf,
        "outliers": tuple(places[_outliers(distances, median)].tolist()),
        "repeated samples": tuple((int(places[i]), int(places[j])) for i, j in _repeats(raw)),
        "dead units": int(constant.sum()),
        "repeated units": len(_repeats(np.ascontiguousarray(raw[:, ~constant].T))),
    }
    return Side(name, n, raw, x, products, float(values[0]), scores, rank, facts)


def _outliers(distances: np.ndarray, median: float) -> np.ndarray:
    """Return the rows of the samples that are far from the mean, the furthest first."""
    deviation = 1.4826 * float(np.median(np.abs(distances - median)))  # a standard deviation, if they were normal
    far = np.flatnonzero((distances > OUTLIER_MEDIANS * median) & (distances > median + OUTLIER_DEVIATIONS * deviation))
    return far[np.argsort(-distances[far], kind="stable")]


def _repeats(rows: np.ndarray) -> list[tuple[int, int]]:
    """Return each row that equals an earlier one exactly, with the first of these."""
    seen: dict[int, int] = {}
    # adding 0 turns -0 into 0
    firsts = [seen.setdefault(hash(row.tobytes()), i) for i, row in enumerate(rows + np.zeros((), rows.dtype))]
    return [(i, first) for i, first in enumerate(firsts) if first != i]


def _rank(x: np.ndarray, values: np.ndarray, smallest: float) -> int:
    """Return the numerical rank of centred samples, as CCA does; by singular values if squares are too coarse."""
    most = min(x.shape[0] - 1, x.shape[1])
    if values[most - 1] > 1e-10 * values[0]:
        return most
    return min(most, int(np.sum(np.linalg.svd(reduce_features(x), compute_uv=False) > smallest)))
