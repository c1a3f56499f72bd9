"""What chance alone would give: the samples of one side permuted, in closed form, for a pair and for a whole table."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.moments import sums_of
from repsim_nb.measures.sides import check_sides, to_arrays
from repsim_nb.results.comparison import Comparison, OnUndefined, compare_with_moments
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_fraction
from repsim_nb.support.workers import workers

from .counting import MOST, counted, needs_counting, permutations_for
from .dependent_rows import check_number, codes_of, group_means
from .orders import moments_of
from .permutations import Permuted, permutation_test, rounding_between, values_of_orders
from .results import (
    TESTED,
    Moments,
    check_level,
    check_permutations,
    least_backed,
    one_order,
    p_text,
    quantile_of,
    tail,
)
from .samples import pair_of, representations_of


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
        If a few samples outweigh all others, tails are counted in so many random orders (`Moments.counted`): three
        moments say nothing of them.

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
    measure = _closed(measure)
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
        raise UndefinedError(_same(measure, "this pair"))
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


@dataclass(frozen=True, eq=False, repr=False)
class NullTable:
    """A table of values with what permuted samples would give in each cell.

    Frames labelled as the values are: `value`, `mean`, `sd`, `skewness`, `z` (value less mean, over sd), `p_value`;
    `least`, the smallest p-value that can be backed in this cell: where they are equal, `at_most`, p is an upper bound;
    `counted`, whether p was counted in random orders.
    undefined: {(row, column): why a cell has no value, or no null distribution}; such cells are NaN.
    permuted: what was compared and permuted, "samples" or "group means".
    """

    comparison: Comparison
    mean: pd.DataFrame
    sd: pd.DataFrame
    skewness: pd.DataFrame
    p_value: pd.DataFrame
    least: pd.DataFrame
    counted: pd.DataFrame
    mirrored: bool
    undefined: Mapping[tuple[Any, Any], str] = field(default_factory=dict)
    permuted: str = "samples"

    @property
    def at_most(self) -> pd.DataFrame:
        """Whether a p-value is an upper bound: p or less."""
        return self.p_value <= self.least

    @property
    def value(self) -> pd.DataFrame:
        return self.comparison.values

    @property
    def z(self) -> pd.DataFrame:
        return (self.value - self.mean) / self.sd

    def adjusted(self) -> pd.DataFrame:
        """p-values adjusted for their number: cells at most r are, of all such, mistaken in a share r at most on
        average. 1 of an item with itself, which is no test, and where p is undefined.

        [Benjamini, Hochberg 1995; it holds for tests that depend on each other positively]
        """
        p, adjusted = self.p_value.to_numpy(), np.ones(self.p_value.shape)
        which = np.isfinite(p) & (np.triu(np.ones(p.shape, bool), 1) if self.mirrored else np.ones(p.shape, bool))
        if which.any():
            adjusted[which] = stats.false_discovery_control(p[which], method="bh")
        return self._frame(np.minimum(adjusted, adjusted.T) if self.mirrored else adjusted)

    def above(self, rate: float = 0.05) -> pd.DataFrame:
        """Which cells stand above their null, at this rate of false discoveries."""
        check_fraction(rate, "rate", hint="the fraction of false discoveries, such as 0.05")
        return self.adjusted() <= rate

    def _frame(self, values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.value.index, columns=self.value.columns)

    @property
    def p_text(self) -> pd.DataFrame:
        """p-values as text, upper bounds with "≤"."""
        texts = [
            [p_text(p, bound) for p, bound in zip(*row, strict=True)]
            for row in zip(self.p_value.to_numpy(), self.at_most.to_numpy(), strict=True)
        ]
        return pd.DataFrame(texts, index=self.value.index, columns=self.value.columns)

    def _what(self) -> str:
        return "" if self.permuted == "samples" else f" {self.permuted}"

    def _said(self) -> str:
        above, size = self.above(), self.value.shape
        found, tests = (
            (int(above.to_numpy().sum()), above.size)
            if not self.mirrored
            else (int(above.to_numpy().sum()) // 2, size[0] * (size[0] - 1) // 2)
        )
        return f"{found} of {tests} {'pairs' if self.mirrored else 'cells'} above their null (false discovery rate 5 %)"

    def __repr__(self) -> str:
        return (
            f"NullTable({self.comparison.measure}, {' × '.join(map(str, self.value.shape))},"
            f" n={self.comparison.n}{self._what()}: {self._said()})"
        )

    def _repr_html_(self) -> str:
        rows, columns = self.comparison.labels()
        marks = np.where(self.above().to_numpy(), " •", "")
        cells = [
            [f"{value:.3f}{mark}" for value, mark in zip(*row, strict=True)]
            for row in zip(self.value.to_numpy(), marks, strict=True)
        ]
        head = (
            f"<p><b>{html.escape(str(self.comparison.measure))}</b>, n = {self.comparison.n}{self._what()}:"
            f" {self._said()}, marked •</p>"
        )
        return without_formulas(
            head + pd.DataFrame(cells, index=rows, columns=columns).to_html(max_rows=40, max_cols=30)
        )


def null_table(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None = None,
    *,
    groups: Any = None,
    on_undefined: OnUndefined = "raise",
    n_permutations: int | None = None,
    seed: int = 0,
    progress: bool | Tick = False,
) -> NullTable:
    """`compare`, and for every cell the mean, sd and skewness that permuted samples would give, with a p-value ->
    NullTable.

    Parameters
    ----------
    measure : str or Measure
        As in `null_moments`.
    xs, ys : {label: array (n, ...)}
    groups : labels (n,), optional
        Rows with the same label depend on each other: all values are then of the means of groups. Recordings by token
        know the groups of their rows.
    on_undefined : "raise" or "mask"
        At a cell that has no value, or whose value is the same in every order: raise, or leave it out, with the reason
        in `undefined`.
    n_permutations : int, optional
        How many random orders are counted for the cells that need it; None: as many as take about a minute for all of
        them, 199 to 9,999.

    Notes
    -----
    Moments are exact, from a few sums of each representation, and p-values are those of Pearson's type III curve, upper
    tail. That curve is too short where a few samples or pairs of samples outweigh all others (sample norms with heavy
    tails, outliers). With a and b the proportions of the samples in the sums of squares of both matrices: where 1 / Σ
    a² or 1 / Σ b² is below 30, or n (Σ a² - 1/n) (Σ b² - 1/n) above .01, or the same of pairs of samples above .3; and
    it is smooth, where values of two sides with repeated samples (codes) are few. Such a cell is counted in random
    orders if the curve gives less than .05, unless the inequality of Cantelli settles it: then p is at most 1 / (1 +
    z²). No p-value is smaller than what can be backed (`least`): 1e-9 by the curve, 1 in (n_permutations + 1) by
    counting. Simulated (benchmarks/CALIBRATION.md): with lognormal sample norms of σ up to 1, p ≤ .001 in at most .002
    of unrelated pairs.

    Of 100 representations of 1,000 samples it takes about 1.5 times as long as `compare`, more where n is larger (the
    cube of an n × n matrix is in it) and where cells are counted; memory for a few such a thread.

    Raises
    ------
    Those of `compare` and `null_moments`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> null_table("cka", {"a": x, "b": x + rng.normal(size=(60, 5)), "c": rng.normal(size=(60, 5))})
    NullTable(CKA, 3 × 3, n=60: 1 of 3 pairs above their null (false discovery rate 5 %))
    """
    measure = _closed(measure)
    if n_permutations is not None:
        check_permutations(n_permutations)
    xs, ys, permuted = _means_of_groups(measure, xs, ys, groups)
    comparison, found = compare_with_moments(measure, xs, ys, on_undefined=on_undefined, progress=progress)
    values, undefined = comparison.values, dict(comparison.undefined)
    rows, columns = (
        [i for i in range(size) if (side, i) in found]
        for side, size in ((0, values.shape[0]), (0 if ys is None else 1, values.shape[1]))
    )
    columns = rows if ys is None else columns
    left, right = [found[0, i] for i in rows], [found[0 if ys is None else 1, j] for j in columns]
    mean, variance, third = (np.full(values.shape, np.nan) for _ in range(3))
    heavy = np.zeros(values.shape, bool)
    if rows and columns:
        cells = np.ix_(rows, columns)
        mean[cells], variance[cells], third[cells] = moments_of(left, right)
        heavy[cells] = needs_counting(left, right)
    still = np.isfinite(values.to_numpy(float)) & ~(variance > 0)
    for i, j in np.argwhere(still).tolist():
        reason = _same(
            measure, f"'{format_label(list(xs)[i])}' and '{format_label(list(xs if ys is None else ys)[j])}'"
        )
        if on_undefined == "raise":
            raise UndefinedError(reason)
        undefined[values.index[i], values.columns[j]] = reason
    mean, variance, third = (np.where(still, np.nan, each) for each in (mean, variance, third))
    sd = np.sqrt(variance)
    with np.errstate(invalid="ignore"):
        skewness = third / (variance * sd)
    z = (values.to_numpy(float) - mean) / sd
    p_value, least, by_count = _p_values(
        measure, xs, ys, z, skewness, heavy, values.to_numpy(float), n_permutations, seed, progress
    )
    frames = (
        pd.DataFrame(each, index=values.index, columns=values.columns)
        for each in (mean, sd, skewness, p_value, least, by_count)
    )
    return NullTable(comparison, *frames, mirrored=ys is None, undefined=undefined, permuted=permuted)


def _means_of_groups(
    measure: Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None, groups: Any
) -> tuple[Mapping[Any, Any], Mapping[Any, Any] | None, str]:
    """Both sides, of rows in groups the means of these; and what they are, "samples" or "group means"."""
    sides = [xs] if ys is None else [xs, ys]
    if not all(isinstance(side, Mapping) and side for side in sides):
        return xs, ys, "samples"  # compare says what is wrong
    check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, measure)
    arrays = [to_arrays(side) for side in sides]
    n = measures.check_same_samples(*arrays)
    codes = codes_of(
        groups,
        [x for side, its in zip(sides, arrays, strict=True) for label in side for x in (side[label], its[label])],
        n,
        every=True,
    )
    if codes is None:
        return xs, ys, "samples"
    check_number(codes, measure)
    means = [{label: group_means(x, codes) for label, x in side.items()} for side in arrays]
    return means[0], None if ys is None else means[1], "group means"


def _p_values(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None,
    z: np.ndarray,
    skewness: np.ndarray,
    heavy: np.ndarray,
    values: np.ndarray,
    n_permutations: int | None,
    seed: int,
    progress: bool | Tick,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> p-values, the least that can be backed, and whether they were counted."""
    n = representations_of(xs)[1]
    least = np.full(z.shape, least_backed(n))
    with np.errstate(invalid="ignore"):
        p = np.where(np.isfinite(z), tail(z, skewness, least), np.nan)
        below = heavy & (p < TESTED)
    by_count = np.zeros(z.shape, bool)
    bound = 1 / (1 + z**2)  # Cantelli: true of any distribution
    tested = below & np.triu(np.ones(z.shape, bool), 1) if ys is None else below
    many = n_permutations or permutations_for(int(tested.sum()), n)
    settled = below & (z > 0) & (bound <= 1 / (many + 1))
    if ys is None:
        settled |= below & np.eye(len(z), dtype=bool)  # of an item with itself, which is no test
    p[settled] = least[settled] = bound[settled]
    cells = {(i, j): float(values[i, j]) for i, j in np.argwhere(tested & ~settled).tolist()}
    if cells:
        sides = [list(representations_of(side)[0].values()) for side in ([xs] if ys is None else [xs, ys])]
        with (
            workers() as run,
            show_progress(
                progress, f"permutations for {len(cells)} cells of {measures.short_name(measure)}", "cell"
            ) as tick,
        ):
            for (i, j), count in counted(measure, sides[0], sides[-1], cells, many, seed, run, tick).items():
                for cell in {(i, j), (j, i)} if ys is None else {(i, j)}:
                    p[cell], least[cell], by_count[cell] = count.p_value, count.least, True
    return p, least, by_count


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
        value, null = _value_and_null(_closed(measure), x, y, n_permutations, seed)
        q = null.quantile(level)  # of similarities: no other measure has a closed form
    except NotImplementedError:
        test = permutation_test(measure, x, y, groups=range(len(x)), n_permutations=n_permutations, seed=seed)
        value, q = test.statistic, quantile_of(test.null, level) if alike else -quantile_of(-test.null, level)
    if not (best - q) * (1 if alike else -1) > 1e-9:
        raise UndefinedError(
            f"shuffled samples have a {measures.short_name(measure)} of {q:.3g}, and no value is better than"
            f" {best:.3g}: use more samples or fewer features"
        )
    return max((value - q) / (best - q), 0.0)


def _closed(measure: str | Measure) -> Measure:
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


def _same(measure: Measure, whom: str) -> str:
    return (
        f"{measure} of {whom}: every order of the samples gives the same value, so none stands above chance (one side's"
        " samples are all equally alike)"
    )
