"""Dissimilarities of a representation and its first principal components, by formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from repsim_nb.measures import CCA, CKA, NBS, Measure, Procrustes

from .damage import Components, left_of


def closed_form(measure: Measure, squares: np.ndarray, kept: int) -> float | None:
    """Dissimilarity of a representation and its first principal components, by formula.

    Parameters
    ----------
    measure : Measure
    squares : ndarray (components,)
        The eigenvalues λ of the covariance, largest first.
    kept : int
        The number k of components that are left.

    Returns
    -------
    float or None
        None if there is no formula for this measure.

    Notes
    -----
    CKA: 1 - √(Σ_{i≤k} λ² / Σ λ²). Procrustes: with r = Σ_{i≤k} λ / Σ λ, the nuclear norm of XᵀX_k is √r for matrices of
    unit norm; this gives 2 - 2√r, its root, or arccos √r. NBS: 1 - √r. CCA over the directions that are left, or
    weighted by them: every correlation is 1, so 0.

    References
    ----------
    Ding, Denain, Steinhardt 2021, where components are deleted.

    Examples
    --------
    >>> from repsim_nb.measures import CKA
    >>> round(closed_form(CKA(), np.array([4.0, 2.0, 1.0]), 1), 4)
    0.1271
    """
    retained = float(np.sqrt(squares[:kept].sum() / squares.sum()))
    if kept == len(squares):
        retained = 1.0
    if measure == CKA():
        return 1 - float(np.sqrt((squares[:kept] ** 2).sum() / (squares**2).sum()))
    if isinstance(measure, Procrustes):
        return {
            "squared": 2 - 2 * retained,
            "distance": float(np.sqrt(max(0.0, 2 - 2 * retained))),
            "angle": float(np.arccos(retained)),
        }[measure.form]
    if isinstance(measure, NBS):
        return 1 - retained
    kept_only = isinstance(measure, CCA) and (
        measure.summary != "projection_weighted" or measure.normalise == "kept" or measure.weights == "y"
    )
    if kept_only and measure.variance is None:
        return 0.0
    return None


def closed_forms(
    chosen: Mapping[str, Measure], xs: Sequence[np.ndarray], amounts: Sequence[float], index: pd.MultiIndex
) -> pd.DataFrame:
    found: dict[str, list[float]] = {}
    for x in xs:
        squares = Components(x).squares
        for short, measure in chosen.items():
            values = [closed_form(measure, squares, left_of(amount, len(squares))) for amount in amounts]
            if values[0] is not None:
                found.setdefault(short, []).extend(float(value) for value in values if value is not None)
    return pd.DataFrame(found, index=index)
