"""Tests of groups of items: whether they are separate (ANOSIM), and whether their centres differ."""

from __future__ import annotations

import math

import numpy as np

from repsim_nb.measures.ties import ranks_with_ties
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .labelled_items import LabelledItems, label_items
from .results import ROUNDING, GroupTest, compare_with_null
from .square_tables import SquareTable, with_ties


def anosim(
    table: SquareTable,
    groups: Choice,
    *,
    strata: Choice | None = None,
    units: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> GroupTest:
    """Test whether items of one group are more similar to each other than to items of other groups (ANOSIM).

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (used as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        {model: group}, a Series by model (by label if labels have no model), a field of the labels such as "model", or
        one value an item.
    strata : as groups, optional
        Labels are permuted within a stratum, and only pairs within one stratum count. R is then the mean over the
        strata that have pairs within and between groups (the two-way crossed design).
    units : as groups, optional
        Items of one unit depend on each other (layers of one model, learning rates from one seed). Whole units exchange
        their labels if they have the same number of items in each stratum. All items of a unit are in one group.
    n_permutations : int
        The number of random labellings. All different labellings are used if there are no more than 5,040.
    seed : int
        The seed of the random labellings.

    Returns
    -------
    GroupTest
        One-sided; `statistic` is R. `within` and `between` are the mean dissimilarities of the pairs that count.
        `permuted` is "units" if units are given.

    Raises
    ------
    ValueError
        For a single group, no pair within a group or none between groups, undefined cells, a unit in two groups, and no
        labels to exchange. Also for a group with fewer than two pairs in every stratum (fewer than 3 items), unless
        each group has exactly one pair: R would then show how compact the other groups are. Use `contrasts` to compare
        such groups with a base group.

    Notes
    -----
    R = (mean rank of dissimilarities between groups - mean rank within groups) / (number of pairs / 2). R is 1 if all
    pairs within groups are more similar than all pairs between groups, about 0 if groups make no difference, and
    negative if items are more similar to other groups. Dissimilarities that are equal up to rounding are tied.

    ANOSIM rejects if the centres of groups differ, and also if one group is more spread out than the others around the
    same centre. Use `dispersion_test` to test whether spreads differ, and `centre_test` to test centres whatever the
    spreads are. All three test all groups together, so one group may be the reason; `contrasts` tests each group.

    Simulations with 8 to 10 units of 3 or 4 equal items (150 nulls each): a fraction of .04 to .05 had p <= .05 with
    `units`, also across strata, and .13 to .65 without.

    References
    ----------
    K. R. Clarke 1993, Non-parametric multivariate analyses of changes in community structure, Australian Journal of
    Ecology 18.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 10.0, 11.0, 13.0])
    >>> items = list("abcdef")
    >>> table = pd.DataFrame(abs(positions[:, None] - positions), items, items)
    >>> found = anosim(table, groups=["left"] * 3 + ["right"] * 3)
    >>> found.statistic, found.p_value
    (1.0, 0.1)
    """
    found = label_items(table, groups, strata, units, n_permutations)
    d, codes, names, within = found.d, found.codes, found.names, found.within
    parts = [
        rows  # with pairs within groups and pairs between groups
        for rows in found.items_of_strata
        if np.unique(within[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]).size == 2
    ]
    if not parts:
        where = (
            "no stratum has pairs of both kinds"
            if strata is not None
            else "each group has one item, so that no pair is within a group"
        )
        raise ValueError(
            f"ANOSIM compares pairs within groups with pairs between groups, but {where}; groups:"
            f" {join_names(f'{name} ({(codes == k).sum()})' for k, name in enumerate(names))}."
        )
    _check_pairs(found, parts)
    labels, every = found.permute_labels(parts, n_permutations, seed)
    tied = with_ties(d, table)
    seen, null = (anosim_r(tied, labelling, parts) for labelling in (codes[None], labels))
    return found.group_test(compare_with_null(float(seen[0]), null, "greater", every, permuted=found.permuted), parts)


def anosim_r(tied: np.ndarray, codes: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """Return R, the mean over parts (the items of a stratum each), for each row of group codes (k, m)."""
    total = np.zeros(len(codes))
    for rows in parts:
        ranks = np.zeros((len(rows), len(rows)))
        of_pairs = np.triu_indices(len(rows), 1)
        ranks[of_pairs] = ranks_with_ties(tied[np.ix_(rows, rows)][of_pairs])
        total += _r_of_stratum(ranks + ranks.T, codes[:, rows]) / len(parts)
    return total


def centre_test(
    table: SquareTable,
    groups: Choice,
    *,
    strata: Choice | None = None,
    units: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> GroupTest:
    """Test whether the centres of groups differ, whatever the spreads of the groups are.

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (used as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        The group of each item, as in `anosim`. Every group needs two items or more (in every stratum too).
    strata : as groups, optional
        Labels are permuted within a stratum. The statistic is the mean over the strata with at least two groups.
    units : as groups, optional
        Items of one unit depend on each other, as in `anosim`.
    n_permutations : int
        The number of random labellings. All different labellings are used if there are no more than 5,040.
    seed : int
        The seed of the random labellings.

    Returns
    -------
    GroupTest
        One-sided; `statistic` is Welch's W of distances. `within` and `between` are the mean dissimilarities of the
        pairs that count.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one item, and for a group whose items are all equal.

    Notes
    -----
    W is the sum of squared distances between the centres of groups, weighted by the sizes of the groups over their
    variances, divided by its expectation. The variance of a group is half the mean squared dissimilarity of its pairs.
    A group that is more spread out than others does not make W large (`anosim` would reject).

    Simulations (two groups of 8 and 24 items, 2 to 20 features, equal centres, one group three times as spread out as
    the other): a fraction of .042 to .065 of 1,000 nulls each had p <= .05. With ANOSIM it was between 0 and 1.

    References
    ----------
    A. V. Alekseyenko 2016, Multivariate Welch t-test on distances, Bioinformatics 32.
    B. Hamidi, K. Wallace, C. Vasu, A. V. Alekseyenko 2019, W*d-test: robust distance-based multivariate analysis of
    variance, Microbiome 7.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 4.0, 10.0, 11.0, 13.0, 14.5])
    >>> items = list("abcdefgh")
    >>> table = pd.DataFrame(abs(positions[:, None] - positions), items, items)
    >>> bool(centre_test(table, groups=["left"] * 4 + ["right"] * 4).p_value < 0.05)
    True
    """
    found = label_items(table, groups, strata, units, n_permutations)
    parts = found.strata_to_compare()
    found.check_spreads(parts, "which centre_test compares centres by")
    labels, every = found.permute_labels(parts, n_permutations, seed)
    squared = found.d**2
    seen, null = (
        np.mean([_welch(squared[np.ix_(rows, rows)], codes[:, rows]) for rows in parts], axis=0)
        for codes in (found.codes[None], labels)
    )
    statistic = float(seen[0])
    if not np.isfinite(statistic):
        raise ValueError(
            "centre_test needs groups with a spread, but all items of one group are alike (every dissimilarity within"
            " it is 0). Leave this group out."
        )
    rounding = ROUNDING * max(1.0, abs(statistic))
    return found.group_test(compare_with_null(statistic, null, "greater", every, rounding, found.permuted), parts)


def _check_pairs(found: LabelledItems, parts: list[np.ndarray]) -> None:
    """Check that no group has too few pairs within it, so that R would depend on the other groups alone."""
    most = np.max(
        [[math.comb(int((found.codes[rows] == k).sum()), 2) for k in range(len(found.names))] for rows in parts], axis=0
    )
    present = [bool((found.codes[np.concatenate(parts)] == k).any()) for k in range(len(found.names))]
    few = [k for k in np.flatnonzero(present) if most[k] < 2]
    if few and not all(most[k] == 1 for k in np.flatnonzero(present)):
        many = "one pair or none" if len(found.items_of_strata) == 1 else "one pair or none within any stratum"
        raise ValueError(
            f"ANOSIM compares pairs within groups with pairs between groups, but some groups have {many}"
            f" ({join_names(found.names[few], 3)}), so R would be the tightness of the other groups. Use 3 items or"
            " more in each group, leave these groups out, or compare each with a base group: inference.contrasts(table,"
            " groups, base)."
        )


def _welch(squared: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return Welch's W of distances for each row of group codes (k, m); infinite if a group has no spread."""
    groups = np.unique(codes[0])
    sizes = np.array([(codes[0] == g).sum() for g in groups])
    members = np.stack([(codes == g).astype(float) for g in groups])  # (groups, k, m)
    sums = np.einsum("gkm,hkm->kgh", members @ squared, members)  # of squared distances between items of two groups
    own = np.diagonal(sums, axis1=1, axis2=2) / 2 / sizes  # (k, groups): sums of squares about the centres
    variance = own / (sizes - 1)
    smallest = np.finfo(float).eps * max(float(squared.max()), np.finfo(float).tiny)
    weights = sizes / np.maximum(variance, smallest)
    total = weights.sum(axis=1)
    # squared distances of centres
    between = sums / np.outer(sizes, sizes) - (own / sizes)[:, :, None] - (own / sizes)[:, None, :]
    first, second = np.triu_indices(len(groups), 1)
    top = (weights[:, first] * weights[:, second] * between[:, first, second]).sum(axis=1) / total / (len(groups) - 1)
    bottom = 1 + 2 * (len(groups) - 2) / (len(groups) ** 2 - 1) * (
        (1 - weights / total[:, None]) ** 2 / (sizes - 1)
    ).sum(axis=1)
    return np.where((variance <= smallest).any(axis=1), np.inf, top / bottom)


def _r_of_stratum(ranks: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return R for each row of group codes (k, m). All sums are of halves, so they are exact in any order."""
    m, inside = len(ranks), np.zeros(len(codes))
    pairs = m * (m - 1) // 2
    for group in np.unique(codes[0]):
        members = (codes == group).astype(float)
        inside += np.einsum("km,km->k", members @ ranks, members) / 2
    many = sum(math.comb(int(size), 2) for size in np.unique(codes[0], return_counts=True)[1])
    return ((ranks.sum() / 2 - inside) / (pairs - many) - inside / many) / (pairs / 2)
