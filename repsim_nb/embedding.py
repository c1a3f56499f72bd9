"""Maps: points whose distances stand for dissimilarities."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.manifold import smacof

from .comparison import Comparison
from .errors import unknown

KINDS = ("smacof", "classical")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Points on a map, and how far to trust it.

    points: DataFrame (items, n_components), columns "x", "y", ... and the items' labels as its index.
    stress: Kruskal's stress-1, sqrt(Σ(d - δ)² / Σδ²) over pairs (d on the map, δ the dissimilarity): 0 is a faithful map, above
    about 0.2 a poor one.  negative_share: Σ|negative eigenvalues| / Σ|eigenvalues| of the double-centred squared dissimilarities:
    0 if they are Euclidean distances at all.
    """

    points: pd.DataFrame = field(repr=False)
    stress: float
    negative_share: float
    kind: str
    seed: int
    name: str = ""
    n: int | None = None


def mds(comparison: Comparison | pd.DataFrame, n_components: int = 2, kind: str = "smacof", seed: int = 0) -> Embedding:
    """Multidimensional scaling of a square comparison, or of a symmetric frame of dissimilarities -> Embedding.

    kind: "smacof" minimises the stress, starting from the classical solution and from random ones (`seed`), the best is kept;
    "classical" takes the leading eigenvectors of the double-centred squared dissimilarities.
    A measure that is not symmetric enters as the mean of both directions. Axes are principal axes of the points; their signs are fixed.
    Errors: ValueError for fewer than 3 items, undefined cells, a table that is not square or holds something negative.
    [Torgerson 1952; Kruskal 1964; de Leeuw 1977]
    """
    if kind not in KINDS:
        raise unknown("kind of MDS", kind, KINDS)
    frame = comparison.dissimilarity() if isinstance(comparison, Comparison) else comparison
    d = _distances(frame)
    if not 1 <= n_components < len(d):
        raise ValueError(f"n_components is from 1 to {len(d) - 1} for {len(d)} items; got {n_components}")
    start, eigenvalues = _classical(d, n_components)
    points = start if kind == "classical" else _smacof(d, start, seed)
    points = _principal_axes(points)
    upper = np.triu_indices(len(d), 1)
    fitted = np.linalg.norm(points[:, None] - points[None], axis=2)[upper]
    scale = np.sum(d[upper] ** 2)
    columns = [*"xyz"[:n_components]] if n_components <= 3 else [f"axis{i + 1}" for i in range(n_components)]
    return Embedding(
        points=pd.DataFrame(points, index=frame.index, columns=columns),
        stress=float(np.sqrt(np.sum((fitted - d[upper]) ** 2) / scale)),
        negative_share=float(np.abs(eigenvalues[eigenvalues < 0]).sum() / np.abs(eigenvalues).sum()),
        kind=kind,
        seed=seed,
        name=comparison.name if isinstance(comparison, Comparison) else "",
        n=comparison.n if isinstance(comparison, Comparison) else None,
    )


def _distances(frame: pd.DataFrame) -> np.ndarray:
    if not frame.index.equals(frame.columns):
        raise ValueError(f"a map needs a square table, the same items in rows and columns; this one is {frame.shape[0]} × {frame.shape[1]} with other labels")
    d = frame.to_numpy(float)
    if len(d) < 3:
        raise ValueError(f"a map needs at least 3 items; there are {len(d)}")
    if not np.isfinite(d).all():
        missing = ~np.isfinite(d)
        i, j = np.argwhere(missing)[0]
        raise ValueError(f"a map needs every pair; {int(missing.sum())} cells are undefined, the first '{_label(frame, i)}' and '{_label(frame, j)}', and most of them "
                         f"lie with '{_label(frame, int(missing.sum(1).argmax()))}': leave that out, or take a measure that is defined for all")
    d = (d + d.T) / 2
    np.fill_diagonal(d, 0)
    if d.min() < -1e-6:
        i, j = np.unravel_index(d.argmin(), d.shape)
        raise ValueError(f"a dissimilarity cannot be negative; that of '{_label(frame, i)}' and '{_label(frame, j)}' is {d.min():.3g}")
    if not d.max() > 0:
        raise ValueError("all items are alike (every dissimilarity is 0), so there is nothing to map")
    return d.clip(min=0)  # rounding below 0


def _label(frame: pd.DataFrame, i: int) -> str:
    label = frame.index[i]
    return "/".join(map(str, label[:2])) if isinstance(label, tuple) else str(label)


def _classical(d: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    centre = np.eye(len(d)) - 1 / len(d)
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centre @ (d**2) @ centre)
    top = np.argsort(eigenvalues)[::-1][:n_components]
    significant = np.where(np.abs(eigenvalues) > 1e-12 * np.abs(eigenvalues).max(), eigenvalues, 0)
    return vectors[:, top] * np.sqrt(significant[top].clip(min=0)), significant


def _smacof(d: np.ndarray, start: np.ndarray, seed: int, restarts: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    starts = [start, *(rng.normal(scale=d.mean(), size=start.shape) for _ in range(restarts))]
    found = [smacof(d, n_components=start.shape[1], init=s, n_init=1, max_iter=1000, eps=1e-9, normalized_stress=False) for s in starts]
    return min(found, key=lambda result: result[1])[0]


def _principal_axes(points: np.ndarray) -> np.ndarray:
    """Turn the map so that the first axis varies most; each axis points to its largest coordinate: the same data, the same picture."""
    points = points - points.mean(axis=0)
    points = points @ np.linalg.svd(points, full_matrices=False)[2].T
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return points * np.where(largest < 0, -1, 1)
