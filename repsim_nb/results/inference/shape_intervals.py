"""Shape distance of populations from few samples, by moments of the cross-covariance."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from repsim_nb.measures import Procrustes
from repsim_nb.measures.alignment import shape_distance
from repsim_nb.measures.arrays import centred_unit, reduce_features
from repsim_nb.measures.table_inputs import check_sides
from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import (
    check_choice,
    check_fraction,
    check_integer,
    check_representation,
    is_number,
    to_numpy,
)
from repsim_nb.support.workers import check_stopped

from .grouped_rows import check_independent
from .results import Interval

_POINTS = 100  # of the spectrum, where the error of a polynomial is bounded
_FOLDS = 20  # left out in turn, for the covariance of moments


class _Sides(NamedTuple):
    """Matrices of inner products of samples (U-centred), so scaled that the largest sample singular value is 1.

    total: by which a nuclear norm is divided. width: the number of singular values.
    """

    k: np.ndarray
    other: np.ndarray
    total: float
    width: int


def procrustes_interval(
    x: Array,
    y: Array,
    *,
    form: Literal["squared", "distance", "angle"] = "squared",
    moments: int = 4,
    balance: float = 1.0,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Estimate the Procrustes distance of two populations, and an interval that allows for its bias.

    Use it where `interval("procrustes", x, y)` fails: for sides that are unrelated, or of which some directions are.
    The distance of few samples is then far too small. `interval` is better for sides that are alike.

    Parameters
    ----------
    x, y : array (n, p) and array (n, q)
        The representations of the same samples, which are drawn independently of each other.
    form : {"squared", "distance", "angle"}
        As in `Procrustes`.
    moments : int
        How many moments are used, from 1 to 8; n must be at least four times that. More moments have less bias and more
        variance.
    balance : float
        From 0 to 2: the weight of the squared bias against the variance. Values near 0 make the variance small, values
        near 2 the bias; 1 makes their sum small.
    level : float
        The confidence level.
    seed : int
        Seed of the orders of samples.

    Returns
    -------
    Interval
        The estimate, and an interval that is the estimate ± (largest possible bias + normal quantile · standard error).

    Raises
    ------
    UndefinedError
        If a side is constant, or n is below four times `moments`.
    ValueError
        If an option is illegal, if the sides do not have the same samples, or if rows are in groups.

    Notes
    -----
    The squared distance is 2 - 2s, with s the sum of the singular values of the cross-covariance over the root of the
    product of both total variances. The sum over singular values of their power 2k has an unbiased estimate: products
    along chains of 2k different samples. They are taken over samples in increasing order, with U-centred matrices, and
    averaged over four random orders. A polynomial without constant approximates the root, and its coefficients combine
    the moments into an estimate of s. They minimise a weighted sum of the variance, by a jackknife of twenty groups of
    samples, and the squared bound of the bias: the largest error of the polynomial between 0 and the largest singular
    value of the samples, times the number of singular values.

    The bound is for the worst spectrum, so intervals are wide, and hold the value more often than promised: in
    simulations of unrelated sides, and of sides with some directions in common, in all cases
    (`benchmarks/CALIBRATION.md`). An estimate or an end that no distance can have is set to the nearest possible value;
    so for unrelated sides many estimates are exactly 2, and their mean is a little below it. Cost: about 200 products
    of two n × n matrices, half a second for n = 200 and about twenty seconds for n = 1000.

    References
    ----------
    Pospisil, Larsen, Harvey, Williams 2024, "Estimating shape distances on neural representations with limited
    samples", ICLR, arXiv 2310.05742.
    Kong, Valiant 2017, "Spectrum estimation from samples", Annals of Statistics.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(80, 10)), rng.normal(size=(80, 10))  # unrelated: 2 in the population
    >>> round(rs.measures.get("procrustes")(x, y), 1)
    1.4
    >>> found = rs.inference.procrustes_interval(x, y)
    >>> round(found.estimate, 1), 2 in found
    (2.0, True)
    """
    check_choice(form, "form of procrustes_interval", ("squared", "distance", "angle"))
    check_integer(moments, "moments of procrustes_interval", minimum=1)
    if moments > 8:
        raise ValueError(f"moments of procrustes_interval must be at most 8; got {moments}")
    if not (is_number(balance) and 0 < balance <= 2):
        raise ValueError(f"balance of procrustes_interval must be a number above 0 and at most 2; got {balance!r}")
    check_fraction(level, "level of procrustes_interval")
    check_seed(seed)
    check_sides({"x": {"x": x}, "y": {"y": y}}, Procrustes())
    check_independent((x, y), "procrustes_interval")
    sides = _prepare(x, y, 4 * moments)
    n = len(sides.k)
    orders = [np.random.default_rng((seed, k)).permutation(n) for k in range(4)]
    found = np.mean([_moments(sides, order, moments) for order in orders], axis=0)
    parts = np.array([_moments(sides, orders[0][np.arange(n) % _FOLDS != k], moments) for k in range(_FOLDS)])
    parts -= parts.mean(axis=0)
    covariance = (_FOLDS - 1) / _FOLDS * parts.T @ parts
    weights, error = _weights(covariance, sides.width, balance)
    s = float(weights @ found) / sides.total
    spread = math.sqrt(max(float(weights @ covariance @ weights), 0.0)) / sides.total
    margin = error * sides.width / sides.total + norm.ppf((1 + level) / 2) * spread
    # no similarity is outside of 0 to 1
    ends = [shape_distance(min(max(value, 0.0), 1.0), form) for value in (s + margin, s - margin, s)]
    return Interval(low=ends[0], high=ends[1], level=level, estimate=ends[2])


