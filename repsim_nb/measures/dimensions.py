"""How many dimensions two representations share."""

from __future__ import annotations

import math

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation, to_numpy

from .arrays import centred_unit
from .cka import CKA


def shared_dimensions(x: Array, y: Array) -> float:
    """Compute the effective number of shared dimensions (ENSD) of two representations of the same samples.

    It is no `Measure`, since it is a number of dimensions: that of a representation with itself is its own.

    Parameters
    ----------
    x, y : array, tensor or frame (n, ...)
        The representations.

    Returns
    -------
    float
        From 0 to the root of the product of both participation ratios.

    Raises
    ------
    UndefinedError
        If CKA of the pair is undefined.

    Notes
    -----
    The value is CKA multiplied by the root of d_x d_y, with d the participation ratio (Σλ)² / Σλ² of the eigenvalues λ
    of the covariance: the number of directions that share the variance. So with K and L the centred matrices of inner
    products it is tr K tr L ⟨K, L⟩ / (⟨K, K⟩ ⟨L, L⟩). For x and x it is the participation ratio. Its normalised form is
    `CKA`.

    It is too high if features outnumber samples, as `CKA` is: of unrelated data it is on average d_x d_y / (n - 1).

    References
    ----------
    Giaffar, Rullán Buxó, Aoi 2024, "The effective number of shared dimensions between paired datasets", AISTATS.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared, own, other = (np.linalg.qr(rng.normal(size=(1000, 3)))[0] for _ in range(3))
    >>> x, y = np.hstack([shared, own]), np.hstack([shared, other])
    >>> round(rs.measures.shared_dimensions(x, x)), round(rs.measures.shared_dimensions(x, y))
    (6, 3)
    """
    value = CKA()(x, y)  # checks both sides, too
    return value * math.sqrt(_participation_ratio(x) * _participation_ratio(y))


def _participation_ratio(x: Array) -> float:
    side = centred_unit(to_numpy(check_representation(x, double=True)))
    products = side.T @ side if side.shape[1] < len(side) else side @ side.T
    return 1 / float(np.vdot(products, products))
