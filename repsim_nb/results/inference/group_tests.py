"""Groups of items: whether they lie apart, whether their centres differ, and whether their spreads differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.measures.ties import ranks_with_ties
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .relabelling import relabel
from .results import ROUNDING, GroupTest, Test, check_permutations, compare_with_null
from .square_tables import Table, frame_of, require_values_per_item, symmetric, with_ties

FEWEST_SPREAD_UNITS = 4  # of a group, for a test of spreads: with three it rejects up to a quarter of nulls


def anosim(
    table: Table,
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
        Items of one unit depend on each other (layers of one network, learning rates from one seed). Labels are
        exchanged among whole units: those that have the same number of items in each stratum. All items of a unit are
        in one group.
    n_permutations : int
        All different labellings are gone through if there are no more than 5,040. Otherwise so many are drawn.
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
    found = grouped(table, groups, strata, units, n_permutations)
    d, codes, names, within = found.d, found.codes, found.names, found.within
    parts = [rows for rows in found.layers if _has_both(within[np.ix_(rows, rows)])]
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
    labels, every = found.labellings(parts, n_permutations, seed)
    tied = with_ties(d, table)
    seen, null = (anosim_r(tied, rows_of_codes, parts) for rows_of_codes in (codes[None], labels))
    return found.test(compare_with_null(float(seen[0]), null, "greater", every), parts)


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
    table: Table,
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
    found = grouped(table, groups, strata, units, n_permutations)
    parts = found.compared()
    found.check_two(parts, "and centres are compared by the spread of their groups")
    labels, every = found.labellings(parts, n_permutations, seed)
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
    return found.test(
        compare_with_null(statistic, null, "greater", every, rounding=ROUNDING * max(1.0, abs(statistic))), parts
    )


@dataclass(frozen=True, eq=False, repr=False)
class SpreadTest(Test):
    """A test of dispersion: `statistic` is F. spreads: {group: mean distance of its items from its centre}. groups:
    {group: number of items}.
    """

    spreads: Mapping[Any, float] = field(default_factory=dict)
    groups: Mapping[Any, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"{super().__repr__()[:-1]}, spreads:"
            f" {', '.join(f'{name} {value:.4g}' for name, value in self.spreads.items())})"
        )


def dispersion_test(
    table: Table,
    groups: Choice,
    *,
    strata: Choice | None = None,
    units: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> SpreadTest:
    """Test whether items of some groups are more spread out than items of others (PERMDISP), one-sided.

    Next to `anosim`, which rejects for different spreads as well as for different centres, it shows which of the two
    differ.

    Parameters
    ----------
    table, groups, strata, units, n_permutations, seed
        As in `anosim`. Every group needs three items (in every stratum too). With strata a centre is that of a group
        within one stratum, and F is the mean over the strata that have at least two groups.

    Returns
    -------
    SpreadTest
        statistic is F. spreads: {group: mean distance of its items from its centre}. groups: {group: number of items}.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one or two items, and if all items of each group are equally far from its centre.

    Notes
    -----
    F is that of an analysis of variance of distances: each item's distance from the centre of its group, times sqrt(m /
    (m - 1)) for a group of m items, because a centre lies nearer to the few items that it is the mean of. Distances are
    in the space of all principal coordinates. Coordinates of negative eigenvalues count negatively, and the root of the
    absolute difference is taken. The differences of these distances from the means of their groups (within a stratum)
    are permuted, and the labelling as it is counts with the F that was found, so p is never 0.

    It is only approximate, and rejects too often in small groups. Simulated nulls with p <= .05 (200 to 400 each): .04
    to .10 for groups of 8 to 24 items in one stratum and two, .14 for 3 and 3 items in each of two strata, .12 to .13
    for four or five units of 3 or 4 items a group (as single items .15 to .32). With two items a group in each of two
    strata it was .25, and .17 to .25 with three units a group: groups of two items and, with units, of fewer than four
    are refused.

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
    found = grouped(table, groups, strata, units, n_permutations)
    parts = found.compared()
    found.check_two(parts, "")
    pairs = {str(found.names[k]): None for rows in parts for k in np.flatnonzero(np.bincount(found.codes[rows]) == 2)}
    if pairs:
        raise ValueError(
            "both items of a group of two are equally far from its centre, so that it does not show how much their"
            f" distances vary: give {join_names(pairs, 3)} 3 items or"
            f" more{'' if len(found.layers) == 1 else ' in each stratum'}, or leave them out"
        )
    if found.units is not None:
        many = {str(name): len(np.unique(found.units[found.codes == k])) for k, name in enumerate(found.names)}
        if few := {name: number for name, number in many.items() if number < FEWEST_SPREAD_UNITS}:
            raise ValueError(
                f"spreads need at least {FEWEST_SPREAD_UNITS} units in each group;"
                f" {', '.join(f'{name} has {number}' for name, number in list(few.items())[:3])}"
            )
    distances, residuals, varying = np.zeros(len(found.d)), np.zeros(len(found.d)), []
    for rows in parts:
        squared, own = found.d[np.ix_(rows, rows)] ** 2, np.unique(found.codes[rows], return_inverse=True)[1]
        sizes = np.bincount(own)
        members = (own[:, None] == np.arange(len(sizes))) / sizes
        from_centre = (squared @ members)[np.arange(len(own)), own] - (members * (squared @ members)).sum(0)[own] / 2
        distances[rows] = np.sqrt(np.abs(from_centre) * sizes[own] / (sizes[own] - 1))
        residuals[rows] = distances[rows] - (distances[rows] @ members)[own]
        if np.abs(residuals[rows]).max() > 1e-9 * distances[rows].max():
            varying.append(rows)
    if not varying:
        raise ValueError(
            "within every group all items are equally far from its centre, so that nothing says how much spreads differ"
            " by chance"
        )
    labels, every = found.labellings(varying, n_permutations, seed)
    seen, null = (
        np.mean([_variance_ratio(values[rows], codes[:, rows]) for rows in varying], axis=0)
        for values, codes in ((distances, found.codes[None]), (residuals, labels))
    )
    counted = np.concatenate(varying)
    null[(labels[:, counted] == found.codes[counted]).all(axis=1)] = seen[0]
    statistic = float(seen[0])
    test = compare_with_null(
        statistic, null, "greater", every, rounding=ROUNDING * max(1.0, statistic), permuted=found.permuted
    )
    spreads = {name: float(distances[found.codes == k].mean()) for k, name in enumerate(found.names)}
    return SpreadTest(
        test.statistic,
        test.p_value,
        null,
        "greater",
        test.n_permutations,
        spreads,
        found.counts(),
        permuted=test.permuted,
    )


