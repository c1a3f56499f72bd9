"""Multidimensional scaling and t-SNE."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform

from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import check_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.rdms import RDM
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer

from .layout import classical_points, one_thread, stress_of, to_principal_axes, tsne_points
from .results import Embedding, check_distances, check_perplexity, check_samples, read_table, rescale
from .smacof import smacof_points

KINDS = ("smacof", "classical")
BETWEEN_MAPS = 0.2  # seconds between two maps for `watch`
WIDE = 50  # t-SNE uses this many principal components of samples [van der Maaten and Hinton 2008]


def mds(
    comparison: Comparison | pd.DataFrame | RDM,
    n_components: int = 2,
    kind: str = "smacof",
    seed: int = 0,
    *,
    progress: bool | Tick = False,
    watch: Callable[[Embedding], None] | None = None,
) -> Embedding:
    """Multidimensional scaling of a square comparison, a symmetric frame of dissimilarities, or an RDM.

    Parameters
    ----------
    comparison : Comparison, DataFrame (items, items) or RDM
        A Comparison of similarities is converted to dissimilarities. If the measure is not symmetric, both directions
        are averaged. A frame contains dissimilarities, with 0 on its diagonal. The items of an RDM are
        its samples; squared distances become distances.
    n_components : int
        The number of dimensions.
    kind : {"smacof", "classical"}
        "smacof" minimises the stress; it takes the best of several starts, the classical solution among them (Notes).
        "classical" takes the leading eigenvectors of the double-centred squared dissimilarities.
    seed : int
        Seed of the random starts, >= 0.
    progress : bool or function(done, total)
        Show a bar, or call this function.
    watch : function(Embedding), optional
        For "smacof": called with the classical solution first, and then with better maps, a few times a second.
        An exception that it raises ends the work.

    Returns
    -------
    Embedding
        Axes are principal axes of the points; their signs are fixed.

    Raises
    ------
    TypeError
        For anything else than a Comparison, a DataFrame or an RDM.
    ValueError
        For fewer than 3 items, undefined cells, a table that is not square, or negative dissimilarities.

    Notes
    -----
    "smacof" minimises the function of SMACOF with the gradient of its majorisation, by L-BFGS. Starts are the classical
    solution, and the best of several starts for at most 250 of the items, with the other items placed among them. Then
    the best map leaves local minima in two ways: it is given one more dimension, which is flattened again; and single
    items jump to places that fit their dissimilarities better. The last steps are in float64.

    References
    ----------
    Torgerson 1952, Multidimensional scaling: I. Theory and method, Psychometrika. Kruskal 1964, Multidimensional
    scaling by optimizing goodness of fit to a nonmetric hypothesis, Psychometrika. de Leeuw 1977, Applications of
    convex analysis to multidimensional scaling. Liu and Nocedal 1989, On the limited memory BFGS method for large scale
    optimization, Mathematical Programming.

    Examples
    --------
    >>> d = pd.DataFrame([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]], index=list("abc"), columns=list("abc"))
    >>> found = mds(d)
    >>> bool(found.stress < 1e-6), found.points.columns.tolist()
    (True, ['x', 'y'])
    >>> bool(np.isclose(np.linalg.norm(found.points.loc["a"] - found.points.loc["b"]), 3))
    True
    """
    check_name("kind of MDS", kind, KINDS, "tsne is a function of its own." if kind == "tsne" else "")
    frame, facts = read_table(comparison, square=True)
    d, unit = rescale(check_distances(frame, plain=not facts))
    check_integer(n_components, "n_components", minimum=1, maximum=len(d) - 1, hint=f"for {len(d)} items")
    check_seed(seed)
    with one_thread():
        axes, eigenvalues = classical_points(d, min(n_components + 1, len(d)))

        def result(points: np.ndarray, kind: str) -> Embedding:
            return _embedding(
                to_principal_axes(points), d, frame.index, eigenvalues, unit, kind=kind, seed=seed, **facts
            )

        classical = axes[:, :n_components]
        if kind == "classical":
            return result(classical, kind)
        if watch is None:
            return result(smacof_points(d, axes, n_components, seed, progress), kind)
        watch(result(classical, "classical"))
        ready = time.monotonic() + BETWEEN_MAPS

        def step(points: np.ndarray) -> None:
            nonlocal ready
            if (begin := time.monotonic()) >= ready:
                watch(result(points, kind))
                spent = time.monotonic() - begin
                ready = begin + spent + max(BETWEEN_MAPS, 4 * spent)  # a fifth of the time at most

        return result(smacof_points(d, axes, n_components, seed, progress, step), kind)


def tsne(
    source: Comparison | pd.DataFrame | RDM | Any, n_components: int = 2, perplexity: float | None = None, seed: int = 0
) -> Embedding:
    """t-SNE: a map that keeps neighbours together.

    Distances between groups, and sizes of groups, have no meaning on it.

    Parameters
    ----------
    source : Comparison, DataFrame (items, items), RDM or array (n, ...)
        A square comparison or a frame of dissimilarities maps its items, as in `mds`, and an RDM its samples. An
        array or tensor maps its samples by Euclidean distances; with more than 50 features, those of the first 50
        principal components.
    n_components : int
        1, 2 or 3.
    perplexity : float, optional
        About the number of neighbours that each point takes into account, from 1 to (points - 1) / 3. By default the
        largest integer up to 30 that is allowed.
    seed : int
        Seed, >= 0, of a small shift of the start, which is the classical solution (for samples, the principal
        components).

    Returns
    -------
    Embedding
        The index of `points` for samples is "sample", 0 to n - 1.

    Raises
    ------
    TypeError
        For anything else than a Comparison, a DataFrame or an array.
    ValueError
        For fewer than 7 points, a perplexity that is too large, and as in `mds`.

    References
    ----------
    van der Maaten and Hinton 2008, Visualizing data using t-SNE, Journal of Machine Learning Research.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> found = tsne(x, perplexity=3)
    >>> found.points.shape, found.method
    ((20, 2), 't-SNE (perplexity 3)')
    """
    check_integer(n_components, "n_components of a t-SNE", minimum=1, maximum=3, hint="mds allows more dimensions")
    check_seed(seed)
    check_integer(seed, "seed of a t-SNE", minimum=0, maximum=2**32 - 1)
    if isinstance(source, (Comparison, pd.DataFrame, RDM)):
        frame, facts = read_table(source, square=True)
        d, unit = rescale(check_distances(frame, plain=not facts))
        perplexity = check_perplexity(perplexity, len(d))
        with one_thread():
            start, eigenvalues = classical_points(d, n_components)
            points = tsne_points(d, start, perplexity, seed, metric="precomputed")
        found = _embedding(points, d, frame.index, eigenvalues, kind="tsne", seed=seed, perplexity=perplexity, **facts)
        return replace(found, dissimilarities=pd.DataFrame(d * unit, index=frame.index, columns=frame.index))
    x = check_samples(source)
    perplexity = check_perplexity(perplexity, len(x))
    with one_thread():
        from sklearn.decomposition import PCA

        x = PCA(min(WIDE, len(x)), random_state=seed).fit_transform(x) if x.shape[1] > WIDE else x - x.mean(axis=0)
        start = PCA(min(n_components, x.shape[1]), random_state=seed).fit_transform(x)
        start = np.pad(start, ((0, 0), (0, n_components - start.shape[1])))
        points = tsne_points(x, start, perplexity, seed, metric="euclidean")
    labels = pd.RangeIndex(len(x), name="sample")
    found = _embedding(points, squareform(pdist(x)), labels, np.ones(1), kind="tsne", seed=seed, perplexity=perplexity)
    return replace(found, dissimilarities=None)


def _embedding(
    points: np.ndarray, d: np.ndarray, labels: pd.Index, eigenvalues: np.ndarray, unit: float = 1, **facts: Any
) -> Embedding:
    """Return the Embedding of points and dissimilarities d, both in this unit of the dissimilarities."""
    from sklearn.manifold import trustworthiness  # here: scikit-learn takes a second to import

    columns = [*"xyz"[: points.shape[1]]] if points.shape[1] <= 3 else [f"axis{i + 1}" for i in range(points.shape[1])]
    return Embedding(
        points=pd.DataFrame(points * unit, index=labels, columns=columns),
        stress=stress_of(points, d, free_scale=facts["kind"] == "tsne"),
        negative_fraction=float(np.abs(eigenvalues[eigenvalues < 0]).sum() / np.abs(eigenvalues).sum()),
        trustworthiness=float(trustworthiness(d, points, n_neighbors=min(5, (len(d) - 1) // 2), metric="precomputed")),
        dissimilarities=pd.DataFrame(d * unit, index=labels, columns=labels),
        **facts,
    )
