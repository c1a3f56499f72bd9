"""Dissimilarities of conditions that were measured several times: cross-validated, so that noise adds nothing."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, Literal

import numpy as np

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import is_number, to_numpy

_FEWEST = 4  # repeats, so that two are left to estimate the noise of two others


def crossnobis(
    x: Any, *, noise: Any | Literal["repeats", "none"] = "repeats", shrinkage: float | None = None, ids: Any = None
) -> RDM:
    """Compute cross-validated Mahalanobis distances (crossnobis) of conditions that were measured several times.

    Parameters
    ----------
    x : array (repeats, conditions, features)
        The measurements: recordings of a brain in several runs, or of models that differ by their seed.
    noise : {"repeats", "none"} or array (features, features)
        The covariance of the noise of one repeat, which whitens the features. "repeats" estimates it, for each two
        repeats from all others, so at least 4 are needed. "none" takes the features as they are: cross-validated
        squared Euclidean distances, from 2 repeats on.
    shrinkage : float, optional
        The fraction of the diagonal in the estimated covariance, from 0 to 1; only with noise="repeats". By default the
        one with the smallest expected error (Schäfer and Strimmer).
    ids : array of str or int (conditions,), optional
        The names of the conditions.

    Returns
    -------
    RDM
        Squared distances, divided by the number of features. They can be negative.

    Raises
    ------
    ValueError
        If the shape is not (repeats, conditions, features), or there are too few of them; if `noise` is no covariance.
    UndefinedError
        If a number is NaN or infinite, or the estimated covariance cannot be inverted.

    Notes
    -----
    For conditions i and j the difference in one repeat is multiplied by the inverse of the covariance of the noise and
    the difference in another repeat. The value is the mean over all pairs of different repeats. Noise of different
    repeats is independent, so the expectation for equal conditions is 0, and 0 is a meaningful value: if
    an interval over repeats contains it, the conditions may be equal. Distances that are not cross-validated grow
    with the noise. A constant that is added to all conditions of a repeat changes nothing.

    The covariance is estimated from repeats that are not in the product, since an estimate from the same repeats makes
    the distances of equal conditions larger than 0.

    RSA takes the result: ``RSA(first="squared_euclidean", second="whitened_cosine")`` also weighs for the dependence of
    its values.

    References
    ----------
    Walther, Nili, Ejaz, Alink, Kriegeskorte, Diedrichsen 2016, "Reliability of dissimilarity measures for multi-voxel
    pattern analysis", NeuroImage.
    Schütt, Kipnis, Diedrichsen, Kriegeskorte 2023, "Statistical inference on representational geometries", eLife.
    Schäfer, Strimmer 2005, "A shrinkage approach to large-scale covariance matrix estimation", Statistical Applications
    in Genetics and Molecular Biology.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.zeros((3, 20))
    >>> truth[2] = 1.0  # conditions 0 and 1 are equal
    >>> rdm = rs.measures.crossnobis(truth + rng.normal(size=(40, 3, 20)), ids=["a", "b", "c"])
    >>> rdm.values.round(1)
    array([[0., 0., 1.],
           [0., 0., 1.],
           [1., 1., 0.]])
    """
    x = np.asarray(to_numpy(x), dtype=float)
    if x.ndim != 3 or x.shape[0] < 2 or x.shape[1] < 2 or not x.shape[2]:
        raise ValueError(
            "x must be (repeats, conditions, features), with at least 2 repeats and 2 conditions; got shape"
            f" {x.shape}. For other orders use np.moveaxis."
        )
    if not np.isfinite(x).all():
        where = tuple(np.argwhere(~np.isfinite(x))[0].tolist())
        raise UndefinedError(
            f"x holds NaN or infinite numbers, the first for (repeat, condition, feature) {where}. Leave out the repeat"
            " or the condition"
        )
    repeats, n, p = x.shape
    x = x - x.mean(axis=1, keepdims=True)  # what a repeat adds to all conditions, with which rounding would grow
    products = np.zeros((n, n))
    if isinstance(noise, str) and noise == "repeats":
        if repeats < _FEWEST:
            raise ValueError(
                f"noise='repeats' needs at least {_FEWEST} repeats, two of them to estimate the noise of two others;"
                f" got {repeats}. Pass noise=, a covariance (features, features), or noise='none'."
            )
        if shrinkage is not None and not (is_number(shrinkage) and 0 <= shrinkage <= 1):
            raise ValueError(f"shrinkage of crossnobis must be a number from 0 to 1; got {shrinkage!r}.")
        for pair in itertools.combinations(range(repeats), 2):
            whitened = x[list(pair)] @ _whitening(_estimate(np.delete(x, pair, axis=0), shrinkage))
            products += whitened[0] @ whitened[1].T
        products = products + products.T
    else:
        if shrinkage is not None:
            raise ValueError(
                f"shrinkage is for the covariance that noise='repeats' estimates; got shrinkage={shrinkage!r} with"
                " another noise. Leave it out."
            )
        white = x if isinstance(noise, str) and noise == "none" else x @ _whitening(_check_noise(noise, p))
        total = white.sum(axis=0)
        products = total @ total.T - np.einsum("rip,rjp->ij", white, white)
    own = products.diagonal()
    values = (own[:, None] + own - products - products.T) / (repeats * (repeats - 1) * p)
    np.fill_diagonal(values, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RDM asks whether values of which none is above 0 are similarities
        return RDM(values, ids=ids, squared=True)


def _check_noise(noise: Any, p: int) -> np.ndarray:
    """Return a covariance (p, p), or raise."""
    if isinstance(noise, str):
        raise ValueError(f"noise must be 'repeats', 'none' or a covariance (features, features); got {noise!r}.")
    covariance = np.asarray(to_numpy(noise), dtype=float)
    if not np.isfinite(covariance).all():
        raise ValueError("noise holds NaN or infinite numbers; a covariance (features, features) has none.")
    if covariance.shape != (p, p) or not np.allclose(covariance, covariance.T):
        raise ValueError(
            f"noise must be a symmetric covariance of the {p} features, ({p}, {p}); got shape {covariance.shape}"
            f"{', which is not symmetric' if covariance.shape == (p, p) else ''}."
        )
    return covariance


def _estimate(x: np.ndarray, shrinkage: float | None) -> np.ndarray:
    """Return the covariance of the noise of one repeat, shrunk to its diagonal.

    Deviations are those from the mean of each condition, and from the mean of each repeat.
    """
    repeats, n, p = x.shape
    x = x - x.mean(axis=1, keepdims=True)
    residuals = (x - x.mean(axis=0)).reshape(-1, p)
    scale = residuals.std(axis=0)
    if not scale.all():
        raise UndefinedError(
            f"feature {np.flatnonzero(scale == 0)[0]} has no noise: it is equal in all repeats. Leave it out, or use"
            " noise='none'"
        )
    unit, m = residuals / scale, len(residuals)
    correlation = unit.T @ unit / m
    if shrinkage is None:
        off = ~np.eye(len(correlation), dtype=bool)
        variance = ((unit**2).T @ unit**2 / m - correlation**2)[off].sum() / m
        squares = (correlation[off] ** 2).sum()
        shrinkage = 1.0 if squares <= variance else float(variance / squares)
    correlation *= 1 - shrinkage
    np.fill_diagonal(correlation, 1.0)
    return correlation * np.outer(scale, scale) * m / ((repeats - 1) * (n - 1))  # deviations are smaller than noise


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """Return W with W Wᵀ the inverse of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= len(values) * np.finfo(float).eps * values[-1]:
        raise UndefinedError(
            "the covariance of the noise cannot be inverted: there are more features than deviations, or one follows"
            " from others. Use a shrinkage above 0"
        )
    found: np.ndarray = vectors / np.sqrt(values)
    return found
