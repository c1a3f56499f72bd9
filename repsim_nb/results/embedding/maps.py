"""Multidimensional scaling and t-SNE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import check_integer

from .layout import classical_points, one_thread, smacof_points, stress_of, to_principal_axes, tsne_points
from .results import Embedding, check_distances, check_perplexity, check_samples, read_table, rescale

KINDS = ("smacof", "classical")
WIDE = 50  # t-SNE looks at this many principal components of samples [van der Maaten and Hinton 2008]


def mds(
    comparison: Comparison | pd.DataFrame,
    n_components: int = 2,
    kind: str = "smacof",
    seed: int = 0,
    *,
    progress: bool | Tick = False,
) -> Embedding:
    """Multidimensional scaling of a square comparison, or of a symmetric frame of dissimilarities.

    Parameters
    ----------
    comparison : Comparison or DataFrame (items, items)
        A measure that is not symmetric enters as the mean of both directions.
    n_components : int
        The number of dimensions.
    kind : {"smacof", "classical"}
        "smacof" minimises the stress, starting from the classical solution and from random ones, and takes the best;
        "classical" takes the leading eigenvectors of the double-centred squared dissimilarities.
    seed : int
        Of the random starts.
    progress : bool or function(done, total)

    Returns
    -------
    Embedding
        Axes are principal axes of the points; their signs are fixed.

    Raises
    ------
    ValueError
        For fewer than 3 items, undefined cells, and a table that is not square or holds something negative.

    References
    ----------
    Torgerson 1952; Kruskal 1964; de Leeuw 1977.

    Examples
    --------
    >>> d = pd.DataFrame([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]], index=list("abc"), columns=list("abc"))
    >>> bool(mds(d).stress < 1e-6)
    True
    """
    if kind not in KINDS:
        raise unknown_name("kind of MDS", kind, KINDS, "tsne is a function of its own." if kind == "tsne" else "")
    frame, facts = read_table(comparison)
    d, unit = rescale(check_distances(frame, plain=not facts))
    check_integer(n_components, "n_components", minimum=1, maximum=len(d) - 1, hint=f"for {len(d)} items")
    with one_thread():
        start, eigenvalues = classical_points(d, n_components)
        points = to_principal_axes(start if kind == "classical" else smacof_points(d, start, seed, progress))
    return _embedding(points, d, frame.index, eigenvalues, unit, kind=kind, seed=seed, **facts)


def tsne(
    source: Comparison | pd.DataFrame | Any, n_components: int = 2, perplexity: float | None = None, seed: int = 0
) -> Embedding:
    """t-SNE: a map that keeps neighbours together; distances between groups and sizes of groups mean nothing on it.

    Parameters
    ----------
    source : Comparison, DataFrame (items, items) or array (n, ...)
        A square comparison or a frame of dissimilarities maps its items. An array or tensor maps its samples by their
        Euclidean distances (index "sample", 0 to n - 1), wide ones by their first 50 principal components.
    n_components : int
        1, 2 or 3.
    perplexity : float, optional
        About how many neighbours each point heeds, from 1 to (points - 1) / 3. By default the largest integer up to 30
        that is allowed.
    seed : int
        Moves the start a little, which is the classical solution, of samples the principal components.

    Returns
    -------
    Embedding

    Raises
    ------
    ValueError
        For fewer than 7 points, a perplexity too large for them, and as `mds`.

    References
    ----------
    van der Maaten and Hinton 2008.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> tsne(x, perplexity=3).points.shape
    (20, 2)
    """
    if n_components not in (1, 2, 3):
        raise ValueError(
            f"a t-SNE has 1, 2 or 3 dimensions; got n_components={n_components!r}. mds has as many as you like"
        )
    if isinstance(source, (Comparison, pd.DataFrame)):
        frame, facts = read_table(source)
        d, unit = rescale(check_distances(frame, plain=not facts))
        perplexity = check_perplexity(perplexity, len(d))
        with one_thread():
            start, eigenvalues = classical_points(d, n_components)
            points = tsne_points(d, start, perplexity, seed, metric="precomputed")
        made = _embedding(points, d, frame.index, eigenvalues, kind="tsne", seed=seed, perplexity=perplexity, **facts)
        return replace(made, dissimilarities=pd.DataFrame(d * unit, index=frame.index, columns=frame.index))
    x = check_samples(source)
    perplexity = check_perplexity(perplexity, len(x))
    with one_thread():
        x = PCA(min(WIDE, len(x)), random_state=seed).fit_transform(x) if x.shape[1] > WIDE else x - x.mean(axis=0)
        start = PCA(min(n_components, x.shape[1]), random_state=seed).fit_transform(x)
        start = np.pad(start, ((0, 0), (0, n_components - start.shape[1])))
        points = tsne_points(x, start, perplexity, seed, metric="euclidean")
    made = _embedding(
        points,
        squareform(pdist(x)),
        pd.RangeIndex(len(x), name="sample"),
        np.ones(1),
        kind="tsne",
        seed=seed,
        perplexity=perplexity,
    )
    return replace(made, dissimilarities=None)


def _embedding(
    points: np.ndarray, d: np.ndarray, labels: pd.Index, eigenvalues: np.ndarray, unit: float = 1, **facts: Any
) -> Embedding:
    """unit: points and d are in this unit of the dissimilarities."""
    columns = [*"xyz"[: points.shape[1]]] if points.shape[1] <= 3 else [f"axis{i + 1}" for i in range(points.shape[1])]
    return Embedding(
        points=pd.DataFrame(points * unit, index=labels, columns=columns),
        stress=stress_of(points, d, free_scale=facts["kind"] == "tsne"),
        negative_fraction=float(np.abs(eigenvalues[eigenvalues < 0]).sum() / np.abs(eigenvalues).sum()),
        trustworthiness=float(trustworthiness(d, points, n_neighbors=min(5, (len(d) - 1) // 2), metric="precomputed")),
        dissimilarities=pd.DataFrame(d * unit, index=labels, columns=labels),
        **facts,
    )
