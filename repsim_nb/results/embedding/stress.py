"""The stress of points and its gradient, from rows of the table that stay in the cache of a core."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

BLOCK = 64  # rows at a time: a block of 1,000 columns fits into the second cache of a core
SINGLE_FROM = 150  # points from which the first descents use float32
SHORTEST = {np.dtype(np.float32): 1e-7, np.dtype(np.float64): 1e-16}  # squared, as a fraction of the mean square

Watch = Callable[[np.ndarray], None]  # gets the points of each step of a descent


class Stress:
    """Squared stress of points: Σ(distance - δ)² over pairs, as a fraction of Σδ².

    Distances below 1e-8 of the root mean square (3e-4 in float32) count as that, so that no weight is infinite.

    Attributes
    ----------
    n : int
        The number of points.
    stiffness : float
        The coefficient of Σ|x|² in the value.

    Parameters
    ----------
    d : ndarray (n, n)
        The dissimilarities δ, symmetric, with 0 on the diagonal.
    dtype : float32 or float64
        The precision of distances and of sums of a block of rows.

    Notes
    -----
    Σ(distance - δ)² = Σδ² + nΣ|x|² - 2 tr(x' B x) for centred points x. The matrix B of the majorisation has -δ /
    distance outside its diagonal, and rows of sum 0 [de Leeuw 1977]. So B x gives the value and the gradient.
    """

    def __init__(self, d: np.ndarray, dtype: type[np.floating]) -> None:
        self.n, self._type = len(d), np.dtype(dtype)
        self._spans = [(i, min(i + BLOCK, self.n)) for i in range(0, self.n, BLOCK)]
        self._rows = [np.array(d[i:j, i:], dtype) for i, j in self._spans]
        for rows in self._rows:
            rows[:, : len(rows)] /= 2  # pairs inside a block are there twice
        squares = float(np.vdot(d, d))
        self._total, self._shortest = squares / 2, dtype(SHORTEST[self._type] * squares / self.n**2)
        self.stiffness = self.n / self._total
        self._square, self._term = (np.empty(BLOCK * self.n, dtype) for _ in range(2))

    def __call__(self, points: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the squared stress of points (n, k), and its gradient."""
        n, k = points.shape
        centred = points - points.mean(axis=0)
        x = np.ones((n, k + 1), self._type)  # the column of ones gives the sums of rows
        x[:, :k] = centred
        axes, pull = np.ascontiguousarray(x[:, :k].T), np.zeros_like(x)
        for (i, j), rows in zip(self._spans, self._rows, strict=True):
            weight, term = (buffer[: rows.size].reshape(rows.shape) for buffer in (self._square, self._term))
            weight.fill(self._shortest)
            for axis in axes:
                np.subtract(axis[i:j, None], axis[None, i:], out=term)
                np.multiply(term, term, out=term)
                np.add(weight, term, out=weight)
            np.sqrt(weight, out=weight)
            np.divide(rows, weight, out=weight)
            pull[i:j] += weight @ x[i:]
            pull[i:] += weight.T @ x[i:j]
        sums = pull.astype(float)
        b = sums[:, k:] * centred - sums[:, :k]
        value = 1 + self.stiffness * np.vdot(centred, centred) - 2 * np.vdot(centred, b) / self._total
        return float(value), 2 * (n * centred - b) / self._total


def descend(
    stress: Stress, points: np.ndarray, most: int, precision: float, watch: Watch, *, flat: float = 0.0, k: int = 0
) -> np.ndarray:
    """Return points after at most `most` steps of L-BFGS, which end when a step gains less than `precision`.

    watch: called with the points of each step.  flat: the weight of a penalty on the squares of all coordinates after
    the first `k`.
    """
    shape = points.shape

    def value(flattened: np.ndarray) -> tuple[float, np.ndarray]:
        x = flattened.reshape(shape)
        found, slope = stress(x)
        if flat:
            extra = x[:, k:]
            found += flat * float(np.vdot(extra, extra))
            slope[:, k:] += 2 * flat * extra
        return found, slope.ravel()

    def step(flattened: np.ndarray) -> None:
        watch(flattened.reshape(shape))

    options = {"maxiter": most, "ftol": precision, "gtol": 1e-15}
    found = minimize(value, points.ravel(), jac=True, method="L-BFGS-B", callback=step, options=options)
    return found.x.reshape(shape)


def squeeze(stress: Stress, points: np.ndarray, k: int, watch: Watch) -> np.ndarray:
    """Return points in `k` dimensions; the other dimensions are flattened in a few steps.

    Two points that block each other in a plane pass each other in space, so this leaves many local minima.
    """
    for flat in (0.05, 0.2, 0.5, 1.0):
        points = descend(stress, points, 20, 1e-6, watch, flat=flat * stress.stiffness, k=k)
    return points[:, :k]