class Grouped(NamedTuple):
    """A table of items in groups: dissimilarities (m, m), the group of each item as a number, the groups' names, which
    pairs are within one, the stratum and the unit of each item, the strata's items.
    """

    d: np.ndarray
    codes: np.ndarray
    names: pd.Index
    within: np.ndarray
    strata: np.ndarray
    units: np.ndarray | None
    layers: list[np.ndarray]

    @property
    def permuted(self) -> str:
        return "samples" if self.units is None else "units"

    def counts(self) -> dict[Any, int]:
        return {name: int((self.codes == k).sum()) for k, name in enumerate(self.names)}

    def compared(self) -> list[np.ndarray]:
        """The items of each stratum that has two groups."""
        parts = [rows for rows in self.layers if len(np.unique(self.codes[rows])) > 1]
        if not parts:
            raise ValueError("in no stratum are there items of two groups")
        return parts

    def check_two(self, parts: list[np.ndarray], why: str) -> None:
        """ValueError for a group that has one item in a stratum."""
        few = {str(self.names[k]): None for rows in parts for k in np.flatnonzero(np.bincount(self.codes[rows]) == 1)}
        if few:
            raise ValueError(
                f"a group of one item {'' if len(self.layers) == 1 else 'in a stratum '}has no"
                f" spread{f', {why}' if why else ''}: leave out {join_names(few, 3)}"
            )

    def labellings(self, parts: list[np.ndarray], n: int, seed: int) -> tuple[np.ndarray, bool]:
        """Group codes (n or fewer, m) with labels exchanged among the items of these parts, the others as they are; and
        whether they are all.
        """
        rows = np.concatenate(parts)
        its, every = relabel(
            self.codes[rows],
            self.strata[rows],
            None if self.units is None else self.units[rows],
            n,
            np.random.default_rng(seed),
        )
        found = np.tile(self.codes, (len(its), 1))
        found[:, rows] = its
        return found, every

    def test(self, test: Test, parts: list[np.ndarray]) -> GroupTest:
        upper, counted = np.triu_indices(len(self.d), 1), np.zeros(self.d.shape, bool)
        for rows in parts:
            counted[np.ix_(rows, rows)] = True
        pairs, inside, d = counted[upper], self.within[upper], self.d[upper]
        return GroupTest(
            test.statistic,
            test.p_value,
            test.null,
            "greater",
            test.n_permutations,
            float(d[pairs & inside].mean()),
            float(d[pairs & ~inside].mean()),
            self.counts(),
            permuted=self.permuted,
        )


