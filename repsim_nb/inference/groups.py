"""Groups of items: whether they lie apart, and how alike items are within them and between."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .. import measures
from ..comparison import Choice, Comparison, axis_of, check_diagonal, compare
from ..errors import UndefinedError, listed
from ..measures import Measure
from ..progress import Tick, ticking
from .results import GroupTest, by_counting, check_level, check_permutations
from .samples import labels_of, rows_of
from .squares import Table, by_item_defined, frame_of, symmetric


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


def block_means(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    groups: Choice,
    *,
    level: float = 0.95,
    parts: int = 20,
    seed: int = 0,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """How alike items are within each group and between two groups: means of a measure's values over the pairs, with intervals over samples.

    -> DataFrame, index (group, other), the same twice for pairs within a group, in the order of first appearance; columns mean, low, high, smallest, largest (of the pairs) and
    pairs, how many they are. Values as measured, both directions of a pair averaged, none of an item with itself; a group of one item has no pairs within, and no such row.
    xs: {label: array (n, ...)}, all of the same samples.  groups: as in `anosim`.
    The interval is the jackknife's: samples are shuffled (seed) into `parts` parts, the table is made again without each, and Student's t has (parts - 1) degrees of freedom. It says
    how the mean would move with other samples, drawn one by one, for these very items; nothing of other networks or seeds. It is not cut at the ends of the measure's range, and a bias that
    the measure has at n samples stays in it. Simulated (four items in two groups): of 100 intervals at level 0.95 the true CKA lay in 92 to 97 at 100 to 2000 samples of 8 features,
    in 85 to 92 at 40 samples; at 100 samples of 200 features in 94 to 100 for the debiased CKA and 89 to 96 for the other. Of shared neighbours the intervals are half as wide again as needed.
    Errors: ValueError for too few samples for so many parts, no pairs; UndefinedError where the measure has no value for a pair.  [Quenouille 1956; Tukey 1958]
    """
    measure = measures.get(measure)
    check_level(level)
    labels, n = labels_of(xs)
    codes, names = pd.factorize(by_item_defined(axis_of(xs), groups, "groups"))
    if len(labels) < 2:
        raise ValueError(f"means are of pairs of items, and there is one item, '{measures.named(labels[0])}'")
    _check_parts(parts, n, measure)
    blocks = {pair: _pairs_of(codes, *pair) for pair in itertools.combinations_with_replacement(range(len(names)), 2)}
    blocks = {pair: which for pair, which in blocks.items() if len(which[0])}
    part = np.random.default_rng(seed).permutation(n) % parts
    without = np.zeros((parts, len(blocks)))
    with ticking(progress, f"block means of {measures.short_name(measure)}", "table") as tick:
        tick(0, parts + 1)
        table = _square(measure, xs)
        for k in range(parts):
            tick(k + 1, parts + 1)
            kept = np.flatnonzero(part != k)
            try:
                found = _square(measure, {label: rows_of(xs[label], kept) for label in labels})
            except UndefinedError as error:
                raise UndefinedError(f"with {n - len(kept)} of {n} samples left out, as the interval needs it (parts={parts}): {error}") from error
            without[k] = [found[which].mean() for which in blocks.values()]
        tick(parts + 1, parts + 1)
    reach = float(stats.t.ppf((1 + level) / 2, parts - 1)) * np.sqrt((parts - 1) / parts * ((without - without.mean(0)) ** 2).sum(0))
    rows = []
    for which, far in zip(blocks.values(), reach, strict=True):
        mean = float(table[which].mean())
        rows.append((mean, mean - far, mean + far, float(table[which].min()), float(table[which].max()), len(which[0])))
    index = pd.MultiIndex.from_tuples([(names[one], names[other]) for one, other in blocks], names=["group", "other"])
    return pd.DataFrame(rows, index=index, columns=["mean", "low", "high", "smallest", "largest", "pairs"])


def _check_parts(parts: int, n: int, measure: Measure) -> None:
    if not isinstance(parts, (int, np.integer)) or isinstance(parts, bool) or parts < 2:
        raise ValueError(f"parts is a whole number from 2, 20 for an interval that does not jump with the seed; got {parts!r}")
    if parts > n:
        raise ValueError(f"samples are left out in {parts} parts, and there are {n} samples: parts is at most {n}")
    left = n - -(-n // parts)
    if left < measure.least:
        raise ValueError(f"without one of {parts} parts {left} of {n} samples are left, and {measures.short_name(measure)} needs at least {measure.least}")


def _pairs_of(codes: np.ndarray, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of different items of two groups, or of one."""
    rows, columns = np.triu_indices(len(codes), 1)
    which = np.sort(np.stack([codes[rows], codes[columns]]), axis=0)
    found = (which[0] == one) & (which[1] == other)
    return rows[found], columns[found]


def _square(measure: Measure, xs: Mapping[Any, Any]) -> np.ndarray:
    return symmetric(compare(measure, xs).values)