def _prepare(x: Array, y: Array, least: int) -> _Sides:
    sides = [to_numpy(reduce_features(centred_unit(check_representation(side, double=True)))) for side in (x, y)]
    n = len(sides[0])
    if n != len(sides[1]):
        raise ValueError(f"'x' has {n} rows, 'y' has {len(sides[1])}: procrustes_interval needs the same samples")
    if n < least:
        raise UndefinedError(f"{n} samples are too few: {least} or more are needed for so many moments")
    largest = float(np.linalg.norm(sides[0].T @ sides[1], 2))
    if largest <= 1e-12:
        raise UndefinedError("the covariance of both sides is 0 within rounding, so its spectrum has no moments")
    # centred sides at norm 1: both total variances are 1 / (n - 1), the largest sample singular value is largest / n
    k, other = (_u_centre(side @ side.T / largest * n) for side in sides)
    return _Sides(k, other, n / (n - 1) / largest, min(side.shape[1] for side in sides))


def _u_centre(kernel: np.ndarray) -> np.ndarray:
    """Return a matrix of samples with zero diagonal and row sums 0, so that products of two are unbiased (HSIC)."""
    n = len(kernel)
    kernel = kernel - np.diag(np.diag(kernel))
    rows = kernel.sum(axis=0) / (n - 2)
    kernel = kernel - rows - rows[:, None] + rows.sum() / (n - 1)
    np.fill_diagonal(kernel, 0)
    return kernel * math.sqrt((n - 1) / (n - 3))


def _moments(sides: _Sides, order: np.ndarray, number: int) -> np.ndarray:
    """Return unbiased estimates of the sums of powers 2, 4, ... of the singular values; order: rows, each once."""
    check_stopped()
    k, other = sides.k[np.ix_(order, order)], sides.other[np.ix_(order, order)]
    upper, its_upper = np.triu(k, 1), np.triu(other, 1)
    chain, found = upper, []
    for power in range(1, number + 1):
        chain = chain if power == 1 else chain @ its_upper @ upper
        found.append(float(np.sum(chain * other)) / math.comb(len(order), 2 * power))
    return np.array(found)


def _weights(covariance: np.ndarray, width: int, balance: float) -> tuple[np.ndarray, float]:
    """Return the coefficients of the moments, and the largest error of the polynomial for one singular value."""
    at = np.linspace(0, 1, _POINTS + 1)[1:]
    basis, back = np.linalg.qr(at[:, None] ** np.arange(1, len(covariance) + 1))
    to_powers = np.linalg.inv(back)
    spread = (2 - balance) * to_powers.T @ covariance @ to_powers
    scale = balance * width**2
    # -error <= root - polynomial <= error
    limits = np.vstack([np.hstack([sign * basis, np.ones((_POINTS, 1))]) for sign in (1, -1)])
    offset = np.concatenate([-np.sqrt(at), np.sqrt(at)])
    start = basis.T @ np.sqrt(at)
    found = minimize(
        lambda z: (z[:-1] @ spread @ z[:-1] + scale * z[-1] ** 2) / scale,
        np.append(start, np.abs(np.sqrt(at) - basis @ start).max()),
        jac=lambda z: np.append(2 * spread @ z[:-1], 2 * scale * z[-1]) / scale,
        constraints={"type": "ineq", "fun": lambda z: limits @ z + offset, "jac": lambda z: limits},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    coefficients = found.x[:-1]
    error = float(np.abs(np.sqrt(at) - basis @ coefficients).max())
    return to_powers @ coefficients, error
