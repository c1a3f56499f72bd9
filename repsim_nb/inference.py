"""What a number is worth: rank correlations, tests by permutation, and the levels of having nothing in common and of another sample set."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from . import measures
from .comparison import Choice, Comparison, by_item, check_diagonal, compare, shared
from .errors import listed, unknown
from .measures import Measure
from .progress import Tick, ticking

RANKS = ("spearman", "kendall")
ALTERNATIVES = ("two-sided", "greater", "less")
ROUNDING = 1e-10  # statistics that differ by less are the same one, summed in another order
ALL_VALUES, ALL_ITEMS = 9, 7  # of no more values (362,880 orders) or items of a table (5,040) all orders are gone through
MOST_EXACT = 500  # values without ties, for Kendall's exact distribution
Table = Comparison | pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Test:
    """A statistic, and how often chance alone would give one like it.

    p_value: by permutation (1 + #{null at least as extreme}) / (n_permutations + 1), never 0; #{...} / n_permutations where all orders were gone through.
    null: the statistics under permutation (n_permutations,), None where a formula gave the p-value.
    alternative: what counts as extreme: "greater", "less", or "two-sided" (by size, whatever the sign).
    """

    __test__ = False  # no test of pytest's

    statistic: float
    p_value: float
    null: np.ndarray | None = None
    alternative: str = "two-sided"
    n_permutations: int | None = None

    def __repr__(self) -> str:
        by = f"{self.n_permutations} permutations" if self.n_permutations else "no permutations"
        return f"{type(self).__name__}(statistic={self.statistic:.4g}, p_value={self.p_value:.3g}, {self.alternative}, {by})"


@dataclass(frozen=True, eq=False, repr=False)
class GroupTest(Test):
    """An ANOSIM: `statistic` is R. within, between: mean dissimilarities of the pairs that count. groups: {group: number of items}."""

    within: float | None = None
    between: float | None = None
    groups: Mapping[Any, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, within={self.within:.4g}, between={self.between:.4g}, {len(self.groups)} groups)"


# -- rank correlation ------------------------------------------------------------------------------------------------------

def rank_correlation(
    a: Sequence[float] | Table,
    b: Sequence[float] | Table,
    kind: str = "spearman",
    alternative: str = "two-sided",
    p: str = "asymptotic",
    *,
    n_permutations: int = 999,
    seed: int = 0,
) -> Test:
    """Spearman's ρ or Kendall's τ-b of two sequences (m,), or of two square tables over the same items -> Test.

    Of tables the pairs above the diagonal are correlated: of a Comparison as dissimilarities, of a frame the numbers as they are; both directions of a
    pair are averaged; items are brought into one order by their labels, as are two Series (of other data the same networks are the same items: those count that agree in the fields that vary).
    p: "asymptotic" (Student's t for ρ, the normal distribution for τ; one-sided p/2 if the statistic has the sign asked for, else 1 - p/2); "exact", all orders of up to
    9 values (of any number for τ without ties); "mantel", for tables: the items of one are permuted, since pairs that share an item are not independent and the
    other two take them as if. All orders of up to 7 items are gone through.
    Errors: ValueError where there is no rank correlation (a constant side, fewer than 3 values, NaN) or sides do not match.  [Mantel 1967; Kendall 1945]
    """
    for what, choice, known in (("rank correlation", kind, RANKS), ("alternative", alternative, ALTERNATIVES), ("p-value", p, ("asymptotic", "exact", "mantel"))):
        if choice not in known:
            raise unknown(what, choice, known)
    tables = [isinstance(side, (Comparison, pd.DataFrame)) for side in (a, b)]
    if any(tables) and not all(tables):
        raise TypeError("a rank correlation is of two sequences, or of two square tables; here a table stands beside a sequence")
    if all(tables):
        x, y = _squares(a, b)
        if p == "mantel":
            return _mantel(x, y, kind, alternative, n_permutations, seed)
        upper = np.triu_indices(len(x), 1)
        x, y = x[upper], y[upper]
    else:
        x, y = _sequences(a, b)
        if p == "mantel":
            raise ValueError("'mantel' permutes the items of tables; these are sequences: take p='exact' (up to 9 values) or p='asymptotic'")
    _check_values(x, y)
    if p == "exact":
        return _exact(x, y, kind, alternative)
    found = stats.spearmanr(x, y) if kind == "spearman" else stats.kendalltau(x, y, method="asymptotic")
    statistic = float(found.statistic)
    two_sided = max(float(found.pvalue), 2 * _one_order(len(x)))  # the formula's 0 at ρ = 1 is less than one order of all, on either side
    return Test(statistic, _one_sided(two_sided, statistic, alternative), None, alternative)


def by_run(a: pd.DataFrame, b: pd.DataFrame, kind: str = "spearman", alternative: str = "two-sided") -> pd.DataFrame:
    """The rank correlation of two things along each run of training, without its last step (which stands against itself) -> DataFrame, a row a run: statistic, p_value, n.

    a, b: frames of `comparison.to_final`, a column a run; a step that either lacks does not count. Steps of one run follow each other, and p takes them as independent.
    Errors: ValueError for other runs or steps, and for a run without a rank correlation, by its name.
    """
    if not (a.columns.equals(b.columns) and a.index.equals(b.index)):
        raise ValueError(f"both frames need the same runs and steps; these have {listed(a.columns, 4)} and {listed(b.columns, 4)}, {len(a)} and {len(b)} steps")
    rows = {}
    for run in a.columns:
        both = (a[run].notna() & b[run].notna()).to_numpy()
        before = np.flatnonzero(both)[:-1]
        try:
            test = rank_correlation(a[run].iloc[before].to_numpy(), b[run].iloc[before].to_numpy(), kind, alternative)
        except ValueError as error:
            raise ValueError(f"the run '{run}': {error}") from error
        rows[run] = {"statistic": test.statistic, "p_value": test.p_value, "n": len(before)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def _one_order(n: int) -> float:
    """1/n!: no p-value is smaller."""
    return max(math.exp(-math.lgamma(n + 1)), sys.float_info.min)


def _one_sided(two_sided: float, statistic: float, alternative: str) -> float:
    if alternative == "two-sided":
        return two_sided
    return two_sided / 2 if (statistic > 0 if alternative == "greater" else statistic < 0) else 1 - two_sided / 2


def _exact(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    ties = len(np.unique(x)) < len(x) or len(np.unique(y)) < len(y)
    if kind == "kendall" and not ties:
        if len(x) > MOST_EXACT:
            raise ValueError(f"'exact' counts the orders of up to {MOST_EXACT} values; there are {len(x)}, for which p='asymptotic' is as good")
        found = stats.kendalltau(x, y, method="exact", alternative=alternative)
        return Test(float(found.statistic), max(float(found.pvalue), _one_order(len(x))), None, alternative)
    if len(x) > ALL_VALUES:
        raise ValueError(f"'exact' goes through all orders, of up to {ALL_VALUES} values{' (of more for Kendall without ties)' if kind == 'kendall' else ''}; there are {len(x)}: take p='asymptotic'")
    orders = np.array(list(itertools.permutations(range(len(x)))), dtype=np.int8)
    first, second = np.triu_indices(len(x), 1)
    a, b = _standard(x, kind), _standard(y, kind)
    if kind == "spearman":
        null = b[orders] @ a
    else:  # signs of pairs
        square = np.zeros((len(y), len(y)))
        square[first, second], square[second, first] = b, -b
        null = sum((square[orders[:, i], orders[:, j]] * sign for i, j, sign in zip(first, second, a, strict=True)), np.zeros(len(orders)))
    return _counted(float(null[0]), null, alternative, every=True)


def _mantel(x: np.ndarray, y: np.ndarray, kind: str, alternative: str, n_permutations: int, seed: int) -> Test:
    _check_permutations(n_permutations)
    m = len(x)
    upper = np.triu_indices(m, 1)
    _check_values(x[upper], y[upper], "pairs")
    every = m <= ALL_ITEMS
    rng = np.random.default_rng(seed)
    orders = map(np.array, itertools.permutations(range(m))) if every else (rng.permutation(m) for _ in range(n_permutations))
    if kind == "spearman":
        a, b = np.zeros((m, m)), np.zeros((m, m))
        for square, side in ((a, x), (b, y)):
            square[upper] = _standard(side[upper], kind)
        b += b.T
        flat = a[upper]

        def statistic(order: np.ndarray) -> float:
            return float(flat @ b[np.ix_(order, order)][upper])
    else:
        flat = x[upper]

        def statistic(order: np.ndarray) -> float:
            return float(stats.kendalltau(flat, y[np.ix_(order, order)][upper]).statistic)

    return _counted(statistic(np.arange(m)), np.array([statistic(order) for order in orders]), alternative, every)


def _standard(values: np.ndarray, kind: str) -> np.ndarray:
    """What has the rank correlation as inner product: ranks, centred and of unit length; for Kendall the signs of all pairs' differences, of unit length."""
    if kind == "spearman":
        ranks = stats.rankdata(values) - (len(values) + 1) / 2
    else:
        first, second = np.triu_indices(len(values), 1)
        ranks = np.sign(values[second] - values[first])
    return ranks / np.sqrt(ranks @ ranks)


def _counted(statistic: float, null: np.ndarray, alternative: str, every: bool = False) -> Test:
    """The test by counting in the null; `every`: it holds all orders, the one that was seen among them."""
    sizes = {"two-sided": (np.abs(null), abs(statistic)), "greater": (null, statistic), "less": (-null, -statistic)}
    values, seen = sizes[alternative]
    extreme = int(np.sum(values >= seen - ROUNDING))
    p_value = extreme / len(null) if every else (1 + extreme) / (len(null) + 1)
    return Test(statistic, p_value, null, alternative, len(null))


def _sequences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        if not (a.index.is_unique and b.index.is_unique and len(a) == len(b) and a.index.isin(b.index).all()):
            raise ValueError(f"two Series are brought into one order by their labels, and these have different ones: {listed(a.index, 4)} and {listed(b.index, 4)}")
        b = b.loc[a.index]
    x, y = (_as_numbers(side) for side in (a, b))
    if x.ndim != 1 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"a rank correlation is of two sequences of one length; these have the shapes {x.shape} and {y.shape}")
    return x, y


def _squares(a: Table, b: Table) -> tuple[np.ndarray, np.ndarray]:
    x, y = _frame(a), _frame(b)
    mine, other = shared(x.index, y.index)
    if not len(mine) == len(x) == len(y):
        raise ValueError(f"two tables are correlated over the same items; these have {len(x)} and {len(y)}, {len(mine)} of them in common. Choose with .where(...)")
    x, y = x.iloc[mine, mine], y.iloc[other, other]
    return _symmetric(x), _symmetric(y)


def _frame(table: Table) -> pd.DataFrame:
    frame = table.dissimilarity() if isinstance(table, Comparison) else table
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"a table is a Comparison or a DataFrame, the same items in rows and columns; got {type(table).__name__}")
    if not frame.index.equals(frame.columns):
        hint = ": for a column of numbers give it alone, frame['name']" if min(frame.shape) == 1 else ""
        raise ValueError(f"a table of pairs is square, the same items in rows and columns; this one is {frame.shape[0]} × {frame.shape[1]} with other labels{hint}")
    return frame


