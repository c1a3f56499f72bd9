"""The null distribution of one pair in closed form, and values corrected for the chance level."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.moments import sums_of
from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import check_seed, generator_of

from .counted_p_values import MOST, needs_counting
from .grouped_rows import check_number, codes_of, group_means
from .permutation_moments import moments_of
from .permutations import Permuted, permutation_test, rounding_between, values_of_orders
from .representations import pair_of
from .results import Moments, check_level, check_permutations, check_quantile, least_backed, one_order, quantile_of


def null_moments(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    n_permutations: int = MOST,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Moments:
    """Return the exact mean, variance and skewness of a value over all permutations of the samples of one side.

    They describe the values that unrelated representations with these shapes and spectra have. No permutation is drawn.

    Parameters
    ----------
    measure : str or Measure
        A measure whose values are inner products of two matrices of samples: CKA (not in batches), distance correlation
        (not its root), or RSA with the second order "pearson", "spearman" or "cosine".
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order.
    groups : labels (n,), optional
        Rows with the same label depend on each other. The means of groups are compared and permuted. Each mean is of as
        many rows as the smallest group has, evenly spaced. Recordings by token have the groups of their rows. Pass
        range(n) if rows are independent.
    n_permutations : int
        The number of random orders in which tails are counted, if a few samples outweigh all others, because three
        moments do not describe the tails then (`Moments.random_values`).
    seed : int
        The seed of these orders.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    Moments
        With `mean`, `sd`, `skewness`, `p_value(value)` and `quantile(level)`.

    Raises
    ------
    NotImplementedError
        For other measures: use `permutation_test`.
    UndefinedError
        If the measure has no value, or all orders give the same value.

    References
    ----------
    N. Mantel 1967, The detection of disease clustering and a generalized regression approach, Cancer Research 27.
    J. Siemiatycki 1978, Mantel's space-time clustering statistic: computing higher moments and a comparison of various
    data transforms, Journal of Statistical Computation and Simulation 7.
    F. Kazi-Aoual, S. Hitier, R. Sabatier, J.-D. Lebreton 1995, Refined approximations to permutation tests for
    multivariate inference, Computational Statistics & Data Analysis 20.
    J. Josse, J. Pagès, F. Husson 2008, Testing the significance of the RV coefficient, Computational Statistics & Data
    Analysis 53.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> null = null_moments("cka", rng.normal(size=(60, 5)), rng.normal(size=(60, 8)))
    >>> round(null.mean, 2), round(null.sd, 2)
    (0.1, 0.02)
    """
    check_permutations(n_permutations)
    check_seed(seed)
    measure = closed_form(measure)
    return _value_and_null(measure, *_units(measure, x, y, groups), n_permutations, seed, progress)[1]


def _units(measure: Measure, x: Any, y: Any, groups: Any) -> tuple[Any, Any]:
    """Return both sides with one row a sample, or one row a group (its mean) if rows are in groups."""
    given = x, y
    x, y, n = pair_of(x, y, measure)
    codes = codes_of(groups, (*given, x, y), n, every=True)
    if codes is None:
        return x, y
    check_number(codes, measure)
    return group_means(x, codes), group_means(y, codes)


def _value_and_null(
    measure: Measure, x: Any, y: Any, n_permutations: int, seed: int, progress: bool | Tick = False
) -> tuple[float, Moments]:
    """Return the value of a pair and its null distribution."""
    value = measure(x, y)  # also checks both sides
    sums = [sums_of(measure.gram_matrix(measure.prepare(side))) for side in (x, y)]
    mean, variance, third = (float(moment[0, 0]) for moment in moments_of(sums[:1], sums[1:]))
    if not variance > 0:
        raise UndefinedError(same_in_every_order(measure, "this pair"))
    moments = mean, variance, third / variance**1.5
    if not needs_counting(sums[:1], sums[1:])[0, 0]:
        return value, Moments(*moments, least_backed(sums[0].n))
    count = functools.partial(_orders, measure, x, y, n_permutations, seed, progress)
    return value, Moments(*moments, max(1 / (n_permutations + 1), one_order(sums[0].n)), count, rounding_between(x, y))


def _orders(measure: Measure, x: Any, y: Any, n_permutations: int, seed: int, progress: bool | Tick) -> np.ndarray:
    """Return the values of random orders (n_permutations,)."""
    rng = generator_of(seed)
    orders = (rng.permutation(len(x)) for _ in range(n_permutations))
    return values_of_orders(
        Permuted(measure, x, y), orders, n_permutations, f"permutations of {measures.short_name(measure)}", progress
    )


def chance_corrected(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    level: float = 0.95,
    n_permutations: int = 199,
    seed: int = 0,
) -> float:
    """Return a value on a scale from 0, the chance level, to 1, the best possible value.

    Values of layers of other widths, and of other numbers of samples, can then be compared.

    Parameters
    ----------
    measure : str or Measure
        A measure whose best value is finite.
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order.
    groups : labels (n,), optional
        Rows with the same label depend on each other: the means of groups are compared, as in `null_moments`.
    level : float
        The chance level is this quantile of the null distribution (1 - level for a dissimilarity). So a fraction 1 -
        level of unrelated pairs have a value above 0.
    n_permutations : int
        The number of permutations, for measures without a closed form (`null_moments`) and for tails that are counted.
    seed : int
        The seed of the permutations.

    Returns
    -------
    float
        (value - q) / (best - q), or 0 if that is negative, with the chance level q and the best value of the measure (1
        for CKA).

    Raises
    ------
    UndefinedError
        If permuted samples reach the best value: use more samples or fewer features.
    ValueError
        For a measure whose best value is infinite, and if `level` needs more permutations.

    Notes
    -----
    CKA of two sides with 0.3 of their variance in common is 0.40, 0.62 and 0.84 for 10, 50 and 200 features of 60
    samples. Corrected it is 0.27, 0.27 and 0.28. Other measures gain less (Procrustes: 0.34 to 0.26). The corrected
    value does not estimate the value at infinitely many samples: use a debiased measure for that.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 50))
    >>> round(chance_corrected("cka", x, x), 2), round(chance_corrected("cka", x, rng.normal(size=(60, 50))), 2)
    (1.0, 0.0)
    """
    measure = measures.get(measure)
    check_level(level)
    check_permutations(n_permutations)
    check_seed(seed)
    check_quantile(level, n_permutations)
    alike = measure.kind == "similarity"
    best = measure.range[1 if alike else 0]
    if not math.isfinite(best):
        raise ValueError(
            f"a chance-corrected value needs a measure whose best value is finite; that of {measure} is infinite. Use"
            " permutation_test."
        )
    x, y = _units(measure, x, y, groups)
    try:
        value, null = _value_and_null(closed_form(measure), x, y, n_permutations, seed)
        q = null.quantile(level)  # of similarities: no other measure has a closed form
    except NotImplementedError:
        test = permutation_test(measure, x, y, groups=range(len(x)), n_permutations=n_permutations, seed=seed)
        sign = 1 if alike else -1
        value, q = test.statistic, sign * quantile_of(sign * np.asarray(test.null), level)
    if not (best - q) * (1 if alike else -1) > 1e-9:
        raise UndefinedError(
            f"{measures.short_name(measure)} has no chance-corrected value: the null quantile ({q:.3g}) is as good as"
            f" the best possible value ({best:.3g}). Use more samples or fewer features"
        )
    return max((value - q) / (best - q), 0.0)


def closed_form(measure: str | Measure) -> Measure:
    """Return the measure if its null distribution has a closed form. NotImplementedError otherwise."""
    measure = measures.get(measure)
    measure.check_exchange()
    try:
        measure.check_gram_matrix()
    except NotImplementedError as error:
        raise NotImplementedError(
            f"the null distribution of {measures.short_name(measure)} has no closed form here: {as_clause(error)}. Use"
            " permutation_test"
        ) from None
    return measure


def same_in_every_order(measure: Measure, whom: str) -> str:
    """Return the message for a pair that has no null distribution."""
    return (
        f"{measure} of {whom}: every order of the samples gives the same value, so there is no null distribution (the"
        " samples of one side are all equally alike)"
    )
