"""Squared distances between samples: from products of features, and exact if their difference has no digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import check_stopped

from .arrays import eps, to_float64

_BLOCK = 2**20  # numbers of differences held at a time
_COPIES = 32  # cells of a sample from which on copies are looked for first, such as samples that are all 0
_Put: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], None]  # rows, columns, values


def squared_distances(
    products: Array, left: Array, right: Array, rows: Array, columns: Array, scale: float = 1.0
) -> Array:
    """Compute squared distances ‖x_i‖² + ‖y_j‖² - 2⟨x_i, y_j⟩ from products of centred samples, which it overwrites.

    left, right: the squared lengths of the centred samples.  rows, columns: the samples as they came, (m, p) and
    (n, p); one object for distances within the same samples.  scale: what they were divided by.

    A distance that may be rounding of these lengths is computed again, from the samples as they came: copies are at
    distance 0, and near repeats at their own distance.
    """
    xp = array_api_compat.array_namespace(products)
    lengths = left[:, None] + right[None, :]
    products *= -2
    products += lengths
    lengths *= 8 * eps(products) * rows.shape[1] ** 0.5  # what may be rounding
    near = np.array(to_numpy(products <= lengths))
    del lengths

    def put(i: np.ndarray, j: np.ndarray, values: np.ndarray) -> None:
        device = array_api_compat.device(products)
        at = tuple(xp.asarray(place, device=device) for place in (i, j))
        products[at] = xp.asarray(values, dtype=products.dtype, device=device)

    if rows is columns:
        np.fill_diagonal(near, False)
        near |= near.T
        own = np.arange(len(near))
        put(own, own, np.zeros(len(near)))
    if near.any():
        _compute_again(rows, columns, scale, near, put)
    return products


def rounding_of(length: float, spacing: float) -> float:
    """Return the squared distance below which samples of this squared length differ by the rounding of numbers."""
    return (8 * spacing) ** 2 * length


def _compute_again(rows: Array, columns: Array, scale: float, near: np.ndarray, put: _Put) -> None:
    """Compute the squared distances of these cells (bool, (m, n)) from differences of samples; copies are at 0."""
    mantissa, exponent = math.frexp(scale)  # a division by a power of 2 is exact, and no square overflows
    i, j = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    near = near[np.ix_(i, j)]
    one = np.ldexp(to_float64(rows[i]), -exponent)
    other = one if rows is columns else np.ldexp(to_float64(columns[j]), -exponent)

    def put_some(a: np.ndarray, b: np.ndarray, values: np.ndarray) -> None:
        put(i[a], j[b], values / mantissa**2)

    if near.sum(axis=1).max() >= _COPIES:
        copies = near & np.equal.outer(*_same_rows(one, other))
        a, b = np.nonzero(copies)
        put_some(a, b, np.zeros(len(a)))
        near &= ~copies
    a, b = np.nonzero(np.triu(near) if one is other else near)
    step = max(1, _BLOCK // one.shape[1])
    for start in range(0, len(a), step):
        check_stopped()
        some = a[start : start + step], b[start : start + step]
        values = one[some[0]] - other[some[1]]
        values = np.einsum("ij,ij->i", values, values)
        put_some(*some, values)
        if one is other:
            put_some(some[1], some[0], values)


def _same_rows(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a code of each row; rows with one code are copies."""
    both = np.ascontiguousarray(one if one is other else np.concatenate([one, other]))
    codes = np.unique(both.view(np.dtype((np.void, both.itemsize * both.shape[1])))[:, 0], return_inverse=True)[1]
    codes = codes.reshape(-1)
    return codes[: len(one)], codes[-len(other) :]