def _symmetric(frame: pd.DataFrame) -> np.ndarray:
    square = _as_numbers(frame)
    return (square + square.T) / 2


def _as_numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray(values.to_numpy(float, na_value=np.nan) if isinstance(values, (pd.Series, pd.DataFrame)) else values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"statistics need numbers; something else is there ({error})") from error


def _check_values(x: np.ndarray, y: np.ndarray, what: str = "values") -> None:
    for values in (x, y):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(f"{bad} of {len(values)} {what} are undefined (NaN) or infinite: leave those items out on both sides")
        if len(values) < 3:
            raise ValueError(f"a rank correlation needs at least 3 {what}; there are {len(values)}")
        if values.min() == values.max():
            raise ValueError(f"all {len(values)} {what} of one side are {values[0]:.4g}, so there is no order to correlate")


def _check_permutations(n: int) -> None:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n_permutations is a whole number from 1, 999 or more for a p-value of 0.001; got {n!r}")


# -- groups ----------------------------------------------------------------------------------------------------------------

def anosim(
    table: Table,
    groups: Choice,
    *,
    strata: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> GroupTest:
    """Are items of one group nearer to each other than to items of other groups? -> GroupTest, one-sided, by permuting the group labels.

    R = (mean rank of dissimilarities between groups - mean rank within) / (number of pairs / 2): 1 where every pair within a group is nearer than every pair
    between, 0 where groups make no difference, negative where items are nearer to other groups.
    table: a square Comparison (as dissimilarities) or frame of dissimilarities.  groups, strata: {model: value} or a Series by model (by label where labels have no
    model), a field of the labels, or one value an item.  strata: labels are permuted within a stratum and only pairs within one count; R is then
    the mean over the strata that have pairs of both sorts (the two-way crossed design).
    Errors: ValueError for one group only, no pair within or none between, undefined cells.  [Clarke 1993]
    """
    frame = _frame(table)
    _check_permutations(n_permutations)
    d = _symmetric(frame)
    if not isinstance(table, Comparison):
        check_diagonal(frame)
    upper = np.triu_indices(len(d), 1)
    bad = int((~np.isfinite(d[upper])).sum())
    if bad:
        raise ValueError(f"groups are compared by all pairs, and {bad} pairs are undefined: leave those items out, or take a measure that is defined for all")
    codes, names = pd.factorize(_by_item(frame.index, groups, "groups"))
    if len(names) < 2:
        raise ValueError(f"groups are compared with one another, and there is only one, '{names[0]}', for all {len(d)} items")
    within = codes[:, None] == codes[None]
    layers = np.zeros(len(d), int) if strata is None else pd.factorize(_by_item(frame.index, strata, "strata"))[0]
    parts = [rows for rows in (np.flatnonzero(layers == k) for k in range(layers.max() + 1)) if _has_both(within[np.ix_(rows, rows)])]
    if not parts:
        where = "in no stratum are there pairs of both sorts" if strata is not None else "each group has one item, so that no pair is within a group"
        raise ValueError(f"pairs within groups are compared with pairs between them, and {where}; groups: {listed(f'{name} ({(codes == k).sum()})' for k, name in enumerate(names))}")
    rng = np.random.default_rng(seed)
    seen, null = np.zeros(1), np.zeros(n_permutations)
    for rows in parts:
        ranks = np.zeros((len(rows), len(rows)))
        of_pairs = np.triu_indices(len(rows), 1)
        ranks[of_pairs] = stats.rankdata(d[np.ix_(rows, rows)][of_pairs])
        ranks += ranks.T
        shuffled = rng.permuted(np.tile(codes[rows], (n_permutations, 1)), axis=1)
        seen += _contrast(ranks, codes[rows][None]) / len(parts)
        null += _contrast(ranks, shuffled) / len(parts)
    counted = np.zeros(d.shape, bool)
    for rows in parts:
        counted[np.ix_(rows, rows)] = True
    pairs, inside = counted[upper], within[upper]
    test = _counted(float(seen[0]), null, "greater")
    return GroupTest(test.statistic, test.p_value, null, "greater", n_permutations, float(d[upper][pairs & inside].mean()), float(d[upper][pairs & ~inside].mean()),
                     {name: int((codes == k).sum()) for k, name in enumerate(names)})


def _has_both(within: np.ndarray) -> bool:
    pairs = within[np.triu_indices(len(within), 1)]
    return bool(pairs.any() and not pairs.all())


def _contrast(ranks: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """R for each row of group codes (k, m). All sums are of halves, so they are exact in any order."""
    m, inside = len(ranks), np.zeros(len(codes))
    pairs = m * (m - 1) // 2
    for group in np.unique(codes[0]):
        members = (codes == group).astype(float)
        inside += np.einsum("km,km->k", members @ ranks, members) / 2
    many = sum(math.comb(int(size), 2) for size in np.unique(codes[0], return_counts=True)[1])
    return ((ranks.sum() / 2 - inside) / (pairs - many) - inside / many) / (pairs / 2)


def _by_item(index: pd.Index, choice: Choice, what: str) -> pd.Series:
    values = by_item(index, choice, what)
    if values.isna().any():
        raise ValueError(f"{what} is undefined for {listed((index[i] for i in np.flatnonzero(values.isna())), 3)}: leave those items out")
    return values


# -- levels ----------------------------------------------------------------------------------------------------------------

def unrelated(measure: str | Measure, xs: Mapping[Any, Any], *, n_pairs: int = 50, seed: int = 0, progress: bool | Tick = False) -> np.ndarray:
    """The values (n_pairs,) of random pairs of xs after the samples of one side were shuffled: what representations score that have nothing in common but their shapes.

    xs: {label: array (n, ...)}; of one alone, with itself shuffled.  Errors: UndefinedError where the measure has no value for a pair.
    """
    measure = measures.get(measure)
    if not isinstance(n_pairs, (int, np.integer)) or n_pairs < 1:
        raise ValueError(f"n_pairs is a whole number from 1; got {n_pairs!r}")
    labels, n = _labels(xs)
    rng = np.random.default_rng(seed)
    values = []
    with ticking(progress, "shuffled samples", "pair") as tick:
        for done in range(n_pairs):
            tick(done, n_pairs)
            i, j = rng.choice(len(labels), 2, replace=False) if len(labels) > 1 else (0, 0)
            values.append(measure(xs[labels[i]], _rows(xs[labels[j]], rng.permutation(n))))
    return np.array(values)


def sample_sets(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    reference: Comparison,
    sizes: Sequence[int],
    *,
    n_sets: int = 20,
    level: float = 0.95,
    seed: int = 0,
    kind: str = "spearman",
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """How far a table moves with the samples it is made of: rank correlations of tables over random sets of samples with a reference.

    xs: {label: array (N, ...)}, the items of `reference`, in any order.  sizes: numbers of samples n, drawn without replacement, n_sets times each (of all N there is one set).
    -> DataFrame, index "n", columns mean, low, high (between them lie a share `level` of the sets, by quantiles), sets.
    Errors: ValueError for a size outside 1 to N or other items; UndefinedError where the measure has no value on a set.
    """
    measure = measures.get(measure)
    labels, most = _labels(xs)
    sizes = [sizes] if isinstance(sizes, (int, np.integer)) else list(sizes)
    if not sizes or not all(isinstance(size, (int, np.integer)) for size in sizes) or min(sizes) < measure.least or max(sizes) > most:
        raise ValueError(f"sizes are numbers of samples from {measure.least}, the fewest for {measures.short_name(measure)}, to {most}; got {sizes}")
    if not isinstance(n_sets, (int, np.integer)) or n_sets < 1 or not 0 < level < 1:
        raise ValueError(f"n_sets is a whole number from 1, and level lies between 0 and 1; got n_sets={n_sets!r}, level={level!r}")
    rng = np.random.default_rng(seed)
    many = {n: 1 if n == most else n_sets for n in sizes}
    rows, done = {}, 0
    with ticking(progress, f"sample sets for {measures.short_name(measure)}", "table") as tick:
        tick(0, sum(many.values()))
        for n, sets in many.items():
            found = []
            for _ in range(sets):
                some = np.sort(rng.choice(most, n, replace=False))
                found.append(rank_correlation(compare(measure, {label: _rows(xs[label], some) for label in labels}), reference, kind).statistic)
                done += 1
                tick(done, sum(many.values()))
            low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
            rows[n] = {"mean": float(np.mean(found)), "low": float(low), "high": float(high), "sets": sets}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("n")


def _labels(xs: Mapping[Any, Any]) -> tuple[list[Any], int]:
    """-> (labels, the number of samples that all share)"""
    if not isinstance(xs, Mapping) or not xs:
        raise TypeError(f"representations come by label, {{'a': x, 'b': y}}, or as a recording; got {'none' if isinstance(xs, Mapping) else type(xs).__name__}")
    return list(xs), measures.same_samples({label: x if hasattr(x := xs[label], "ndim") else np.asarray(x) for label in xs})


def _rows(x: Any, which: np.ndarray) -> Any:
    return (x if hasattr(x, "ndim") else np.asarray(x))[which]
