"""A representation in which no sample is much longer than most."""

from __future__ import annotations

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import check_positive, check_representation, to_numpy

STEPS, CLOSE = 1000, 1e-10  # of the search for the spatial median


def clip_lengths(x: Array, most: float = 1.0) -> np.ndarray:
    """Return a copy in which samples far from the middle are pulled in, so that no few samples decide a comparison.

    It answers: does a value stay the same if no sample is farther from the middle than most samples are? Compare
    ``cka(clip_lengths(x), clip_lengths(y))`` with ``cka(x, y)``. In lesson `12_cka_reliability` the two differ by .007
    on average for two seeds of one architecture. For a copy in which one class of ten is far away, they are .97 and
    .24.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    most : float
        The largest length after clipping, in units of the median length. 1 clips half of the samples.

    Returns
    -------
    array (n, p)
        The representation minus its spatial median, in float64. The direction of each sample from the median is kept.

    Raises
    ------
    UndefinedError
        For NaN, infinity, fewer than two samples, a constant representation, or if more than half of the samples are
        equal, so that the median length is 0.

    Notes
    -----
    The middle is the spatial median (the point with the smallest sum of distances), which rotates with x, so clipping
    keeps the invariances of CKA. Gram matrices of clipped samples are those of a generalized spatial sign covariance
    with a winsorized radius.

    References
    ----------
    J. Raymaekers, P. Rousseeuw 2019, A generalized spatial sign covariance matrix, Journal of Multivariate Analysis
    171.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 5))
    >>> y = x.copy()
    >>> y[7] = 100
    >>> cka = rs.measures.get("cka")
    >>> round(cka(x, y), 2), round(cka(clip_lengths(x), clip_lengths(y)), 2)
    (0.02, 0.99)
    """
    check_positive(most, "most")
    flat = to_numpy(check_representation(x, min_samples=2, double=True))
    scale = np.abs(flat).max()  # so that no square overflows
    flat = flat / scale
    centred = flat - _spatial_median(flat)
    lengths = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    middle = float(np.median(lengths))
    if middle <= CLOSE:
        raise UndefinedError(
            "the median distance from the middle is 0, since more than half of the samples are equal; there is no"
            " length to clip to"
        )
    return scale * centred * np.minimum(1.0, most * middle / np.maximum(lengths, middle * CLOSE))[:, None]


def _spatial_median(x: np.ndarray) -> np.ndarray:
    """Return the point with the smallest sum of distances to the rows, by the steps of Weiszfeld."""
    point = x.mean(axis=0)
    scale = np.sqrt(x.var(axis=0).sum())
    for _ in range(STEPS):
        lengths = np.sqrt(((x - point) ** 2).sum(axis=1))
        weights = 1 / np.maximum(lengths, CLOSE * max(scale, np.finfo(float).tiny))
        moved = weights @ x / weights.sum()
        if np.sqrt(((moved - point) ** 2).sum()) <= CLOSE * scale:
            return moved
        point = moved
    return point
