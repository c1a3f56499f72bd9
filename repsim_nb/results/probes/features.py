"""Options and features of a probe: checked, scaled by the training rows, reduced or expanded."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from repsim_nb.support.errors import add_context, format_label
from repsim_nb.support.validation import check_fraction, check_integer, check_positive, check_representation, to_numpy
from repsim_nb.support.workers import single_threaded_blas

from .held_out import MIN_ROWS

LANDMARKS = 600  # of the kernel probe


def check_set(label: Any, x: Any, *, constant: bool = True) -> np.ndarray:
    """Return one checked representation as float64 (n, p); an error names it. `constant`: allow equal rows."""
    with add_context(f"'{format_label(label)}'", ValueError, MemoryError):
        return to_numpy(check_representation(x, constant=constant)).astype(float)


def scale(x: np.ndarray, is_test: np.ndarray) -> np.ndarray:
    """Standardise by mean and standard deviation of the training rows; features that are constant there are centred."""
    x = x / max(np.abs(x).max(), np.finfo(float).tiny)  # no square of it can overflow or vanish
    mean, spread = x[~is_test].mean(axis=0), x[~is_test].std(axis=0)
    return (x - mean) / np.where(spread > 1e-12 * np.abs(mean).clip(min=1e-300), spread, 1)


def reduce(fit: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate to the span of the training rows if there are more features than rows; a linear probe needs no more.

    The coordinates come from a Cholesky factor of the products between rows, which is faster than an orthogonal basis.
    """
    if fit.shape[1] <= fit.shape[0]:
        return fit, test
    with single_threaded_blas():
        factor, places, rank, _ = dpstrf(fit @ fit.T, lower=1)
        order, lower = places - 1, np.tril(factor)[:, :rank]
        coordinates = np.empty_like(lower)
        coordinates[order] = lower
        products = fit[order[:rank]] @ test.T
        return coordinates, solve_triangular(lower[:rank], products, lower=True, check_finite=False).T


def expand(fit: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Map rows to features of a Gaussian kernel (Nyström)."""
    variance = fit.var()
    from sklearn.kernel_approximation import Nystroem  # here: scikit-learn takes a second to import

    kernel = Nystroem(
        gamma=1 / (fit.shape[1] * (variance if variance > 0 else 1)),
        n_components=min(LANDMARKS, len(fit)),
        random_state=seed,
    )
    return kernel.fit_transform(fit), kernel.transform(test)


def check_options(test_fraction: float, cost: float, n_permutations: int, seed: int, **more: int) -> None:
    """Check the options that both probes have; `more` are numbers of rows."""
    check_fraction(test_fraction, "test_fraction", hint="the fraction of images held out")
    check_positive(cost, "cost")
    for what, number, least in (
        ("n_permutations", n_permutations, 1),
        ("seed", seed, 0),
        *((what, number, 2 * MIN_ROWS) for what, number in more.items()),
    ):
        check_integer(number, what, minimum=least)
