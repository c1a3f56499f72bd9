"""Means of a measure within and between groups of items, with intervals over samples, over items, or over both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.between import FEWEST_GROUPS, Between, between_groups
from repsim_nb.measures.table_inputs import to_one_library
from repsim_nb.results.comparison.comparing import compare_corresponding
from repsim_nb.support.errors import add_context, check_name, format_label, join_names
from repsim_nb.support.labels import Choice, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.validation import check_integer

from .grouped_rows import codes_of, require_form
from .representations import representations_of, rows_of
from .results import add_variances, check_level, jackknife, student_interval
from .square_tables import require_values_per_item, symmetric

OVER = ("samples", "items", "both")
FEWEST_ITEMS = 3  # in each group, so that one can be left out


def block_means(  # noqa: PLR0913 - keyword-only, independent of each other
    measure: str | Measure,
    xs: Mapping[Any, Any],
    groups: Choice,
    *,
    over: str = "samples",
    row_groups: Any = None,
    level: float = 0.95,
    parts: int = 20,
    seed: int = 0,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Return the mean of a measure within each group of items and between groups, with confidence intervals.

    It answers: are models of one group more similar to each other than to models of another group, and by how much?

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka_debiased", or a configured measure.
    xs : {label: array (n, ...)}
        The items (models or layers), representations of the same n samples.
    groups : mapping, Series, str, or sequence
        The group of each item: {model: group}, a Series by model, a field of the labels such as "model", or one value
        an item.
    over : {"samples", "items", "both"}
        What varies between studies: the samples (with these items), the items (with these samples), or both. For a
        statement about models, use "items" or "both".
    row_groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Whole groups of rows are left out, and pairs of rows within a group do not count. Only for debiased CKA,
        debiased distance correlation and RSA. Recordings by token have the groups of their rows. Pass range(n) if rows
        are independent.
    level : float
        The confidence level, the fraction of intervals that contain the population value.
    parts : int
        The number of parts into which samples (or groups of rows) are divided. Not used with over="items".
    seed : int
        The seed of this division.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    DataFrame
        One row for each pair of groups, with the index (group, other) in the order of first appearance; the same group
        twice for pairs within it. The level is in ``.attrs["level"]``. Columns (in the units of the measure):

        - mean: over the pairs of items. Both directions of a pair are averaged, and pairs of an item with itself do not
          count, so a group of one item has no row for pairs within it.
        - low, high: the confidence interval of the mean.
        - smallest, largest: of the pairs.
        - pairs: their number.

    Raises
    ------
    ValueError
        For too few samples for so many parts, fewer than 3 items in a group with over="items" or "both", a single item,
        and groups of rows with a measure that cannot leave out the pairs within them.
    UndefinedError
        If the measure has no value for a pair.

    Notes
    -----
    All intervals are those of the jackknife. With over="samples", samples are divided at random into parts, and the
    interval is mean ± t · sqrt((parts - 1) / parts · Σ (mean without part k - mean of these means)²), with t of
    Student's distribution with parts - 1 degrees of freedom. It is for these items and other samples, drawn
    independently (or in groups), and does not cover other models or seeds. It is not clipped to the range of the
    measure, and the bias of the measure at n samples is not corrected.

    With over="items" each item of a group is left out in turn, with all its pairs. The variance is (m - 1) / m · Σ
    (mean without item i - mean of these means)² for a group of m items, and the sum of both variances for the mean
    between two groups. With over="both" the variances over samples and over items are added. The degrees of freedom of
    sums are those of Satterthwaite.

    Simulations over samples (four items in two groups): of 100 intervals at level 0.95, 92 to 97 contained the true CKA
    at 100 to 2,000 samples of 8 features, and 85 to 92 at 40 samples. At 100 samples of 200 features it was 94 to 100
    for debiased CKA and 89 to 96 for CKA. Intervals of shared neighbours are 1.5 times as wide as needed.

    Simulations over items (two groups of 3, 4 or 6 models that share 6 directions, debiased CKA, 100 or 1,000 samples):
    of 100 intervals at level 0.95 for the mean over all models and samples, 93 to 97 contained it with over="both", 90
    to 97 with over="items", and 18 to 81 with over="samples". With 3 models a group the intervals are long.

    References
    ----------
    M. H. Quenouille 1956, Notes on bias in estimation, Biometrika 43.
    J. N. Arvesen 1969, Jackknifing U-statistics, Annals of Mathematical Statistics 40.
    F. E. Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(100, 5))
    >>> xs = {name: shared + rng.normal(size=(100, 5)) for name in "abc"}
    >>> found = block_means("cka_debiased", xs, groups=["old", "old", "new"])
    >>> found["pairs"].to_dict()
    {('old', 'old'): 1, ('old', 'new'): 2}
    >>> bool((found["low"] < found["mean"]).all())
    True
    """
    measure = measures.get(measure)
    check_level(level)
    check_name("source of variation", over, OVER)
    given = xs
    xs, n = representations_of(given, measure)
    labels = list(xs)
    codes, names = pd.factorize(require_values_per_item(to_axis(xs), groups, "groups"))
    if len(labels) < 2:
        raise ValueError(f"block means need at least two items; there is one item, '{format_label(labels[0])}'.")
    of_rows = codes_of(row_groups, [*given.values(), *xs.values()], n)
    between = (
        None
        if of_rows is None
        else require_form(measure, "block means", ". If rows are independent, pass row_groups=range(n).")
    )
    one, other = np.triu_indices(len(codes), 1)
    low, high = np.minimum(codes[one], codes[other]), np.maximum(codes[one], codes[other])
    blocks = {
        pair: (one[inside], other[inside])
        for pair in itertools.combinations_with_replacement(range(len(names)), 2)
        if (inside := (low == pair[0]) & (high == pair[1])).any()
    }
    if over != "samples":
        few = [f"{name} ({(codes == k).sum()})" for k, name in enumerate(names) if (codes == k).sum() < FEWEST_ITEMS]
        if few:
            raise ValueError(
                f"an interval over items leaves out each item of a group, and needs at least {FEWEST_ITEMS} of them in"
                f" each; too few are in {join_names(few, 4)}. Use over='samples' for intervals for these items only."
            )

    def table_of(some: Mapping[Any, Any], chosen: np.ndarray) -> np.ndarray:
        """Return the table of some samples, both directions of each pair averaged."""
        its = measure.select_rows(chosen)
        return (
            symmetric(compare_corresponding(its, some).values)
            if between is None or of_rows is None
            else _square_between(between_groups(its), some, of_rows[chosen])
        )

    units, name = (n, "samples") if of_rows is None else (int(of_rows.max()) + 1, "groups of rows")
    part, many = np.zeros(units, int), 0
    if over != "items":
        least = measure.min_samples if between is None else FEWEST_GROUPS
        _check_parts(parts, units, name, least, measures.short_name(measure))
        part, many = generator_of(seed).permutation(units) % parts, parts
    part_of_row = part if of_rows is None else part[of_rows]
    without = np.zeros((many, len(blocks)))
    with show_progress(progress, f"block means of {measures.short_name(measure)}", "table") as tick:
        tick(0, many + 1)
        table = table_of(xs, np.arange(n))
        for k in range(many):
            tick(k + 1, many + 1)
            rest = np.flatnonzero(part_of_row != k)
            some = {label: rows_of(xs[label], rest) for label in labels}
            left_out = f"{(part == k).sum()} of {units} {name} left out"
            with add_context(f"with {left_out}, as the interval needs it (parts={parts})"):
                found = table_of(some, rest)
            without[k] = [found[which].mean() for which in blocks.values()]
        tick(many + 1, many + 1)
    rows = []
    for place, (pair, which) in enumerate(blocks.items()):
        variances = [jackknife(without[:, place])] if over != "items" else []
        for k in dict.fromkeys(pair) if over != "samples" else ():
            items = np.flatnonzero(codes == k)
            variances.append(jackknife(np.array([_mean_without(table, which, item) for item in items])))
        values = table[which]
        its = student_interval(values.mean(), *add_variances(variances), level)
        rows.append((its.estimate, its.low, its.high, values.min(), values.max(), len(values)))
    index = pd.MultiIndex.from_tuples([(names[one], names[other]) for one, other in blocks], names=["group", "other"])
    table = pd.DataFrame(rows, index=index, columns=["mean", "low", "high", "smallest", "largest", "pairs"])
    table.attrs["level"] = level
    return table


