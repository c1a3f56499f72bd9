"""What chance alone would give: samples of one side shuffled, by permutation or in closed form, for a pair and for a whole table."""

from __future__ import annotations

import html
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .. import measures
from ..comparison import Comparison, compare
from ..errors import UndefinedError
from ..escaping import without_formulas
from ..measures import Measure
from ..measures.door import enter, eps, reordered
from ..measures.moments import dot, sums_of
from ..progress import Tick, ticking
from ..workers import HERE, workers
from .orders import moments_of
from .results import ROUNDING, Moments, Test, by_counting, check_level, check_permutations, one_order, tail
from .samples import pair_of, rows_of

ALL_SAMPLES = 7  # of no more samples (5,040 orders) all orders are gone through
_PIECE = 0.05  # seconds of work after which it can be stopped


def permutation_test(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    n_permutations: int = 999,
    exact: bool | str = "auto",
    seed: int = 0,
    progress: bool | Tick = False,
) -> Test:
    """Is the value of a pair more than chance gives? The samples of y are shuffled, which leaves all that is not about which sample is which -> Test, one-sided.

    "greater" for a similarity, "less" for a dissimilarity: extreme is what is more alike. statistic, null: values as measured. Nothing is prepared anew but where a measure needs it
    (`Measure.permute`).
    exact: all n! orders (True, up to 9 samples), n_permutations random ones (False), or "auto": all of up to 7 samples. progress: may raise to stop.
    Samples must be interchangeable: of frames of a video, say, or words of one text it asks the wrong question. For many pairs: `null_table`.
    Errors: UndefinedError where the measure has no value for the pair, or for one of its shuffles.
    """
    measure = measures.get(measure)
    check_permutations(n_permutations)
    if exact not in (True, False, "auto"):
        raise ValueError(f"exact is True (all orders of the samples), False (random ones) or 'auto'; got {exact!r}")
    x, y, n = pair_of(x, y)
    every = n <= ALL_SAMPLES if exact == "auto" else bool(exact)
    if every and n > 9:
        raise ValueError(f"exact=True goes through all orders, of up to 9 samples (362,880 orders); there are {n}: take exact=False")
    statistic = measure(x, y)
    if every:  # as finely as can be: equal values of different orders count as equal
        x, y = (enter(side, double=True, constant=True) for side in (x, y))
    rng = np.random.default_rng(seed)
    orders: Iterator[np.ndarray] = map(np.array, itertools.permutations(range(n))) if every else (rng.permutation(n) for _ in range(n_permutations))
    shuffled, total, found = _Shuffled(measure, x, y), math.factorial(n) if every else n_permutations, []
    with ticking(progress, f"permutations of {measures.short_name(measure)}", "permutation") as tick:
        tick(0, total)
        began = time.perf_counter()
        found.extend(shuffled([next(orders)]))
        each = max(time.perf_counter() - began, 1e-6)
        at_once = max(1, int(_PIECE / each))
        with workers() if total * each > _PIECE else nullcontext(HERE) as run:
            while some := list(itertools.islice(orders, at_once * run.number)):
                for values in run(shuffled, [some[i : i + at_once] for i in range(0, len(some), at_once)], idle=lambda: tick(len(found), total)):
                    found.extend(values)
                tick(len(found), total)
    null = np.array(found)
    rounding = max(ROUNDING, *(16 * eps(enter(side[:2], constant=True)) for side in (x, y)))  # float32 would tell equal values of different orders apart
    return by_counting(float(null[0]) if every else statistic, null, "greater" if measure.kind == "similarity" else "less", every, rounding)


class _Shuffled:
    """The values of x with y reordered, for some orders: of matrices by one inner product, else by pairs of what was prepared."""

    def __init__(self, measure: Measure, x: Any, y: Any) -> None:
        self.measure, self.y = measure, y
        self.a, self.b = measure.prepare(x), measure.prepare(y)
        try:
            self.squares = measure.square(self.a), measure.square(self.b)
        except NotImplementedError:
            self.squares = None

    def __call__(self, orders: list[np.ndarray]) -> list[float]:
        return [self._value(order) for order in orders]

    def _value(self, order: np.ndarray) -> float:
        if self.squares is not None:
            one, other = self.squares
            return dot(one, reordered(other, order))
        try:
            b = self.measure.permute(self.b, order)
        except NotImplementedError:
            b = self.measure.prepare(rows_of(self.y, order))
        return self.measure.pair(self.a, b)


