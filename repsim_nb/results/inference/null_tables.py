"""A table of values with what permuted samples would give in each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.table_inputs import check_sides, to_arrays
from repsim_nb.results.comparison import Comparison, OnUndefined, compare_with_moments
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_fraction
from repsim_nb.support.workers import open_workers

from .counted_p_values import count_p_values, needs_counting, permutations_for
from .grouped_rows import check_number, codes_of, group_means
from .nulls import closed_form, same_in_every_order
from .permutation_moments import moments_of
from .representations import representations_of
from .results import TESTED, check_permutations, least_backed, p_text, tail


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
        """p-values adjusted for their number: of the cells at most r, a fraction r at most is mistaken on average.

        1 of an item with itself, which is no test, and where p is undefined.

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

    def _summary(self) -> str:
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
            f" n={self.comparison.n}{self._what()}: {self._summary()})"
        )

    def _repr_html_(self) -> str:
        rows, columns = self.comparison.labels()
        marks = np.where(self.above().to_numpy(), " •", "")
        cells = [
            [f"{value:.3f}{mark}" for value, mark in zip(*row, strict=True)]
            for row in zip(self.value.to_numpy(), marks, strict=True)
        ]
        return summarize(
            "NullTable",
            str(self.comparison.measure),
            [f"n = {self.comparison.n}{self._what()}", f"{self._summary()}, marked •"],
            table=pd.DataFrame(cells, index=rows, columns=columns),
            page="inference.NullTable",
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
    """`compare`, and for every cell a p-value and the mean, sd and skewness over permuted samples.

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
    measure = closed_form(measure)
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
        reason = same_in_every_order(
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
    cells = _Cells(values.to_numpy(float), z, skewness, heavy)
    p_value, least, by_count = _p_values(measure, xs, ys, cells, n_permutations, seed, progress)
    arrays = {"mean": mean, "sd": sd, "skewness": skewness, "p_value": p_value, "least": least, "counted": by_count}
    frames = {name: pd.DataFrame(each, index=values.index, columns=values.columns) for name, each in arrays.items()}
    return NullTable(comparison, mirrored=ys is None, undefined=undefined, permuted=permuted, **frames)


def _means_of_groups(
    measure: Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None, groups: Any
) -> tuple[Mapping[Any, Any], Mapping[Any, Any] | None, str]:
    """Both sides, of rows in groups the means of these; and what they are, "samples" or "group means"."""
    sides = [xs] if ys is None else [xs, ys]
    if not all(isinstance(side, Mapping) and side for side in sides):  # type: ignore[redundant-expr]
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


class _Cells(NamedTuple):
    """Of every cell its value, z, the skewness of its null, and whether a few samples outweigh all others."""

    values: np.ndarray
    z: np.ndarray
    skewness: np.ndarray
    heavy: np.ndarray


def _p_values(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None,
    table: _Cells,
    n_permutations: int | None,
    seed: int,
    progress: bool | Tick,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> p-values, the least that can be backed, and whether they were counted."""
    values, z, skewness, heavy = table
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
            open_workers() as run,
            show_progress(
                progress, f"permutations for {len(cells)} cells of {measures.short_name(measure)}", "cell"
            ) as tick,
        ):
            for (i, j), count in count_p_values(measure, sides[0], sides[-1], cells, many, seed, run, tick).items():
                for cell in {(i, j), (j, i)} if ys is None else {(i, j)}:
                    p[cell], least[cell], by_count[cell] = count.p_value, count.least, True
    return p, least, by_count