def _mean_without(table: np.ndarray, which: tuple[np.ndarray, np.ndarray], item: Any) -> float:
    """Return the mean of the pairs without one item."""
    others = (which[0] != item) & (which[1] != item)
    return float(table[which[0][others], which[1][others]].mean())


def _square_between(between: Between, xs: Mapping[Any, Any], codes: np.ndarray) -> np.ndarray:
    """Return the values of all pairs of different items without the pairs of rows within a group."""
    (xs,), table = to_one_library(xs), np.full((len(xs), len(xs)), np.nan)
    for (i, one), (j, other) in itertools.combinations(enumerate(xs), 2):
        with add_context(f"'{format_label(one)}' and '{format_label(other)}'"):
            table[i, j] = table[j, i] = between(xs[one], xs[other], codes)
    return table


def _check_parts(parts: int, n: int, what: str, least: int, measure: str) -> None:
    """Check that enough samples are left without one part."""
    check_integer(parts, "parts", minimum=2, hint="such as 20 for an interval that does not change with the seed")
    if parts > n:
        raise ValueError(
            f"{what} are left out in parts, so parts must be at most {n}, the number of {what}; got {parts}."
        )
    left = n - -(-n // parts)
    if left < least:
        raise ValueError(
            f"without one of {parts} parts {left} of {n} {what} are left, but {measure} needs at least {least}. Use"
            " more parts."
        )
