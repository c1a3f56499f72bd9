"""Points of least stress: descents from several starts, and jumps of single points out of local minima."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform

from repsim_nb.support.progress import Tick, show_progress

from .stress import SINGLE_FROM, Stress, Watch, descend, squeeze

SUBSET = 250  # points of the trial starts; the other points are placed among them
CELLS = 400  # of the grid on which a better place for a point is searched
MOST_AXES = 3  # of maps with such a grid
RANDOM = 2  # random starts
TRIED = 3  # starts that are tried with all points
STAGES = 5


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
        moved = _jumped(points, d, CELLS * (turn + 6) // 6)
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


def _jumped(points: np.ndarray, d: np.ndarray, number: int) -> np.ndarray | None:
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
