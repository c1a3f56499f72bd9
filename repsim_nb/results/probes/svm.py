"""Linear support vector machines, each class against the others, all fitted together by Newton's method."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from repsim_nb.support.errors import warn_user
from repsim_nb.support.workers import single_threaded_blas

PRECISION = 1e-4  # the largest distance of weights from the minimum, as a fraction of their length
MOST_STEPS = 100
CONJUGATE_STEPS = 30  # about as many solve a system at the speed of a direct solution, to compare costs
MOST_CONJUGATE = 300  # conjugate gradients, then a system is solved directly
ROUGHLY = 0.01  # the error of a direct solution in float32, as a fraction, that a step of Newton's method allows
MOST_PRODUCTS = 4000  # rows whose products with each other are computed once


def fit_against_rest(
    x: np.ndarray, true: np.ndarray, classes: int, cost: float, tick: Callable[[int, int], None]
) -> np.ndarray:
    """Return the weights (p + 1, classes) of one SVM for each class against the others; the last row has intercepts.

    The function of LinearSVC(dual=False): |w|² / 2 + cost Σ max(0, 1 - y (x w))², with a feature of ones for the
    intercept.

    Notes
    -----
    Newton's method with exact steps along a line: only rows with y (x w) < 1 count in the second derivative [1]_. A
    system with few such rows, or with all rows, is solved directly; the others by conjugate gradients, all in one
    matrix product, with one Cholesky factor for all classes and steps.

    References
    ----------
    .. [1] Keerthi and DeCoste 2005, A modified finite Newton method for fast solution of large scale linear SVMs,
       Journal of Machine Learning Research.
    """
    rows = np.column_stack([x, np.ones(len(x))])
    sign = np.where(true[:, None] == np.arange(classes), 1.0, -1.0)
    weights, scores = np.zeros((rows.shape[1], classes)), np.zeros((len(x), classes))
    rounding = 1e-13 * 2 * cost * np.linalg.norm(rows, axis=1).sum()
    first, system = np.empty(0), _Systems(rows, cost)
    with single_threaded_blas():
        for _ in range(MOST_STEPS):
            margin = 1 - sign * scores
            slope = weights - 2 * cost * (rows.T @ (sign * margin.clip(min=0)))
            length = np.linalg.norm(slope, axis=0)
            first = first if first.size else length
            # the distance from the minimum is at most the length of the gradient, since the function is that convex
            left = np.flatnonzero(length > PRECISION * np.linalg.norm(weights, axis=0) + rounding)
            still = partial(tick, classes - len(left), classes)
            still()
            if not len(left):
                return weights
            precision = np.sqrt(length[left] / first[left]).clip(max=0.1)
            direction, change = system.solve(-slope[:, left], margin[:, left] > 0, precision, still)
            size = _best_size(weights[:, left], direction, margin[:, left], sign[:, left] * change, cost)
            weights[:, left] += size * direction
            scores[:, left] += size * change
    warn_user(f"the SVMs of {len(left)} classes did not converge in {MOST_STEPS} steps. Use scaling or a smaller cost.")
    return weights


class _Systems:
    """Systems (1 + 2 cost Σ x x') d = r, with the sum over some of the rows x."""

    def __init__(self, rows: np.ndarray, cost: float) -> None:
        self._rows, self._cost = rows, cost
        self._factor: tuple[np.ndarray, bool] | None = None
        self._products: np.ndarray | None = None
        if len(rows) < min(MOST_PRODUCTS, 4 * rows.shape[1]):
            single = rows.astype(np.float32)
            self._products = single @ single.T

    def solve(
        self, right: np.ndarray, counts: np.ndarray, precision: np.ndarray, tick: Callable[[], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return d and the rows' products with it, for each column of `right`; counts: the rows that count."""
        found, every = np.empty_like(right), counts.all(axis=0)
        rest = np.ones(right.shape[1], dtype=bool)
        if self._products is not None and every.any():  # one system
            found[:, every] = self._directly(right[:, every], counts[:, np.argmax(every)])
            rest[every] = False
        for column in np.flatnonzero(rest & self._is_direct(counts)):
            tick()
            found[:, column], rest[column] = self._directly(right[:, column], counts[:, column]), False
        if rest.any():
            found[:, rest] = self._by_conjugate_gradients(right[:, rest], counts[:, rest], precision[rest], tick)
        return found, self._rows @ found

    def _is_direct(self, counts: np.ndarray) -> np.ndarray:
        """Return for which columns a factor of their own takes fewer operations than conjugate gradients."""
        n, p = self._rows.shape
        many = counts.sum(axis=0).astype(float)
        factor = 0.0 if self._factor is not None else (n * p**2 + p**3 / 3) / counts.shape[1]
        products = many**2 * p if self._products is None else 0.0
        return products + many**3 / 3 < factor + CONJUGATE_STEPS * 4 * n * p

    def _directly(self, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Solve in the space of the rows that count, by the identity of Woodbury.

        The factor is in float32; if that is not enough for a step of Newton's method, it is computed in float64.
        """
        places = np.flatnonzero(counts)
        some = self._rows if len(places) == len(counts) else self._rows[places]
        image = some @ right
        if self._products is not None:
            inner = self._products[np.ix_(places, places)]
            with contextlib.suppress(np.linalg.LinAlgError):
                found = right - some.T @ self._solve_inner(inner, image)
                rest = right - found - 2 * self._cost * (some.T @ (some @ found))
                if np.linalg.norm(rest) <= ROUGHLY * np.linalg.norm(right):
                    return found
        if len(places) < len(right):
            return right - some.T @ self._solve_inner(some @ some.T, image)
        inner = 2 * self._cost * (some.T @ some)
        inner[np.diag_indices(len(right))] += 1
        return _solve(inner, right, 1.0)

    def _solve_inner(self, inner: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Solve (1 / (2 cost) + inner) a = image; `inner` is overwritten."""
        least = 1 / (2 * self._cost)
        inner[np.diag_indices(len(inner))] += least
        return _solve(inner, image.astype(inner.dtype), least).astype(float)

    def _by_conjugate_gradients(
        self, right: np.ndarray, counts: np.ndarray, precision: np.ndarray, tick: Callable[[], None]
    ) -> np.ndarray:
        """Solve for all columns together, each up to its own precision."""
        rows, found, weight = self._rows, np.zeros_like(right), 2 * self._cost * counts
        aim = precision * np.linalg.norm(right, axis=0)
        left, rest = np.arange(right.shape[1]), right.copy()
        turned = self._precondition(rest)
        way, size = turned.copy(), np.sum(rest * turned, axis=0)
        for _ in range(MOST_CONJUGATE):
            tick()
            image = way + rows.T @ (weight[:, left] * (rows @ way))
            step = size / np.sum(way * image, axis=0)
            found[:, left] += step * way
            rest -= step * image
            go_on = np.linalg.norm(rest, axis=0) > aim[left]
            if not go_on.any():
                return found
            left, rest, way, size = left[go_on], rest[:, go_on], way[:, go_on], size[go_on]
            turned = self._precondition(rest)
            before, size = size, np.sum(rest * turned, axis=0)
            way = turned + size / before * way
        for column in left:  # badly conditioned
            found[:, column] = self._directly(right[:, column], counts[:, column])
        return found

    def _precondition(self, right: np.ndarray) -> np.ndarray:
        """Solve the system in which each row counts half."""
        if self._factor is None:
            inner = self._cost * (self._rows.T @ self._rows)
            inner[np.diag_indices(len(inner))] += 1
            self._factor = cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)
        return cho_solve(self._factor, right, check_finite=False)


def _solve(matrix: np.ndarray, right: np.ndarray, least: float) -> np.ndarray:
    """Solve a symmetric system; the smallest eigenvalue of its matrix is at least `least`."""
    try:
        factor = cho_factor(matrix.T, lower=True, check_finite=False)  # in the order of LAPACK
    except np.linalg.LinAlgError:
        if matrix.dtype == np.float32:
            raise
        values, vectors = np.linalg.eigh(matrix)  # huge features: rounding is larger than `least`
        return vectors @ ((vectors.T @ right).T / values.clip(min=least)).T
    return cho_solve(factor, right, check_finite=False)


def _best_size(
    weights: np.ndarray, direction: np.ndarray, margin: np.ndarray, change: np.ndarray, cost: float
) -> np.ndarray:
    """Return for each column the size of the step with the lowest value of the function, by Newton's method."""
    along, square, size = np.sum(weights * direction, axis=0), np.sum(direction**2, axis=0), np.ones(len(margin[0]))
    for _ in range(30):
        rest = (margin - size * change).clip(min=0)
        slope = along + size * square - 2 * cost * np.sum(rest * change, axis=0)
        if (np.abs(slope) <= 1e-10 * (np.abs(along) + square)).all():
            break
        size = size - slope / (square + 2 * cost * np.sum(np.where(rest > 0, change**2, 0), axis=0))
    return size
