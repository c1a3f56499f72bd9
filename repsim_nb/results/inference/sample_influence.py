"""The influence of each sample on a value."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from repsim_nb import measures
from repsim_nb.measures import Deconfounded, Measure
from repsim_nb.measures.confounds import partial
from repsim_nb.support.errors import UndefinedError, add_context
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import map_with_progress

from .grouped_rows import SampleUnits
from .representations import in_double

FAINT = 1e-6  # a remainder of this fraction of a sum still has ten digits


def influence(
    measure: str | Measure, x: Any, y: Any, *, groups: Any = None, progress: bool | Tick = False
) -> np.ndarray:
    """Return the influence of each sample: the value of all samples minus the value without that sample.

    It answers: does the value depend on a few samples? A positive number means that the sample makes the value larger:
    more alike for a similarity, less alike for a dissimilarity.

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka", or a configured measure.
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order.
    groups : labels (n,), optional
        Rows with the same label depend on each other and are left out together. Pairs of rows within a group do not
        count if the measure can leave them out (`interval` lists these measures). Recordings by token have the groups
        of their rows. Pass range(n) if rows are independent.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    array (n,)
        In float64, in the units of the measure. With groups, one number for each group (groups,), in the order of
        their first appearance.

    Raises
    ------
    ValueError
        If the sides have other samples.
    UndefinedError
        If the measure has no value without one of the samples, which the message names.

    Notes
    -----
    For linear CKA (not in batches), distance correlation (not its root) and RSA with second="pearson" the cost is O(n²)
    for all samples together: the values follow from the sums of the rows of two matrices. This holds for the same
    measures in `measures.deconfounded`. Other measures are computed n times, and so are values without a sample that
    has nearly all the variance of one side. Both ways are exact.

    References
    ----------
    J. W. Tukey 1958, Bias and confidence in not-quite large samples (abstract), Annals of Mathematical Statistics 29.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(30, 5))
    >>> y = x + rng.normal(size=(30, 5))
    >>> y[7] = 20
    >>> found = influence("cka", x, y)
    >>> found.shape, int(found.argmin())
    ((30,), 7)
    """
    measure = measures.get(measure)
    units = SampleUnits(measure, x, y, groups, "influence", strict=False)
    if units.codes is not None:
        return _leave_each_out(units, measure, units.value(), np.full(units.number, np.nan), progress)
    with add_context("influence, of 'x'"):
        x = units.x = in_double(units.x)
    with add_context("influence, of 'y'"):
        y = units.y = in_double(units.y)
    n = units.number
    if n <= measure.min_samples:
        raise UndefinedError(
            f"{measures.short_name(measure)} needs at least {measure.min_samples} samples, so that one can be left out"
            f" of {measure.min_samples + 1} or more; there are {n}. Use more samples"
        )
    seen = measure(x, y)
    values = np.full(n, np.nan)
    if isinstance(measure, Deconfounded) and measure.base.recentring is not None:
        base, form = measure.base, measure.base.recentring
        a, b, c = (to_numpy(base.gram_matrix(base.prepare(side))) for side in (x, y, measure.values))
        ab, ac, bc = (_by_sums(one, other, form) for one, other in ((a, b), (a, c), (b, c)))
        values = partial(ab, ac, bc, FAINT)
    elif measure.recentring is not None:
        with suppress(NotImplementedError):  # an RDM with missing pairs has no such matrix
            a, b = (to_numpy(measure.gram_matrix(measure.prepare(side))) for side in (x, y))
            values = _by_sums(a, b, measure.recentring)
    return _leave_each_out(units, measure, seen, values, progress)


def _leave_each_out(
    units: SampleUnits, measure: Measure, seen: float, values: np.ndarray, progress: bool | Tick
) -> np.ndarray:
    """Return `seen` minus the values without each unit, and compute those that are NaN."""
    n, one = units.number, units.name.removesuffix("s")
    ask = np.flatnonzero(np.isnan(values))

    def without(i: int) -> float:
        with add_context(f"without {one} {i}"):
            return units.value(np.delete(np.arange(n), i))

    values[ask] = map_with_progress(
        without, ask.tolist(), progress=progress, what=f"influence on {measures.short_name(measure)}", unit=one
    )
    return seen - values


def _by_sums(a: np.ndarray, b: np.ndarray, recentring: str) -> np.ndarray:
    """Return the cosine of two matrices without each sample (n,), centred again.

    NaN if nearly nothing is left of one side, so that a difference of large sums would be rounding.
    """
    both, own, other = (_products(one, two, recentring) for one, two in ((a, b), (a, a), (b, b)))
    faint = np.minimum(own / np.einsum("ij,ij->", a, a), other / np.einsum("ij,ij->", b, b)) < FAINT
    return np.where(faint, np.nan, both / np.sqrt(np.where(faint, 1.0, own * other)))


def _products(a: np.ndarray, b: np.ndarray, recentring: str) -> np.ndarray:
    """Return <a, b> of the centred matrices without each sample (n,), from sums over all samples and over its row."""
    m = len(a) - 1
    rows_a, rows_b, own_a, own_b = a.sum(axis=1), b.sum(axis=1), a.diagonal(), b.diagonal()
    product = np.einsum("ij,ij->i", a, b)
    entries = product.sum() - 2 * product + own_a * own_b
    total_a, total_b = rows_a.sum() - 2 * rows_a + own_a, rows_b.sum() - 2 * rows_b + own_b
    if recentring == "pairs":  # each pair once, less the mean of all pairs
        return entries - total_a * total_b / (m * (m - 1))
    of_rows = rows_a @ rows_b - b @ rows_a - a @ rows_b + product - (rows_a - own_a) * (rows_b - own_b)
    if recentring == "double":
        return entries - 2 / m * of_rows + total_a * total_b / m**2
    return entries - 2 / (m - 2) * of_rows + total_a * total_b / ((m - 1) * (m - 2))
