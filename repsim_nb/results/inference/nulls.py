"""What chance alone would give: the samples of one side permuted, in closed form, for a pair and for a whole table."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.moments import sums_of
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.progress import Tick

from .counted_p_values import MOST, needs_counting
from .grouped_rows import check_number, codes_of, group_means
from .permutation_moments import moments_of
from .permutations import Permuted, permutation_test, rounding_between, values_of_orders
from .representations import pair_of
from .results import Moments, check_level, check_permutations, least_backed, one_order, quantile_of


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
    """Mean, variance and skewness of a pair's value over all n! orders of the samples of one side, exactly -> Moments.

    Parameters
    ----------
    measure : str or Measure
        One whose values are inner products of two matrices of samples: CKA (not in batches), distance correlation (not
        its root), RSA whose second order is "pearson", "spearman" or "cosine".
    x, y : arrays (n, ...)
    groups : labels (n,), optional
        Rows with the same label depend on each other. The means of groups are compared and permuted, each of as many
        rows as the smallest group has, evenly spaced. Recordings by token know the groups of their rows.
    n_permutations : int
        If a few samples outweigh all others, tails are counted in so many random orders
        (`Moments.random_values`), since three moments do not describe them.

    Raises
    ------
    NotImplementedError
        For other measures, which take `permutation_test`.
    UndefinedError
        Where the measure has no value, or every order gives the same one.

    References
    ----------
    Mantel 1967; Siemiatycki 1978; Kazi-Aoual, Hitier, Sabatier, Lebreton 1995; Josse, Pagès, Husson 2008.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> null = null_moments("cka", rng.normal(size=(60, 5)), rng.normal(size=(60, 8)))
    >>> round(null.mean, 2), round(null.sd, 2)
    (0.1, 0.02)
    """
    check_permutations(n_permutations)
    measure = closed_form(measure)
    return _value_and_null(measure, *_units(measure, x, y, groups), n_permutations, seed, progress)[1]


def _units(measure: Measure, x: Any, y: Any, groups: Any) -> tuple[Any, Any]:
    """Both sides, a row a sample; of rows in groups the means of these."""
    given = x, y
    x, y, n = pair_of(x, y)
    codes = codes_of(groups, (*given, x, y), n, every=True)
    if codes is None:
        return x, y
    check_number(codes, measure)
    return group_means(x, codes), group_means(y, codes)


def _value_and_null(
    measure: Measure, x: Any, y: Any, n_permutations: int, seed: int, progress: bool | Tick = False
) -> tuple[float, Moments]:
    value = measure(x, y)  # says what is wrong with either
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
    """The values of random orders."""
    rng = np.random.default_rng(seed)
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
    """A value on a scale on which the chance level is 0 and the best possible value is 1.

    Parameters
    ----------
    measure : str or Measure
    x, y : arrays (n, ...)
    groups : labels (n,), optional
        Rows with the same label depend on each other: the means of groups are compared, as in `null_moments`.
    level : float
        The chance level is this quantile of the null distribution (of a dissimilarity 1 - level), so a fraction 1 -
        level of unrelated pairs have a value above 0.
    n_permutations : int
        For measures without a closed form (`null_moments`).

    Returns
    -------
    float
        (s - q) / (best - q), 0 if that is below 0. q: the chance level; best: the end of the measure's range, 1 for
        CKA.

    Notes
    -----
    Values at other widths and other n can be compared: CKA of sides with .3 of their variance in common is 0.40, 0.62,
    0.84 at 10, 50 and 200 features of 60 samples, corrected 0.27, 0.27, 0.28. Measures of other shape gain less
    (Procrustes: 0.34 to 0.26). It is no estimate of the value at infinitely many samples; for that take a debiased
    measure.

    Raises
    ------
    UndefinedError
        If permuted samples reach the best value: use more samples or fewer features.
    ValueError
        For a measure whose best value is infinite, and a level that so few permutations cannot tell.

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
    if level > n_permutations / (n_permutations + 1):
        raise ValueError(
            f"the quantile {level:g} of a null distribution needs more than {n_permutations} permutations:"
            f" n_permutations={math.ceil(level / (1 - level))} or more"
        )
    alike = measure.kind == "similarity"
    best = measure.range[1 if alike else 0]
    if not math.isfinite(best):
        raise ValueError(
            f"a chance-corrected value lies between what chance gives and the best value, and that of {measure} is"
            " infinite"
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
            f"shuffled samples have a {measures.short_name(measure)} of {q:.3g}, and no value is better than"
            f" {best:.3g}: use more samples or fewer features"
        )
    return max((value - q) / (best - q), 0.0)


def closed_form(measure: str | Measure) -> Measure:
    measure = measures.get(measure)
    measure.check_exchange()
    try:
        measure.check_gram_matrix()
    except NotImplementedError as error:
        raise NotImplementedError(
            f"the null distribution of {measures.short_name(measure)} has no closed form here: {error}. Take"
            " permutation_test"
        ) from None
    return measure


def same_in_every_order(measure: Measure, whom: str) -> str:
    return (
        f"{measure} of {whom}: every order of the samples gives the same value, so none stands above chance (one side's"
        " samples are all equally alike)"
    )