def null_moments(measure: str | Measure, x: Any, y: Any) -> Moments:
    """Mean, variance and skewness of a pair's value over all n! orders of the samples of one side, exactly and without shuffling -> Moments.

    For values that are inner products of two matrices of samples: CKA (not in batches), distance correlation (not its root), RSA whose second order is "pearson", "spearman" or "cosine".
    Errors: NotImplementedError for other measures, which take `permutation_test`; UndefinedError where the measure has no value, or every order gives the same one.
    [Mantel 1967; Siemiatycki 1978; Kazi-Aoual, Hitier, Sabatier, Lebreton 1995; Josse, Pagès, Husson 2008]
    """
    return _value_and_null(_closed(measure), *pair_of(x, y))[1]


def _value_and_null(measure: Measure, x: Any, y: Any, n: int) -> tuple[float, Moments]:
    value = measure(x, y)  # says what is wrong with either
    sums = [sums_of(measure.square(measure.prepare(side))) for side in (x, y)]
    mean, variance, third = (float(moment[0, 0]) for moment in moments_of(sums[:1], sums[1:]))
    if not variance > 0:
        raise UndefinedError(_same(measure, "this pair"))
    return value, Moments(mean, variance, third / variance**1.5, one_order(n))


@dataclass(frozen=True, eq=False, repr=False)
class NullTable:
    """A table of values beside what shuffled samples would give in each cell: DataFrames labelled alike, `value`, `mean`, `sd`, `skewness`, `z` (value less mean, over sd), `p_value`."""

    comparison: Comparison
    mean: pd.DataFrame
    sd: pd.DataFrame
    skewness: pd.DataFrame
    p_value: pd.DataFrame
    mirrored: bool

    @property
    def value(self) -> pd.DataFrame:
        return self.comparison.values

    @property
    def z(self) -> pd.DataFrame:
        return (self.value - self.mean) / self.sd

    def adjusted(self) -> pd.DataFrame:
        """p-values adjusted for their number: cells at most r are, of all such, mistaken in a share r at most on average. 1 of an item with itself, which is no test.

        [Benjamini, Hochberg 1995; it holds for tests that depend on each other positively]
        """
        p, adjusted = self.p_value.to_numpy(), np.ones(self.p_value.shape)
        which = np.triu(np.ones(p.shape, bool), 1) if self.mirrored else np.ones(p.shape, bool)
        if which.any():
            adjusted[which] = stats.false_discovery_control(p[which], method="bh")
        return self._frame(np.minimum(adjusted, adjusted.T) if self.mirrored else adjusted)

    def above(self, rate: float = 0.05) -> pd.DataFrame:
        """Which cells stand above their null, at this rate of false discoveries."""
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool) or not 0 < rate < 1:
            raise ValueError(f"rate is the share of the cells found that may be found by chance, between 0 and 1, such as 0.05; got {rate!r}")
        return self.adjusted() <= rate

    def _frame(self, values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.value.index, columns=self.value.columns)

    def _said(self) -> str:
        above, size = self.above(), self.value.shape
        found, tests = (int(above.to_numpy().sum()), above.size) if not self.mirrored else (int(above.to_numpy().sum()) // 2, size[0] * (size[0] - 1) // 2)
        return f"{found} of {tests} {'pairs' if self.mirrored else 'cells'} above their null (false discovery rate 5 %)"

    def __repr__(self) -> str:
        return f"NullTable({self.comparison.measure}, {' × '.join(map(str, self.value.shape))}, n={self.comparison.n}: {self._said()})"

    def _repr_html_(self) -> str:
        rows, columns = self.comparison.labels()
        marks = np.where(self.above().to_numpy(), " •", "")
        cells = [[f"{value:.3f}{mark}" for value, mark in zip(*row, strict=True)] for row in zip(self.value.to_numpy(), marks, strict=True)]
        head = f"<p><b>{html.escape(str(self.comparison.measure))}</b>, n = {self.comparison.n}: {self._said()}, marked •</p>"
        return without_formulas(head + pd.DataFrame(cells, index=rows, columns=columns).to_html(max_rows=40, max_cols=30))


def null_table(measure: str | Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None = None, *, progress: bool | Tick = False) -> NullTable:
    """`compare`, and for every cell the mean, sd and skewness that shuffled samples would give, with a p-value, in closed form -> NullTable.

    Moments are exact, as in `null_moments`, from a few sums of each representation; p-values are of Pearson's type III curve, upper tail. Measures as in `null_moments`.
    That curve is smooth: where one sample outweighs all others, shuffled values are of two kinds, and p is too small (one outlier in both of 40 samples 100 times as far out:
    0.005 where 0.025 of all orders bring them together). `reliability.diagnose` names such samples; `permutation_test` says what holds.
    Of 100 representations of up to 1000 samples it takes 1.3 to 2.2 times as long as `compare`, more where n is larger (the cube of an n × n matrix is in it); memory for a few such a thread.
    Errors: those of `compare` and `null_moments`.
    """
    measure = _closed(measure)
    found: dict[tuple[int, int], Any] = {}
    comparison = compare(measure, xs, ys, progress=progress, sums=found)
    values = comparison.values
    left = [found[0, i] for i in range(values.shape[0])]
    mean, variance, third = moments_of(left, left if ys is None else [found[1, j] for j in range(values.shape[1])])
    if not (variance > 0).all():
        i, j = np.argwhere(~(variance > 0))[0]
        raise UndefinedError(_same(measure, f"'{measures.named(list(xs)[i])}' and '{measures.named(list(xs if ys is None else ys)[j])}'"))
    sd = np.sqrt(variance)
    skewness = third / (variance * sd)
    p_value = tail((values.to_numpy() - mean) / sd, skewness, one_order(comparison.n))
    return NullTable(comparison, *(pd.DataFrame(each, index=values.index, columns=values.columns) for each in (mean, sd, skewness, p_value)), mirrored=ys is None)


def calibrated(measure: str | Measure, x: Any, y: Any, *, level: float = 0.95, n_permutations: int = 199, seed: int = 0) -> float:
    """How far a value stands above what shuffled samples give, of the way to the best there is: 0 like unrelated data, 1 like identical.

    (s - q) / (best - q), 0 where that is below 0; q: the quantile `level` of the null (of a dissimilarity 1 - level), which unrelated data pass in a share 1 - level; in closed
    form where there is one (`null_moments`), else from n_permutations shuffles. best: the end of the measure's range, 1 for CKA. So values at other widths and other n can be compared: CKA
    of sides with .3 of their variance in common is 0.40, 0.62, 0.84 at 10, 50 and 200 features of 60 samples, calibrated 0.27, 0.27, 0.28. Measures of other shape gain less (Procrustes: 0.34 to
    0.26). It has no unbiased meaning: for the value at infinitely many samples take a debiased measure.
    Errors: UndefinedError where shuffled samples reach the best value; ValueError for a measure whose best value is infinite.
    """
    measure = measures.get(measure)
    check_level(level)
    check_permutations(n_permutations)
    alike = measure.kind == "similarity"
    best = measure.range[1 if alike else 0]
    if not math.isfinite(best):
        raise ValueError(f"a calibrated value lies between what chance gives and the best value, and that of {measure} is infinite")
    x, y, n = pair_of(x, y)
    try:
        value, null = _value_and_null(_closed(measure), x, y, n)
        q = null.quantile(level if alike else 1 - level)
    except NotImplementedError:
        test = permutation_test(measure, x, y, n_permutations=n_permutations, seed=seed)
        value, sizes = test.statistic, np.sort(test.null if alike else -test.null)
        q = float(sizes[min(math.ceil(level * (len(sizes) + 1)), len(sizes)) - 1]) * (1 if alike else -1)
    if not (best - q) * (1 if alike else -1) > 1e-9:
        raise UndefinedError(f"shuffled samples have a {measures.short_name(measure)} of {q:.3g}, and no value is better than {best:.3g}: with so many features for so few samples nothing stands above chance")
    return max((value - q) / (best - q), 0.0)


def _closed(measure: str | Measure) -> Measure:
    measure = measures.get(measure)
    try:
        measure.check_square()
    except NotImplementedError as error:
        raise NotImplementedError(f"the null distribution of {measures.short_name(measure)} has no closed form here: {error}. Take permutation_test") from None
    return measure


def _same(measure: Measure, whom: str) -> str:
    return f"{measure} of {whom}: every order of the samples gives the same value, so none stands above chance (one side's samples are all equally alike)"
