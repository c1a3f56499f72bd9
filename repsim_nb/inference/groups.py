"""Groups of items: whether they lie apart, and how similar items are within groups and between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .. import measures
from ..comparison import Choice, axis_of, compare
from ..errors import UndefinedError, listed
from ..measures import Measure
from ..measures.base import one_library
from ..measures.between import FEWEST_GROUPS, Between
from ..measures.ties import ranks_with_ties
from ..progress import Tick, ticking
from .grouped import codes_of, needed_form
from .results import ROUNDING, GroupTest, Test, by_counting, check_level, check_permutations
from .samples import representations_of, rows_of
from .squares import Table, by_item_defined, frame_of, symmetric, with_ties


def anosim(
    table: Table,
    groups: Choice,
    *,
    strata: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> GroupTest:
    """Test whether items of one group are nearer to each other than to items of other groups (ANOSIM), one-sided.

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (taken as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        {model: group}, a Series by model (by label if labels have no model), a field of the labels such as "model", or one value an item.
    strata : as groups, optional
        Labels are permuted within a stratum, and only pairs within one stratum count. R is then the mean over the strata that have pairs of both kinds (the two-way crossed design).
    n_permutations : int
    seed : int

    Returns
    -------
    GroupTest
        statistic is R. within, between: mean dissimilarities of the pairs that count. groups: {group: number of items}.

    Raises
    ------
    ValueError
        For one group only, no pair within a group or none between groups, and undefined cells.

    Notes
    -----
    R = (mean rank of dissimilarities between groups - mean rank within groups) / (number of pairs / 2). R is 1 if every pair within a group is nearer than every pair between groups, 0 if groups
    make no difference, and negative if items are nearer to other groups. Dissimilarities that are equal up to rounding are tied. Group labels are permuted.

    ANOSIM rejects if groups lie apart, and also if one group is only more spread out than the others around the same centre. `dispersion_test` tests whether spreads differ. `centre_test` keeps
    its error rate if centres agree, whatever the spreads are.

    References
    ----------
    Clarke 1993.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 10.0, 11.0, 13.0])
    >>> items = list("abcdef")
    >>> table = pd.DataFrame(abs(positions[:, None] - positions), items, items)
    >>> anosim(table, groups=["left"] * 3 + ["right"] * 3).statistic
    1.0
    """
    found = _grouped(table, groups, strata, n_permutations)
    d, codes, names, within = found.d, found.codes, found.names, found.within
    parts = [rows for rows in found.layers if _has_both(within[np.ix_(rows, rows)])]
    if not parts:
        where = "in no stratum are there pairs of both sorts" if strata is not None else "each group has one item, so that no pair is within a group"
        raise ValueError(f"pairs within groups are compared with pairs between them, and {where}; groups: {listed(f'{name} ({(codes == k).sum()})' for k, name in enumerate(names))}")
    rng = np.random.default_rng(seed)
    seen, null = np.zeros(1), np.zeros(n_permutations)
    tied = with_ties(d, table)
    for rows in parts:
        ranks = np.zeros((len(rows), len(rows)))
        of_pairs = np.triu_indices(len(rows), 1)
        ranks[of_pairs] = ranks_with_ties(tied[np.ix_(rows, rows)][of_pairs])
        ranks += ranks.T
        permuted = rng.permuted(np.tile(codes[rows], (n_permutations, 1)), axis=1)
        seen += _contrast(ranks, codes[rows][None]) / len(parts)
        null += _contrast(ranks, permuted) / len(parts)
    return found.test(by_counting(float(seen[0]), null, "greater"), parts)


def centre_test(
    table: Table,
    groups: Choice,
    *,
    strata: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> GroupTest:
    """Test whether the centres of groups differ, whatever the spreads of the groups are, one-sided.

    Parameters
    ----------
    table, groups, strata, n_permutations, seed
        As in `anosim`. Every group needs two items (in every stratum too). With strata the statistic is the mean over those that have at least two groups.

    Returns
    -------
    GroupTest
        statistic is Welch's W of distances. within, between: mean dissimilarities of the pairs that count. groups: {group: number of items}.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one item, and for a group whose items are all alike.

    Notes
    -----
    W = squared distances between the centres of groups, each weighted by the sizes of the groups over their variances, over the expectation of that sum. The variance of a group is half the mean
    squared dissimilarity of its pairs. A group that is more spread out than others, for which `anosim` rejects as well, is no evidence here. Group labels are permuted.

    Simulated (two groups of 8 and 24 items, 2 to 20 features, equal centres, one group three times as spread out as the other): .042 to .065 of 1,000 nulls each had p <= .05. With ANOSIM it
    was between none and all of them.

    References
    ----------
    Alekseyenko 2016; Hamidi, Wallace, Vasu, Alekseyenko 2019.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 4.0, 10.0, 11.0, 13.0, 14.5])
    >>> items = list("abcdefgh")
    >>> table = pd.DataFrame(abs(positions[:, None] - positions), items, items)
    >>> bool(centre_test(table, groups=["left"] * 4 + ["right"] * 4).p_value < 0.05)
    True
    """
    found = _grouped(table, groups, strata, n_permutations)
    parts = [rows for rows in found.layers if len(np.unique(found.codes[rows])) > 1]
    if not parts:
        raise ValueError("in no stratum are there items of two groups")
    rng = np.random.default_rng(seed)
    seen, null = np.zeros(1), np.zeros(n_permutations)
    for rows in parts:
        own = found.codes[rows]
        few = [str(found.names[k]) for k in np.unique(own) if (own == k).sum() < 2]
        if few:
            raise ValueError(f"a group of one item has no spread, and centres are compared by the spread of their groups: leave out {listed(few, 3)}")
        squared = found.d[np.ix_(rows, rows)] ** 2
        value = _welch(squared, own[None])
        if not np.isfinite(value[0]):
            raise ValueError("all items of one group are alike (every dissimilarity within it is 0), so it has no spread that centres could be compared by")
        seen += value / len(parts)
        null += _welch(squared, rng.permuted(np.tile(own, (n_permutations, 1)), axis=1)) / len(parts)
    statistic = float(seen[0])
    return found.test(by_counting(statistic, null, "greater", rounding=ROUNDING * max(1.0, abs(statistic))), parts)


@dataclass(frozen=True, eq=False, repr=False)
class SpreadTest(Test):
    """A test of dispersion: `statistic` is F. spreads: {group: mean distance of its items from its centre}. groups: {group: number of items}."""

    spreads: Mapping[Any, float] = field(default_factory=dict)
    groups: Mapping[Any, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, spreads: {', '.join(f'{name} {value:.4g}' for name, value in self.spreads.items())})"


def dispersion_test(
    table: Table,
    groups: Choice,
    *,
    strata: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> SpreadTest:
    """Test whether items of some groups are more spread out than items of others (PERMDISP), one-sided.

    Next to `anosim`, which rejects for different spreads as well as for different centres, it shows which of the two differ.

    Parameters
    ----------
    table, groups, strata, n_permutations, seed
        As in `anosim`. Every group needs two items.

    Returns
    -------
    SpreadTest
        statistic is F. spreads: {group: mean distance of its items from its centre}. groups: {group: number of items}.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one item, and if all items of each group are equally far from its centre.

    Notes
    -----
    F is that of an analysis of variance of distances: each item's distance from the centre of its group, times sqrt(m / (m - 1)) for a group of m items, because a centre lies nearer to the few
    items that it is the mean of. Distances are in the space of all principal coordinates. Coordinates of negative eigenvalues count negatively, and the root of the absolute difference is taken.
    The differences of these distances from the means of their groups are permuted, within strata if there are any.

    It is only approximate: in simulations it rejects in .06 to .09 of nulls at the level .05 (400 nulls each, two groups as in `centre_test`).

    References
    ----------
    Anderson 2006; Stier, Geange, Hanson, Bolker 2013.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(24, 3)) * np.repeat([1, 5], 12)[:, None]
    >>> table = pd.DataFrame(np.linalg.norm(points[:, None] - points, axis=2))
    >>> found = dispersion_test(table, groups=np.repeat(["narrow", "wide"], 12))
    >>> bool(found.p_value < 0.05 and found.spreads["wide"] > found.spreads["narrow"])
    True
    """
    found = _grouped(table, groups, strata, n_permutations)
    codes, squared = found.codes, found.d**2
    sizes = np.bincount(codes)
    if (sizes < 2).any():
        raise ValueError(f"a group of one item has no spread: leave out {listed((found.names[k] for k in np.flatnonzero(sizes < 2)), 3)}")
    members = (codes[:, None] == np.arange(len(sizes))) / sizes
    from_centre = (squared @ members)[np.arange(len(codes)), codes] - (members * (squared @ members)).sum(0)[codes] / 2
    distances = np.sqrt(np.abs(from_centre) * sizes[codes] / (sizes[codes] - 1))
    residuals = distances - (distances @ members)[codes]
    if np.abs(residuals).max() <= 1e-9 * distances.max():
        raise ValueError("within every group all items are equally far from its centre (as in groups of two), so that nothing says how much spreads differ by chance")
    rng = np.random.default_rng(seed)
    order = np.tile(np.arange(len(codes)), (n_permutations, 1))
    for rows in found.layers:
        order[:, rows] = rng.permuted(order[:, rows], axis=1)
    statistic, null = float(_variance_ratio(distances[None], members, sizes)[0]), _variance_ratio(residuals[order], members, sizes)
    test = by_counting(statistic, null, "greater", rounding=ROUNDING * max(1.0, statistic))
    spreads = dict(zip(found.names, (distances @ members).tolist(), strict=True))
    return SpreadTest(test.statistic, test.p_value, null, "greater", n_permutations, spreads, dict(zip(found.names, sizes.tolist(), strict=True)))


class _Grouped(NamedTuple):
    """A table of items in groups: dissimilarities (m, m), the group of each item as a number, the groups' names, which pairs are within one, the items of each stratum."""

    d: np.ndarray
    codes: np.ndarray
    names: pd.Index
    within: np.ndarray
    layers: list[np.ndarray]

    def test(self, test: Test, parts: list[np.ndarray]) -> GroupTest:
        upper, counted = np.triu_indices(len(self.d), 1), np.zeros(self.d.shape, bool)
        for rows in parts:
            counted[np.ix_(rows, rows)] = True
        pairs, inside, d = counted[upper], self.within[upper], self.d[upper]
        return GroupTest(test.statistic, test.p_value, test.null, "greater", test.n_permutations, float(d[pairs & inside].mean()), float(d[pairs & ~inside].mean()),
                         {name: int((self.codes == k).sum()) for k, name in enumerate(self.names)})


