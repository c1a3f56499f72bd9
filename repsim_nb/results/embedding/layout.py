"""Positions of points: classical scaling, t-SNE, and new points among old ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.distance import cdist, pdist, squareform
from threadpoolctl import threadpool_limits

from repsim_nb.support.workers import single_threaded_blas


@contextmanager
def one_thread() -> Iterator[None]:
    """Sum in one order on every machine: the same map for the same seed."""
    import sklearn.manifold  # noqa: F401  # takes a second; before the limits, so that they hold for its threads, too

    with single_threaded_blas(), threadpool_limits(1, user_api="openmp"):
        yield


def stress_of(points: np.ndarray, d: np.ndarray, free_scale: bool = False) -> float:
    """Return the stress of points; `free_scale`: after the best scale of the map."""
    fitted, wanted = pdist(points), squareform(d, checks=False)
    scale = np.sum(fitted * wanted) / np.sum(fitted**2) if free_scale else 1
    return float(np.sqrt(np.sum((scale * fitted - wanted) ** 2) / np.sum(wanted**2)))


def classical_points(d: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading axes of double-centred squared dissimilarities, and all eigenvalues."""
    square = d**2
    means = square.mean(axis=0)
    inner = -0.5 * (square - means - means[:, None] + means.mean())
    values, vectors = np.linalg.eigh(inner)
    values = np.where(np.abs(values) > 1e-12 * np.abs(values).max(), values, 0)
    leading = slice(-1, -n_components - 1, -1)
    return vectors[:, leading] * np.sqrt(values[leading].clip(min=0)), values


def tsne_points(x: np.ndarray, start: np.ndarray, perplexity: float, seed: int, metric: str) -> np.ndarray:
    """Return a t-SNE that begins at `start`, moved a little by the seed."""
    start = 1e-4 * start / max(start[:, 0].std(), np.finfo(float).tiny)
    # an axis of zeros would stay one
    start = start + np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
    from sklearn.manifold import TSNE

    points = TSNE(
        start.shape[1], perplexity=perplexity, metric=metric, init=start.astype(np.float32), random_state=seed
    ).fit_transform(x.copy())
    return to_principal_axes(points.astype(float))


def squared_radii(d: np.ndarray) -> np.ndarray:
    """Return squared distances of the items from their centre, in all dimensions that the dissimilarities need."""
    return (d**2).mean(axis=1) - (d**2).mean() / 2


def project(old: np.ndarray, d: np.ndarray, squared_radii: np.ndarray) -> np.ndarray:
    """Return the point with dissimilarities d to the old ones, projected on the axes of a classical map."""
    return np.linalg.pinv(old - old.mean(axis=0)) @ (squared_radii - d**2) / 2 + old.mean(axis=0)


def fit_point(old: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the point whose distances to the old ones fit d best: the best of several descents."""

    def misfit(point: np.ndarray) -> np.ndarray:
        return np.linalg.norm(point - old, axis=1) - d

    def slope(point: np.ndarray) -> np.ndarray:
        away = np.linalg.norm(point - old, axis=1, keepdims=True)
        return np.divide(point - old, away, out=np.zeros_like(old), where=away > 0)

    projected = project(old, d, np.sum((old - old.mean(axis=0)) ** 2, axis=1))
    starts = np.stack([old[d.argmin()], projected, 2 * old.mean(axis=0) - projected, *old])
    likely = np.argsort(np.sum((cdist(starts, old) - d) ** 2, axis=1), kind="stable")[:3]
    found = [
        least_squares(misfit, start, jac=slope, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12)
        for start in (*starts[:2], *starts[likely])
    ]
    return min(found, key=lambda result: result.cost).x


def to_principal_axes(points: np.ndarray) -> np.ndarray:
    """Rotate the map to its principal axes; each axis points to its largest coordinate, so that signs are fixed."""
    points = points - points.mean(axis=0)
    points = points @ np.linalg.svd(points, full_matrices=False)[2].T
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return points * np.where(largest < 0, -1, 1)
