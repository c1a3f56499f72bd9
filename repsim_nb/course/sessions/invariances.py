"""Session 2: invariances, and CKA written by hand."""

from __future__ import annotations

import numpy as np

from repsim_nb import measures
from repsim_nb.course.exercises import Session

session = Session("invariances", "Invariances, and CKA written by hand")


def one_representation(rng: np.random.Generator) -> tuple[np.ndarray]:
    n, p = rng.integers(6, 12, size=2)
    return (rng.normal(size=(n, p)) + rng.normal(size=p),)


def two_representations(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, p, q = rng.permutation(np.arange(7, 13))[:3]
    x = rng.normal(size=(n, p))
    y = x @ rng.normal(size=(p, q)) / 2 + rng.normal(size=(n, q))
    return x + rng.normal(size=p), y + rng.normal(size=q)


@session.exercise(minutes=3, inputs=one_representation)
def centre(x: np.ndarray) -> np.ndarray:
    """Subtract from each feature its mean over the samples."""
    return x - x.mean(0)


@centre.mistake(
    "rows and columns exchanged",
    "You subtract from each sample its mean over the features. Rows are samples: take the mean over axis 0.",
)
def _(x: np.ndarray) -> np.ndarray:
    return x - x.mean(1, keepdims=True)


@centre.mistake(
    "one mean for all",
    "You subtract one number from all features. Each feature has a mean of its own, over the samples.",
)
def _(x: np.ndarray) -> np.ndarray:
    return x - x.mean()


@centre.mistake("standardised", "You also divide by the standard deviation. Centring only subtracts the mean.")
def _(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / x.std(0)


@session.exercise(minutes=8, inputs=two_representations)
def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA of two representations."""
    return float(measures.get("cka")(x, y))


@linear_cka.mistake("not centred", "Subtract from each feature its mean over the samples before you multiply.")
def _(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
