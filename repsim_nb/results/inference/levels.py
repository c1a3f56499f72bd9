"""Chance levels of a measure by permutation, and tables over random sets of samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.table_inputs import to_one_library
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.comparison.comparing import compare_corresponding
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.validation import check_fraction, check_integer, is_integer

from .grouped_rows import codes_of, group_means, have_equal_sizes, permute_groups, rows_by_group, without_pairs_within
from .rank_correlations import rank_correlation
from .representations import representations_of, rows_of
from .results import percentile_interval


def chance_values(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    *,
    groups: Any = None,
    n_pairs: int = 50,
    seed: int = 0,
    progress: bool | Tick = False,
) -> np.ndarray:
    """Return values of random pairs with the samples of one side permuted: the chance level of a measure.

    It answers: which values would unrelated representations with these shapes and spectra have?

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka", or a configured measure.
    xs : {label: array (n, ...)}
        Representations of the same n samples. A single one is compared with itself, permuted.
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Groups of one size are exchanged whole, row by row in their order. Pairs of rows within a group do not count if
        the measure can leave them out (`interval` lists these measures). If sizes differ, the means of groups are
        compared and permuted, each of as many rows as the smallest group has. Recordings by token have the groups of
        their rows. Pass range(n) if rows are independent.
    n_pairs : int
        The number of pairs to draw.
    seed : int
        The seed of the pairs and the permutations.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    array (n_pairs,)
        In the units of the measure.

    Raises
    ------
    ValueError
        If all rows are in one group.
    UndefinedError
        If the measure has no value for a pair.

    Notes
    -----
    Each value is measure(x, y with its rows in a random order), for two different representations x and y drawn at
    random. For the p-value of one pair use `permutation_test`, and for a whole table `null_table`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> xs = {name: rng.normal(size=(100, 20)) for name in "ab"}
    >>> levels = chance_values("cka", xs, n_pairs=10)
    >>> bool(0.1 < levels.mean() < 0.25)
    True
    """
    measure = measures.get(measure)
    measure.check_exchange()
    check_integer(n_pairs, "n_pairs", minimum=1)
    given = xs
    xs, n = representations_of(given, measure)
    codes = codes_of(groups, [*given.values(), *xs.values()], n, every=True)
    if codes is not None and codes.max() == 0:
        raise ValueError(
            f"a permutation exchanges groups of rows, but all {n} rows are in one group. If rows are independent, pass"
            " groups=range(n)."
        )
    labels = list(xs)
    # without the groups of an array: permuted rows are compared with rows of other groups
    bare = {label: np.asarray(x) if isinstance(x, np.ndarray) else x[:] for label, x in xs.items()}
    (xs,) = to_one_library(bare)
    if codes is not None and not have_equal_sizes(codes):
        xs, n, codes = {label: group_means(x, codes) for label, x in xs.items()}, int(codes.max()) + 1, None
    rows = np.arange(n)[:, None] if codes is None else rows_by_group(codes)
    value = without_pairs_within(measure, codes)
    rng = generator_of(seed)
    values = []
    with show_progress(progress, "permuted samples", "pair") as tick:
        for done in range(n_pairs):
            tick(done, n_pairs)
            i, j = rng.choice(len(labels), 2, replace=False) if len(labels) > 1 else (0, 0)
            order = permute_groups(rows, rng.permutation(len(rows)))
            values.append(value(xs[labels[i]], rows_of(xs[labels[j]], order)))
    return np.array(values)


def sample_sets(  # noqa: PLR0913 (what is compared, and options of their own)
    measure: str | Measure,
    xs: Mapping[Any, Any],
    reference: Comparison,
    sizes: Sequence[int],
    *,
    groups: Any = None,
    n_sets: int = 20,
    level: float = 0.95,
    seed: int = 0,
    kind: str = "spearman",
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Return how well tables of random sets of samples agree with a reference table, by rank correlation.

    It answers: would another, or a smaller, set of samples order the pairs of models in the same way?

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka", or a configured measure.
    xs : {label: array (N, ...)}
        The items of `reference`, in any order, as representations of the same N samples.
    reference : Comparison
        The table that the others are correlated with, such as that of all samples.
    sizes : sequence of int
        The numbers of samples (or of groups of rows) that are drawn without replacement.
    groups : labels (N,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Whole groups are drawn, and `sizes` counts groups. Recordings by token have the groups of their rows. Pass
        range(N) if rows are independent.
    n_sets : int
        The number of sets of each size. There is one set of all samples.
    level : float
        The fraction of sets whose rank correlation is between low and high.
    seed : int
        The seed of the sets.
    kind : {"spearman", "kendall"}
        The rank correlation.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    DataFrame
        One row for each size, the index "n". Columns: mean, low and high (mean and quantiles of the rank correlations
        of the sets) and sets (their number).

    Raises
    ------
    ValueError
        For a size outside the possible range, and if `reference` has other items.
    UndefinedError
        If the measure has no value for a set.

    Notes
    -----
    A value is the rank correlation of the table of n samples with the reference, over pairs of items. All pairs of rows
    count in each table, as in `compare`, also those within a group of rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(300, 5))
    >>> xs = {name: shared + noise * rng.normal(size=(300, 5)) for name, noise in zip("abcd", (0.2, 0.6, 1, 2))}
    >>> found = sample_sets("cka", xs, rs.compare("cka", xs), sizes=[20, 300], n_sets=5)
    >>> found["sets"].to_dict()
    {20: 5, 300: 1}
    >>> round(float(found.loc[300, "mean"]), 6)
    1.0
    """
    measure = measures.get(measure)
    given = xs
    xs, n_rows = representations_of(given, measure)
    labels = list(xs)
    codes = codes_of(groups, [*given.values(), *xs.values()], n_rows)
    rows = np.bincount(codes) if codes is not None else np.ones(n_rows, dtype=int)
    most, drawn = len(rows), "samples" if codes is None else "groups"
    # so many units have enough rows, whichever they are
    least = int(np.searchsorted(np.cumsum(np.sort(rows)), measure.min_samples)) + 1
    sizes = list(sizes) if isinstance(sizes, Iterable) else [sizes]  # type: ignore[redundant-expr]
    if not sizes or not all(map(is_integer, sizes)) or min(sizes) < least or max(sizes) > most:
        raise ValueError(
            f"sizes must be numbers of {drawn} from {least}, the minimum for {measures.short_name(measure)}, to {most};"
            f" got {sizes}."
        )
    check_integer(n_sets, "n_sets", minimum=1)
    check_fraction(level, "level")
    rng = generator_of(seed)
    many = {n: 1 if n == most else n_sets for n in sizes}
    found_at, done = {}, 0
    with show_progress(progress, f"sample sets for {measures.short_name(measure)}", "table") as tick:
        tick(0, sum(many.values()))
        for n, sets in many.items():
            found = []
            for _ in range(sets):
                some = np.sort(rng.choice(most, n, replace=False))
                some = some if codes is None else np.flatnonzero(np.isin(codes, some))
                found.append(
                    rank_correlation(
                        compare_corresponding(
                            measure.select_rows(some), {label: rows_of(xs[label], some) for label in labels}
                        ),
                        reference,
                        kind,
                        p="asymptotic",
                    ).statistic
                )
                done += 1
                tick(done, sum(many.values()))
            low, high = percentile_interval(found, level)
            found_at[n] = {"mean": float(np.mean(found)), "low": low, "high": high, "sets": sets}
    return pd.DataFrame.from_dict(found_at, orient="index").rename_axis("n")