def grouped(table: Table, groups: Choice, strata: Choice | None, units: Choice | None, n_permutations: int) -> Grouped:
    frame = frame_of(table)
    check_permutations(n_permutations)
    d = symmetric(frame)
    upper = np.triu_indices(len(d), 1)
    bad = int((~np.isfinite(d[upper])).sum())
    if bad:
        raise ValueError(
            f"groups are compared by all pairs, and {bad} pairs are undefined: leave those items out, or take a measure"
            " that is defined for all"
        )
    codes, names = pd.factorize(require_values_per_item(frame.index, groups, "groups"))
    if len(names) < 2:
        raise ValueError(
            f"groups are compared with one another, and there is only one, '{names[0]}', for all {len(d)} items"
        )
    layers = (
        np.zeros(len(d), int)
        if strata is None
        else pd.factorize(require_values_per_item(frame.index, strata, "strata"))[0]
    )
    whole = None
    if units is not None:
        whole, of_units = pd.factorize(require_values_per_item(frame.index, units, "units"))
        for k in np.flatnonzero(pd.Series(codes).groupby(whole).nunique() > 1):
            raise ValueError(
                f"a unit is in one group, whose label it exchanges with other units; '{of_units[k]}' has items in"
                f" {join_names((names[g] for g in np.unique(codes[whole == k])), 3)}"
            )
    return Grouped(
        d,
        codes,
        names,
        codes[:, None] == codes[None],
        layers,
        whole,
        [np.flatnonzero(layers == k) for k in range(layers.max() + 1)],
    )


def _check_pairs(found: Grouped, parts: list[np.ndarray]) -> None:
    """ValueError for a group with too few pairs within it, which would leave R to the other groups."""
    most = np.max(
        [[math.comb(int((found.codes[rows] == k).sum()), 2) for k in range(len(found.names))] for rows in parts], axis=0
    )
    present = [bool((found.codes[np.concatenate(parts)] == k).any()) for k in range(len(found.names))]
    few = [k for k in np.flatnonzero(present) if most[k] < 2]
    if few and not all(most[k] == 1 for k in np.flatnonzero(present)):
        many = "one pair or none" if len(found.layers) == 1 else "one pair or none within any stratum"
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
    between = (
        sums / np.outer(sizes, sizes) - (own / sizes)[:, :, None] - (own / sizes)[:, None, :]
    )  # squared distances of centres
    first, second = np.triu_indices(len(groups), 1)
    top = (weights[:, first] * weights[:, second] * between[:, first, second]).sum(axis=1) / total / (len(groups) - 1)
    bottom = 1 + 2 * (len(groups) - 2) / (len(groups) ** 2 - 1) * (
        (1 - weights / total[:, None]) ** 2 / (sizes - 1)
    ).sum(axis=1)
    return np.where((variance <= smallest).any(axis=1), np.inf, top / bottom)


def _variance_ratio(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The F of a one-way analysis of variance of values (m,) for each row of group codes (k, m); infinite where values
    do not vary within groups.
    """
    groups, sizes = np.unique(codes[0], return_counts=True)
    centred = values - values.mean()
    between = sum(((codes == group) @ centred) ** 2 / size for group, size in zip(groups, sizes, strict=True))
    within = float(centred @ centred) - between
    tiny = 1e-12 * max(float(centred @ centred), np.finfo(float).tiny)
    return np.where(
        within <= tiny, np.inf, between / (len(groups) - 1) / (np.maximum(within, tiny) / (len(values) - len(groups)))
    )


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
