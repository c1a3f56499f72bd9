"""Groups of items: whether they lie apart."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from ..comparison import Choice, Comparison, by_item, check_diagonal
from ..errors import listed
from .results import GroupTest, by_counting, check_permutations
from .squares import Table, frame_of, symmetric


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
    frame = frame_of(table)
    check_permutations(n_permutations)
    d = symmetric(frame)
    if not isinstance(table, Comparison):
        check_diagonal(frame)
    upper = np.triu_indices(len(d), 1)
    bad = int((~np.isfinite(d[upper])).sum())
    if bad:
        raise ValueError(f"groups are compared by all pairs, and {bad} pairs are undefined: leave those items out, or take a measure that is defined for all")
    codes, names = pd.factorize(by_item_defined(frame.index, groups, "groups"))
    if len(names) < 2:
        raise ValueError(f"groups are compared with one another, and there is only one, '{names[0]}', for all {len(d)} items")
    within = codes[:, None] == codes[None]
    layers = np.zeros(len(d), int) if strata is None else pd.factorize(by_item_defined(frame.index, strata, "strata"))[0]
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
    test = by_counting(float(seen[0]), null, "greater")
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


def by_item_defined(index: pd.Index, choice: Choice, what: str) -> pd.Series:
    """One value an item, as in `comparison.by_item`; ValueError where one is undefined."""
    values = by_item(index, choice, what)
    if values.isna().any():
        raise ValueError(f"{what} is undefined for {listed((index[i] for i in np.flatnonzero(values.isna())), 3)}: leave those items out")
    return values