def _grouped(table: Table, groups: Choice, strata: Choice | None, n_permutations: int) -> _Grouped:
    frame = frame_of(table)
    check_permutations(n_permutations)
    d = symmetric(frame)
    upper = np.triu_indices(len(d), 1)
    bad = int((~np.isfinite(d[upper])).sum())
    if bad:
        raise ValueError(f"groups are compared by all pairs, and {bad} pairs are undefined: leave those items out, or take a measure that is defined for all")
    codes, names = pd.factorize(by_item_defined(frame.index, groups, "groups"))
    if len(names) < 2:
        raise ValueError(f"groups are compared with one another, and there is only one, '{names[0]}', for all {len(d)} items")
    layers = np.zeros(len(d), int) if strata is None else pd.factorize(by_item_defined(frame.index, strata, "strata"))[0]
    return _Grouped(d, codes, names, codes[:, None] == codes[None], [np.flatnonzero(layers == k) for k in range(layers.max() + 1)])


def _welch(squared: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Welch's W of distances for each row of group codes (k, m); infinite where a group has no spread."""
    groups = np.unique(codes[0])
    sizes = np.array([(codes[0] == g).sum() for g in groups])
    members = np.stack([(codes == g).astype(float) for g in groups])  # (groups, k, m)
    sums = np.einsum("gkm,hkm->kgh", members @ squared, members)  # of squared distances between items of two groups
    own = np.diagonal(sums, axis1=1, axis2=2) / 2 / sizes  # (k, groups): sums of squares about the centres
    variance = own / (sizes - 1)
    smallest = np.finfo(float).eps * max(float(squared.max()), np.finfo(float).tiny)
    weights = sizes / np.maximum(variance, smallest)
    total = weights.sum(axis=1)
    between = sums / np.outer(sizes, sizes) - (own / sizes)[:, :, None] - (own / sizes)[:, None, :]  # squared distances of centres
    first, second = np.triu_indices(len(groups), 1)
    top = (weights[:, first] * weights[:, second] * between[:, first, second]).sum(axis=1) / total / (len(groups) - 1)
    bottom = 1 + 2 * (len(groups) - 2) / (len(groups) ** 2 - 1) * ((1 - weights / total[:, None]) ** 2 / (sizes - 1)).sum(axis=1)
    return np.where((variance <= smallest).any(axis=1), np.inf, top / bottom)


def _variance_ratio(values: np.ndarray, members: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The F of a one-way analysis of variance for each row of values (k, m); members: which items are in which group, over its size (m, groups)."""
    means = values @ members
    between = (sizes * (means - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    within = (values**2).sum(axis=1) - (sizes * means**2).sum(axis=1)
    return between / (len(sizes) - 1) / (within / (len(values[0]) - len(sizes)))


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


def block_means(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    groups: Choice,
    *,
    row_groups: Any = None,
    level: float = 0.95,
    parts: int = 20,
    seed: int = 0,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Means of a measure over the pairs of items within each group and between two groups, with confidence intervals over samples.

    Parameters
    ----------
    measure : str or Measure
    xs : {label: array (n, ...)}
        The items, all of the same samples.
    groups : as in `anosim`
        Groups of items.
    row_groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus). Whole groups of rows are left out, and pairs of rows within a group do not
        count. Measures that can do this: debiased CKA, debiased distance correlation, RSA. Recordings by token carry the groups of their rows. range(n) if rows are independent.
    level : float
        The fraction of intervals that contain the population value.
    parts : int
        The number of parts into which samples (or groups of rows) are divided.
    seed : int
    progress : bool or function(done, total)

    Returns
    -------
    DataFrame
        Index (group, other), the same group twice for pairs within it, in the order of first appearance. Columns mean, low, high, smallest and largest (of the pairs), and pairs (their number).
        Both directions of a pair are averaged. Pairs of an item with itself do not count, so a group of one item has no row of its own.

    Raises
    ------
    ValueError
        For too few samples for so many parts, no pairs, and groups of rows with a measure that cannot leave out the pairs within them.
    UndefinedError
        If the measure has no value for a pair.

    Notes
    -----
    The interval is mean ± t · sqrt((parts - 1) / parts · Σ (mean without part k - mean of these means)²), with t of Student's distribution with parts - 1 degrees of freedom (the jackknife). Samples
    are permuted (seed) and divided into parts. The interval is for the mean of these items with other samples, drawn independently (or in groups). It does not cover other models or seeds. It is
    not cut at the ends of the measure's range, and it does not take out the bias that the measure has at n samples.

    Simulated (four items in two groups): of 100 intervals at level 0.95, 92 to 97 contained the true CKA at 100 to 2,000 samples of 8 features, and 85 to 92 at 40 samples. At 100 samples of
    200 features it was 94 to 100 for debiased CKA and 89 to 96 for CKA. Intervals of shared neighbours are half as wide again as needed.

    References
    ----------
    Quenouille 1956; Tukey 1958.

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
    given = xs
    xs, n = representations_of(given)
    labels = list(xs)
    codes, names = pd.factorize(by_item_defined(axis_of(xs), groups, "groups"))
    if len(labels) < 2:
        raise ValueError(f"means are of pairs of items, and there is one item, '{measures.named(labels[0])}'")
    of_rows = codes_of(row_groups, [*given.values(), *xs.values()], n)
    between = None if of_rows is None else needed_form(measure, "block means", ". If rows are independent all the same, give row_groups=range(n)")
    units, name = (n, "samples") if of_rows is None else (int(of_rows.max()) + 1, "groups of rows")
    _check_parts(parts, units, name, measure.least if between is None else FEWEST_GROUPS, measures.short_name(measure))
    blocks = {pair: _pairs_of(codes, *pair) for pair in itertools.combinations_with_replacement(range(len(names)), 2)}
    blocks = {pair: which for pair, which in blocks.items() if len(which[0])}
    part = np.random.default_rng(seed).permutation(units) % parts
    part_of_row = part if of_rows is None else part[of_rows]
    without = np.zeros((parts, len(blocks)))
    with ticking(progress, f"block means of {measures.short_name(measure)}", "table") as tick:
        tick(0, parts + 1)
        table = _square(measure, xs) if between is None else _square_between(between, xs, of_rows)
        for k in range(parts):
            tick(k + 1, parts + 1)
            kept = np.flatnonzero(part_of_row != k)
            some = {label: rows_of(xs[label], kept) for label in labels}
            try:
                found = _square(measure, some) if between is None else _square_between(between, some, of_rows[kept])
            except UndefinedError as error:
                raise UndefinedError(f"with {(part == k).sum()} of {units} {name} left out, as the interval needs it (parts={parts}): {error}") from error
            without[k] = [found[which].mean() for which in blocks.values()]
        tick(parts + 1, parts + 1)
    reach = float(stats.t.ppf((1 + level) / 2, parts - 1)) * np.sqrt((parts - 1) / parts * ((without - without.mean(0)) ** 2).sum(0))
    rows = []
    for which, far in zip(blocks.values(), reach, strict=True):
        mean = float(table[which].mean())
        rows.append((mean, mean - far, mean + far, float(table[which].min()), float(table[which].max()), len(which[0])))
    index = pd.MultiIndex.from_tuples([(names[one], names[other]) for one, other in blocks], names=["group", "other"])
    return pd.DataFrame(rows, index=index, columns=["mean", "low", "high", "smallest", "largest", "pairs"])


def _square_between(between: Between, xs: Mapping[Any, Any], codes: np.ndarray) -> np.ndarray:
    """The values of all pairs of different items without the pairs of rows within a group. The diagonal is not computed."""
    (xs,), table = one_library(xs), np.full((len(xs), len(xs)), np.nan)
    for (i, one), (j, other) in itertools.combinations(enumerate(xs), 2):
        try:
            table[i, j] = table[j, i] = between(xs[one], xs[other], codes)
        except UndefinedError as error:
            raise UndefinedError(f"'{measures.named(one)}' and '{measures.named(other)}': {error}") from error
    return table


def _check_parts(parts: int, n: int, what: str, least: int, measure: str) -> None:
    if not isinstance(parts, (int, np.integer)) or isinstance(parts, bool) or parts < 2:
        raise ValueError(f"parts is a whole number from 2, 20 for an interval that does not jump with the seed; got {parts!r}")
    if parts > n:
        raise ValueError(f"{what} are left out in {parts} parts, and there are {n} {what}: parts is at most {n}")
    left = n - -(-n // parts)
    if left < least:
        raise ValueError(f"without one of {parts} parts {left} of {n} {what} are left, and {measure} needs at least {least}")


def _pairs_of(codes: np.ndarray, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of different items of two groups, or of one."""
    rows, columns = np.triu_indices(len(codes), 1)
    which = np.sort(np.stack([codes[rows], codes[columns]]), axis=0)
    found = (which[0] == one) & (which[1] == other)
    return rows[found], columns[found]


def _square(measure: Measure, xs: Mapping[Any, Any]) -> np.ndarray:
    return symmetric(compare(measure, xs).values)
