"""A table of values with the null distribution of each cell."""

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
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.comparison.comparing import compare_with_moments
from repsim_nb.results.comparison.inputs import OnUndefined, check_mappings
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.labels import short_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import check_seed
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
    """A table of values with the mean, sd, skewness and p-value of each cell under permutation of the samples.

    All frames have the rows and columns of the comparison, a number in each cell.

    Attributes
    ----------
    comparison : Comparison
        The values, as `compare` gives them.
    mean, sd, skewness : DataFrame
        The moments of the value of a cell over all orders of the samples of one side.
    p_value : DataFrame
        The probability that a random order gives the value of the cell or a larger one.
    least : DataFrame
        The smallest p-value that the method supports in this cell. If `p_value` equals it, it is an upper bound.
    counted : DataFrame of bool
        Whether the p-value was counted in random orders (otherwise it is that of Pearson's type III curve).
    mirrored : bool
        Whether rows and columns are the same items, so that each pair is in the table twice.
    undefined : {(row, column): str}
        Why a cell has no value, or no null distribution. These cells are NaN.
    permuted : str
        What was compared and permuted, "samples" or "group means".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> xs = {"a": x, "b": x + rng.normal(size=(60, 5)), "c": rng.normal(size=(60, 5))}
    >>> found = rs.inference.null_table("cka", xs)
    >>> found.z.round(1).loc["a", ["b", "c"]].to_dict()
    {'b': 22.3, 'c': -0.8}
    >>> found.above().loc["a", ["b", "c"]].to_dict()
    {'b': True, 'c': False}
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
        """Whether the p-value of a cell is an upper bound (DataFrame of bool)."""
        return self.p_value <= self.least

    @property
    def value(self) -> pd.DataFrame:
        """The values of the measure (DataFrame)."""
        return self.comparison.values

    @property
    def z(self) -> pd.DataFrame:
        """The value minus the mean of its null distribution, in standard deviations (DataFrame)."""
        return (self.value - self.mean) / self.sd

    def adjusted(self) -> pd.DataFrame:
        """Return p-values adjusted for their number (false discovery rate).

        Among the cells whose adjusted p-value is at most r, on average a fraction of at most r is unrelated.

        Returns
        -------
        DataFrame
            1 for an item with itself, which is no test, and if the p-value is undefined. Recordings have their short
            labels, as in `Comparison.labels`.

        Notes
        -----
        The procedure of Benjamini and Hochberg. It is valid for tests that are independent or depend on each other
        positively.

        References
        ----------
        Y. Benjamini, Y. Hochberg 1995, Controlling the false discovery rate, Journal of the Royal Statistical Society
        B 57.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(60, 5))
        >>> found = rs.inference.null_table("cka", {"a": x}, {"b": x + rng.normal(size=(60, 5)), "c": x[::-1]})
        >>> found.adjusted().round(2).loc["a"].to_dict()
        {'b': 0.0, 'c': 0.2}
        """
        p, adjusted = self.p_value.to_numpy(), np.ones(self.p_value.shape)
        which = np.isfinite(p) & (np.triu(np.ones(p.shape, bool), 1) if self.mirrored else np.ones(p.shape, bool))
        if which.any():
            adjusted[which] = stats.false_discovery_control(p[which], method="bh")
        adjusted = np.minimum(adjusted, adjusted.T) if self.mirrored else adjusted
        return pd.DataFrame(adjusted, *map(short_axis, self.value.axes))

    def above(self, rate: float = 0.05) -> pd.DataFrame:
        """Return which cells are above chance.

        Parameters
        ----------
        rate : float
            The false discovery rate: the fraction of these cells that may be unrelated, on average.

        Returns
        -------
        DataFrame of bool
            Whether the adjusted p-value of a cell is at most `rate`. Recordings have their short labels, as in
            `Comparison.labels`.

        Raises
        ------
        ValueError
            If `rate` is not between 0 and 1.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(60, 5))
        >>> found = rs.inference.null_table("cka", {"a": x}, {"b": x + rng.normal(size=(60, 5)), "c": x[::-1]})
        >>> found.above(0.01).loc["a"].to_dict()
        {'b': True, 'c': False}
        """
        check_fraction(rate, "rate", hint="the fraction of false discoveries, such as 0.05")
        return self.adjusted() <= rate

    @property
    def p_text(self) -> pd.DataFrame:
        """The p-values as text, upper bounds with "≤" (DataFrame of str)."""
        texts = np.vectorize(p_text, otypes=[object])(self.p_value, self.at_most)
        return pd.DataFrame(texts, *map(short_axis, self.value.axes))

    def _summary(self) -> tuple[str, str]:
        """Return the number of samples, and of cells above chance, as texts."""
        counted = np.isfinite(self.p_value.to_numpy(float))
        if self.mirrored:
            counted &= np.triu(np.ones_like(counted), 1)
        found, tests = int(self.above().to_numpy()[counted].sum()), int(counted.sum())
        what = "" if self.permuted == "samples" else f" {self.permuted}"
        kind = "pairs" if self.mirrored else "cells"
        above = f"{found} of {tests} {kind} above their null (false discovery rate 5 %)"
        return f"{self.comparison.n}{what}", above

    def __repr__(self) -> str:
        """Return the measure, the shape and the number of cells above chance as text."""
        n, above = self._summary()
        return f"NullTable({self.comparison.measure}, {' × '.join(map(str, self.value.shape))}, n={n}: {above})"

    def _mark_cells(self) -> pd.DataFrame:
        """Return the values as text with short labels; those above chance are marked."""
        rows, columns = self.comparison.labels()
        marks = np.where(self.above().to_numpy(), " •", "")
        cells = [
            [f"{value:.3f}{mark}" if np.isfinite(value) else "–" for value, mark in zip(*row, strict=True)]
            for row in zip(self.value.to_numpy(), marks, strict=True)
        ]
        return pd.DataFrame(cells, index=rows, columns=columns)

    def __str__(self) -> str:
        return f"{self!r}, marked •\n{self._mark_cells().to_string(max_rows=30, max_cols=20)}"

    def _repr_html_(self) -> str:
        n, above = self._summary()
        return summarize(
            "NullTable",
            str(self.comparison.measure),
            [f"n = {n}", f"{above}, marked •"],
            table=self._mark_cells(),
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
    """Compare all pairs, with a p-value and the null distribution of every cell.

    Use it instead of `compare` if you ask which cells are above chance. It is nearly as fast, because no sample is
    permuted for most cells.

    Parameters
    ----------
    measure : str or Measure
        A measure as in `null_moments`.
    xs, ys : {label: array (n, ...)}
        The rows and the columns of the table; without `ys`, all pairs of `xs`.
    groups : labels (n,), optional
        Rows with the same label depend on each other: all values are then of the means of groups. Recordings by token
        have the groups of their rows. Pass range(n) if rows are independent.
    on_undefined : "raise" or "mask"
        What to do with a cell that has no value, or the same value in every order: raise an error, or leave it out and
        give the reason in `undefined`.
    n_permutations : int, optional
        The number of random orders for the cells that need them. By default as many as take about a minute for all of
        them, 199 to 9,999.
    seed : int
        The seed of these orders.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    NullTable
        With the frames `value`, `z`, `p_value`, `mean`, `sd` and `skewness`, and `above()`, the cells above chance.

    Raises
    ------
    NotImplementedError
        For a measure without a closed form: use `permutation_test` for each pair.
    UndefinedError
        For on_undefined="raise", if a cell has no value or the same value in every order.
    ValueError, TypeError
        As `compare`.

    Notes
    -----
    Moments are exact and computed from a few sums of each representation. p-values are the upper tail of Pearson's type
    III curve with these moments. That curve is wrong in two cases. If a few samples or pairs of samples outweigh all
    others (heavy tails, outliers), its tail is too short. If both sides repeat few different samples (codes), values
    are few and the curve is smooth. With the fractions a and b of each sample in the sums of squares of both matrices,
    the first case is that 1 / Σ a² or 1 / Σ b² is below 30, or n (Σ a² - 1/n) (Σ b² - 1/n) is above .01, or the same
    for pairs of samples is above .3.

    These cells are counted in random orders if the curve gives p < .05, unless Cantelli's inequality, p ≤ 1 / (1 + z²),
    gives less than counting can. No p-value is smaller than the method supports (`least`): 1e-9 by the curve, 1 /
    (n_permutations + 1) by counting. In simulations with lognormal sample norms (σ up to 1), at most .002 of unrelated
    pairs had p ≤ .001 (benchmarks/CALIBRATION.md).

    For 100 representations of 1,000 samples it takes about 1.5 times as long as `compare`. It takes longer for larger n
    (the cost has a term n³) and if cells are counted. Each thread needs memory for a few n × n matrices.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> null_table("cka", {"a": x, "b": x + rng.normal(size=(60, 5)), "c": rng.normal(size=(60, 5))})
    NullTable(cka, 3 × 3, n=60: 1 of 3 pairs above their null (false discovery rate 5 %))
    """
    measure = closed_form(measure)
    check_mappings("null_table", measure, xs, ys)
    check_seed(seed)
    if n_permutations is not None:
        check_permutations(n_permutations)
    xs, ys, permuted = means_of_groups(measure, xs, ys, groups)
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


def means_of_groups(
    measure: Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None, groups: Any
) -> tuple[Mapping[Any, Any], Mapping[Any, Any] | None, str]:
    """Return both sides, as the means of groups if rows are in groups, and "samples" or "group means"."""
    sides = [xs] if ys is None else [xs, ys]
    if not all(sides):
        return xs, ys, "samples"  # compare raises the error
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
    """The value, z and skewness of every cell, and whether a few samples outweigh all others."""

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
    """Return p-values, the smallest that are supported, and whether they were counted."""
    values, z, skewness, heavy = table
    n = representations_of(xs)[1]
    least = np.full(z.shape, least_backed(n))
    with np.errstate(invalid="ignore"):
        p = np.where(np.isfinite(z), tail(z, skewness, least), np.nan)
        below = heavy & (p < TESTED)
    by_count = np.zeros(z.shape, bool)
    bound = 1 / (1 + z**2)  # Cantelli: valid for any distribution
    tested = below & np.triu(np.ones(z.shape, bool), 1) if ys is None else below
    many = n_permutations or permutations_for(int(tested.sum()), n)
    settled = below & (z > 0) & (bound <= 1 / (many + 1))
    if ys is None:
        settled |= below & np.eye(len(z), dtype=bool)  # an item with itself is no test
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
