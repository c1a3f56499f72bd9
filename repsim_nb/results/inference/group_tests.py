"""Groups of items: whether they are separate (ANOSIM), and whether their centres differ."""

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
    """Test whether items of one group are nearer to each other than to items of other groups (ANOSIM), one-sided.

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (taken as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        {model: group}, a Series by model (by label if labels have no model), a field of the labels such as "model", or
        one value an item.
    strata : as groups, optional
        Labels are permuted within a stratum, and only pairs within one stratum count. R is then the mean over the
        strata that have pairs of both kinds (the two-way crossed design).
    units : as groups, optional
        Items of one unit depend on each other (layers of one model, learning rates from one seed). Labels are
        exchanged among whole units: those that have the same number of items in each stratum. All items of a unit are
        in one group.
    n_permutations : int
        All different labellings are used if there are no more than 5,040. Otherwise so many are drawn at random.
    seed : int

    Returns
    -------
    GroupTest
        statistic is R. within, between: mean dissimilarities of the pairs that count. groups: {group: number of items}.
        permuted is "units" if there are any.

    Raises
    ------
    ValueError
        For one group only, no pair within a group or none between groups, undefined cells, a unit in two groups, and
        nothing to exchange. Also for a group that has fewer than two pairs within it in every stratum (fewer than 3
        items), unless each group has exactly one: the pairs within groups are then those of the other groups, and R
        says how tight those are. `contrasts` compares such groups with a base group.

    Notes
    -----
    R = (mean rank of dissimilarities between groups - mean rank within groups) / (number of pairs / 2). R is 1 if every
    pair within a group is nearer than every pair between groups, 0 if groups make no difference, and negative if items
    are nearer to other groups. Dissimilarities that are equal up to rounding are tied. Group labels are permuted.

    ANOSIM rejects if groups lie apart, and also if one group is only more spread out than the others around the same
    centre. `dispersion_test` tests whether spreads differ. `centre_test` keeps its error rate if centres agree,
    whatever the spreads are. Both tests are of all groups together: one group may be the reason. `contrasts` takes each
    group by itself.

    Simulated with 8 to 10 units of 3 or 4 items that share what they have (150 nulls each): .04 to .05 had p <= .05
    with `units`, also across strata, and .13 to .65 without.

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
    found = label_items(table, groups, strata, units, n_permutations)
    d, codes, names, within = found.d, found.codes, found.names, found.within
    parts = [rows for rows in found.items_of_strata if _has_both(within[np.ix_(rows, rows)])]
    if not parts:
        where = (
            "in no stratum are there pairs of both sorts"
            if strata is not None
            else "each group has one item, so that no pair is within a group"
        )
        raise ValueError(
            f"pairs within groups are compared with pairs between them, and {where}; groups:"
            f" {join_names(f'{name} ({(codes == k).sum()})' for k, name in enumerate(names))}"
        )
    _check_pairs(found, parts)
    labels, every = found.permute_labels(parts, n_permutations, seed)
    tied = with_ties(d, table)
    seen, null = (anosim_r(tied, labelling, parts) for labelling in (codes[None], labels))
    return found.group_test(compare_with_null(float(seen[0]), null, "greater", every), parts)


def anosim_r(tied: np.ndarray, codes: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """R, the mean over parts (the items of a stratum each), for each row of group codes (k, m)."""
    total = np.zeros(len(codes))
    for rows in parts:
        ranks = np.zeros((len(rows), len(rows)))
        of_pairs = np.triu_indices(len(rows), 1)
        ranks[of_pairs] = ranks_with_ties(tied[np.ix_(rows, rows)][of_pairs])
        total += _contrast(ranks + ranks.T, codes[:, rows]) / len(parts)
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
    """Test whether the centres of groups differ, whatever the spreads of the groups are, one-sided.

    Parameters
    ----------
    table, groups, strata, units, n_permutations, seed
        As in `anosim`. Every group needs two items (in every stratum too). With strata the statistic is the mean over
        those that have at least two groups.

    Returns
    -------
    GroupTest
        statistic is Welch's W of distances. within, between: mean dissimilarities of the pairs that count. groups:
        {group: number of items}.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one item, and for a group whose items are all alike.

    Notes
    -----
    W = squared distances between the centres of groups, each weighted by the sizes of the groups over their variances,
    over the expectation of that sum. The variance of a group is half the mean squared dissimilarity of its pairs. A
    group that is more spread out than others, for which `anosim` rejects as well, is no evidence here. Group labels are
    permuted.

    Simulated (two groups of 8 and 24 items, 2 to 20 features, equal centres, one group three times as spread out as the
    other): .042 to .065 of 1,000 nulls each had p <= .05. With ANOSIM it was between none and all of them.

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
    found = label_items(table, groups, strata, units, n_permutations)
    parts = found.strata_to_compare()
    found.check_spreads(parts, "and centres are compared by the spread of their groups")
    labels, every = found.permute_labels(parts, n_permutations, seed)
    squared = found.d**2
    seen, null = (
        np.mean([_welch(squared[np.ix_(rows, rows)], codes[:, rows]) for rows in parts], axis=0)
        for codes in (found.codes[None], labels)
    )
    statistic = float(seen[0])
    if not np.isfinite(statistic):
        raise ValueError(
            "all items of one group are alike (every dissimilarity within it is 0), so it has no spread that centres"
            " could be compared by"
        )
    return found.group_test(
        compare_with_null(statistic, null, "greater", every, rounding=ROUNDING * max(1.0, abs(statistic))), parts
    )


def _check_pairs(found: LabelledItems, parts: list[np.ndarray]) -> None:
    """ValueError for a group with too few pairs within it, which would leave R to the other groups."""
    most = np.max(
        [[math.comb(int((found.codes[rows] == k).sum()), 2) for k in range(len(found.names))] for rows in parts], axis=0
    )
    present = [bool((found.codes[np.concatenate(parts)] == k).any()) for k in range(len(found.names))]
    few = [k for k in np.flatnonzero(present) if most[k] < 2]
    if few and not all(most[k] == 1 for k in np.flatnonzero(present)):
        many = "one pair or none" if len(found.items_of_strata) == 1 else "one pair or none within any stratum"
        raise ValueError(
            f"R compares pairs within groups with pairs between them, and some groups have {many}"
            f" ({join_names(found.names[few], 3)}), so that R would be the tightness of the other groups. Give such"
            " groups 3 items or more, leave them out, or compare each with a base group: inference.contrasts(table,"
            " groups, base)"
        )


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
    # squared distances of centres
    between = sums / np.outer(sizes, sizes) - (own / sizes)[:, :, None] - (own / sizes)[:, None, :]
    first, second = np.triu_indices(len(groups), 1)
    top = (weights[:, first] * weights[:, second] * between[:, first, second]).sum(axis=1) / total / (len(groups) - 1)
    bottom = 1 + 2 * (len(groups) - 2) / (len(groups) ** 2 - 1) * (
        (1 - weights / total[:, None]) ** 2 / (sizes - 1)
    ).sum(axis=1)
    return np.where((variance <= smallest).any(axis=1), np.inf, top / bottom)


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
