"""How RSA compares two matrices: names, whitened dissimilarities, and Kendall's τ_a."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_choice, to_numpy

from .arrays import normalize, off_diagonal

First = Literal["correlation", "cosine", "dot", "euclidean", "squared_euclidean"]
Second = Literal[
    "spearman",
    "rho_a",
    "tau_a",
    "pearson",
    "cosine",
    "whitened_cosine",
    "whitened_pearson",
    "row_cosine",
    "row_pearson",
]
FIRST: tuple[First, ...] = get_args(First)
SECOND: tuple[Second, ...] = get_args(Second)
DISTANCES = ("euclidean", "squared_euclidean")  # larger is less alike; the others are similarities
RANKED = ("spearman", "rho_a", "tau_a")
WHITENED = ("whitened_cosine", "whitened_pearson")
ALIKE = "all pairs of samples are equally alike"


def check_orders(first: str, second: str, *, diagonal: bool) -> None:
    """Raise ValueError for options of RSA that are unknown, or have no meaning together."""
    check_choice(first, "first of RSA", FIRST)
    check_choice(second, "second of RSA", SECOND)
    if diagonal and second in ("rho_a", "tau_a", *WHITENED):
        raise ValueError(
            f"second='{second}' of RSA compares pairs of different samples, and diagonal is True. Use diagonal=False."
        )
    if second in WHITENED and first == "dot":
        raise ValueError(
            f"second='{second}' of RSA compares dissimilarities, and 'dot' is none. Use first='squared_euclidean':"
            " its whitened cosine is linear CKA."
        )


def whiten(matrix: Array, second: str, rounding: float) -> Array:
    """Return dissimilarities (n, n), with the means of rows and columns subtracted, as a unit vector (n²,).

    For "whitened_pearson" the mean of all pairs is subtracted first.  rounding: the fraction of the largest number that
    may be rounding.
    """
    xp, n = array_api_compat.array_namespace(matrix), matrix.shape[0]
    matrix = matrix * off_diagonal(matrix)
    floor = rounding * float(xp.max(xp.abs(matrix)))
    if second == "whitened_pearson":
        matrix = (matrix - xp.sum(matrix) / (n * (n - 1))) * off_diagonal(matrix)
        if float(xp.max(xp.abs(matrix))) <= floor:
            raise UndefinedError(ALIKE)
    means = xp.mean(matrix, axis=0)
    matrix = matrix - means[:, None] - means[None, :] + xp.mean(means)
    return normalize(xp.reshape(matrix, (-1,)), ALIKE, floor)


def tau_a(a: Array, b: Array) -> float:
    """Return Kendall's τ_a of the ranks of all pairs of samples: concordant less discordant, divided by all."""
    from scipy.stats import kendalltau  # here: it takes a quarter of a second to import

    sides: list[Any] = [to_numpy(side) for side in (a, b)]
    many = len(a) * (len(a) - 1) / 2
    untied = [many - float(np.sum(m * (m - 1) / 2)) for m in (np.unique(s, return_counts=True)[1] for s in sides)]
    if a is b:
        return untied[0] / many
    # τ_b divides by the root of the numbers of pairs that are not tied on each side
    return float(kendalltau(*sides).statistic) * math.sqrt(untied[0] * untied[1]) / many
