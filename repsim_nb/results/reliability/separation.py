"""A direction along which some samples can be moved and stay linearly separable from the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.summaries import count_of

from .translation import check_both

HARD = 1e10  # the cost of a sample within the margin, for samples whose root mean squared distance is 1
MOST_STEPS = 200_000  # of the solver: separable layers of 1,000 samples take fewer than 10,000


def separating_direction(x: Array, subset: Any) -> np.ndarray:
    """Return a direction in which a subset can be moved any distance and stay separable, with at least its margin.

    It is the normal vector of the linear separator with the largest margin (a linear support vector machine without
    slack), and points from the other samples to the subset. So `translate` with a distance >= 0 along it widens the
    gap by this distance: a linear classifier loses nothing, while CKA falls to `translation_limit`.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample of the subset.

    Returns
    -------
    array (p,)
        The direction, of length 1.

    Raises
    ------
    ValueError
        If the subset is not linearly separable from the others.

    References
    ----------
    M. Davari, S. Horoi, A. Natik, G. Lajoie, G. Wolf, E. Belilovsky 2023, Reliability of CKA as a similarity measure in
    deep learning, ICLR, corollary on linear separability.

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
    >>> (separating_direction(x, [False, False, True, True]).round(6) + 0).tolist()
    [1.0, 0.0]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    flat, mask = check_both(x, subset)
    centred = flat - flat.mean(axis=0)
    centred /= np.abs(centred).max()
    centred /= np.sqrt(np.mean(np.einsum("ij,ij->i", centred, centred)))
    wide = centred.shape[1] > len(centred)  # else the products of 20,000 samples would take 3 GB
    kernel, given = ("precomputed", centred @ centred.T) if wide else ("linear", centred)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # whether it separates is checked below
        svm = SVC(kernel=kernel, C=HARD, tol=1e-6, max_iter=MOST_STEPS).fit(given, mask)
    normal = svm.dual_coef_[0] @ centred[svm.support_]
    scores = centred @ normal
    if not scores[mask].min() > scores[~mask].max():
        raise ValueError(
            f"no plane separates the {count_of(int(mask.sum()), 'sample')} of the subset from the others, so no"
            " direction keeps a separator. Use a layer with more features, or a smaller subset."
        )
    return normal / np.linalg.norm(normal)
