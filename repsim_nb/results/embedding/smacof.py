"""Points of least stress: descents from several starts, and jumps of single points out of local minima."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, pdist, squareform

from repsim_nb.support.progress import Tick, show_progress

SUBSET = 250  # points of the trial starts; the other points are placed among them
CELLS = 400  # of the grid on which a better place for a point is searched
MOST_AXES = 3  # of maps with such a grid
RANDOM = 2  # random starts
TRIED = 3  # starts that are tried with all points
STAGES = 5
BLOCK = 64  # rows at a time: a block of 1,000 columns fits into the second cache of a core
SINGLE_FROM = 150  # points from which the first descents use float32
SHORTEST = {np.dtype(np.float32): 1e-7, np.dtype(np.float64): 1e-16}  # squared, as a fraction of the mean square

Watch = Callable[[np.ndarray], None]  # gets the points of each step of a descent


def smacof_points(
    d: np.ndarray, axes: np.ndarray, k: int, seed: int, progress: bool | Tick, watch: Watch = lambda points: None
) -> np.ndarray:
    """Return points (n, k) of low stress.

    axes: the classical solution, with one more dimension if there is one.  watch: called with better and better points.
    """
    rng = np.random.default_rng(seed)
    fine = Stress(d, np.float64)
    coarse = Stress(d, np.float32) if len(d) > SINGLE_FROM else fine
    with show_progress(progress, "mapping", "stage") as tick:

        def at(stage: int, then: Watch = lambda points: None) -> Watch:
            def step(points: np.ndarray) -> None:
                tick(stage, STAGES)
                then(points)

            return step

        points = descend(coarse, fit_size(axes[:, :k], d), 60, 1e-6, at(0, watch))
        starts = _trial_starts(d, axes, k, rng, at(1))
        points = _better(coarse, points, *(descend(coarse, start, 40, 1e-6, at(1)) for start in starts))
        watch(points)
        lifted = np.column_stack([points, rng.normal(scale=0.1 * d.mean(), size=len(d))])
        points = _better(coarse, points, descend(coarse, squeeze(coarse, lifted, k, at(2)), 60, 1e-6, at(2)))
        watch(points)
        points = jump(coarse, points, d, at(3), watch)
        points = descend(coarse, points, 1000, 1e-8, at(4, watch))
        return descend(fine, points, 2000, 1e-9 * fine(points)[0], at(4, watch))


def fit_size(points: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return points in the size of least stress."""
    shown = pdist(points)
    square = float(np.vdot(shown, shown))
    return points * (float(np.vdot(shown, squareform(d, checks=False))) / square) if square > 0 else points


def _better(stress: Stress, *maps: np.ndarray) -> np.ndarray:
    """Return the first of these maps with the lowest stress."""
    return min(maps, key=lambda points: stress(points)[0])


def _trial_starts(d: np.ndarray, axes: np.ndarray, k: int, rng: np.random.Generator, step: Watch) -> list[np.ndarray]:
    """Return a few starts for all points: the best ones of a trial with some of the points."""
    some = np.sort(rng.permutation(len(d))[:SUBSET])
    few, spread = d[np.ix_(some, some)], d.mean()
    stress = Stress(few, np.float32 if len(some) > SINGLE_FROM else np.float64)
    starts = [fit_size(axes[some, :k], few)] if len(some) < len(d) else []
    if axes.shape[1] > k:
        starts.append(squeeze(stress, fit_size(axes[some], few), k, step))
    starts += [rng.normal(scale=spread, size=(len(some), k)) for _ in range(RANDOM)]
    found = [descend(stress, start, 100, 1e-6, step) for start in starts]
    if len(some) == len(d):
        return found
    if k > MOST_AXES:
        return []
    rest, chosen, last = np.setdiff1d(np.arange(len(d)), some), list[np.ndarray](), 0.0
    for value, best in sorted(((stress(points)[0], points) for points in found), key=lambda pair: pair[0]):
        if len(chosen) < TRIED and value > 1.002 * last:  # otherwise it is the same minimum
            points = np.empty((len(d), k))
            points[some], points[rest] = best, place(best, d[np.ix_(rest, some)])
            chosen.append(points)
            last = value
    return chosen


def place(old: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return a point near the best place for each row of d, the dissimilarities to the old points."""
    cells = _grid(old)
    start = cells[_misfits(old, d, cells).argmin(axis=1)]
    return _majorise(start, old, d, len(old), 0.0)


def jump(stress: Stress, points: np.ndarray, d: np.ndarray, step: Watch, watch: Watch) -> np.ndarray:
    """Return points after jumps of single points to places that fit their dissimilarities better."""
    if points.shape[1] > MOST_AXES or len(points) < 4:
        return points
    best = stress(points)[0]
    for turn in range(6):  # another grid each time
        moved = _jump(points, d, CELLS * (turn + 6) // 6)
        if moved is None:
            break
        moved = descend(stress, moved, 60, 1e-7, step)
        found = stress(moved)[0]
        if found >= best:
            break
        gain, points, best = best - found, moved, found
        watch(points)
        if gain < 1e-5 * best:
            break
    return points


def _jump(points: np.ndarray, d: np.ndarray, number: int) -> np.ndarray | None:
    """Return points of which some are at a better place; None if there is no better place."""
    every = np.arange(len(points))
    now = np.sum((squareform(pdist(points)) - d) ** 2, axis=1)
    cells = _grid(points, number)
    misfits = _misfits(points, d, cells) - cdist(points, cells) ** 2  # without the point itself
    best = misfits.argmin(axis=1)
    step = np.sqrt(np.sum(((cells[-1] - cells[0]) / CELLS ** (1 / points.shape[1])) ** 2))
    away = np.sqrt(np.sum((cells[best] - points) ** 2, axis=1)) > step  # otherwise it is the same valley
    able = np.flatnonzero(away & (misfits[every, best] < 1.02 * now))
    places = _majorise(cells[best[able]], points, d[able], len(points) - 1, points[able])
    off = cdist(places, points) - d[able]
    off[np.arange(len(able)), able] = 0
    better = np.sum(off**2, axis=1) < (1 - 1e-6) * now[able]
    if not better.any():
        return None
    moved = points.copy()
    moved[able[better]] = places[better]
    return moved


def _grid(points: np.ndarray, number: int = CELLS) -> np.ndarray:
    """Return about this many places, evenly over the map and a little around it."""
    k = points.shape[1]
    low, high = points.min(axis=0), points.max(axis=0)
    edge = 0.05 * (high - low)
    ticks = [np.linspace(*ends, round(number ** (1 / k))) for ends in zip(low - edge, high + edge, strict=True)]
    return np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, k)


def _misfits(old: np.ndarray, d: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return Σ(distance to the old points - d)² of each row of d at each of these places, in float32."""
    there, wanted = cdist(places, old).astype(np.float32), d.astype(np.float32)
    return (there**2).sum(axis=1) - 2 * wanted @ there.T + (wanted**2).sum(axis=1)[:, None]


def _majorise(start: np.ndarray, old: np.ndarray, d: np.ndarray, many: int, own: np.ndarray | float) -> np.ndarray:
    """Return single points after a few steps of majorisation among old ones, which stay.

    many, own: how many old ones count, and the position of the one of them that does not.
    """
    centre, points = old.sum(axis=0) - own, start
    for _ in range(6):
        weight = d / cdist(points, old).clip(min=1e-12)
        points = (centre + weight.sum(axis=1, keepdims=True) * points - weight @ old) / many
    return points


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
