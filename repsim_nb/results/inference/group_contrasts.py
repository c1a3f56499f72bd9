"""Groups of items against a base group, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import Choice

from .dispersion import dispersion_test
from .group_tests import anosim_r
from .labelled_items import LabelledItems, NoOtherLabelling, label_items
from .results import ROUNDING, compare_with_null
from .square_tables import SquareTable, with_ties
from .units import holm

FEWEST_SPREAD = 3  # items of a group in each stratum, for a test of dispersion


def contrasts(
    table: SquareTable,
    groups: Choice,
    base: Any,
    *,
    strata: Choice | None = None,
    units: Choice | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Test for each group whether its items are farther from base items than those are from each other, one-sided.

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (taken as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        As in `anosim`. A group may have a single item.
    base : label of a group
        The group that all others are compared with. Only strata in which it has two items or more count.
    strata : as groups, optional
        Labels are permuted within a stratum, and only pairs within one stratum count.
    units : as groups, optional
        Items of one unit depend on each other. Labels are exchanged among whole units that have the same number of
        items in each stratum.
    n_permutations : int
        The number of random labellings, if there are more than 5,040 different ones.
    seed : int
        Of the random labellings.

    Returns
    -------
    DataFrame
        Index group. Columns:

        - to_base: mean dissimilarity of the group's items to base items, the mean over the strata that count for it.
        - base: mean dissimilarity within base, over the same strata.
        - within: mean dissimilarity within the group, missing for one item in each stratum.
        - difference: to_base - base.
        - p_value: one-sided, the labels of the group and of base exchanged within strata.
        - p_holm: p_value adjusted for the number of groups.
        - least: the smallest p_value that so many items allow (1 / number of labellings).
        - R: ANOSIM's R of the group and base, without a p-value (with few items it is mostly the tightness of base).
        - spread_p: p-value of `dispersion_test` of the group and base, missing for fewer than 3 items in a stratum.
        - items: the number of items of the group that count.

    Raises
    ------
    ValueError
        For an unknown base, a group that shares no stratum with two base items, a group without a unit of the same size
        as one of base, and as `anosim`.

    Notes
    -----
    The question is how far a change moves items, in units of how far base items are from each other anyway. Items of a
    group may be far from base and from each other, each in its own direction: then *within* is as large as *to_base*,
    and the group is no cluster. The test is exact if items of the group are drawn as base items are. It also rejects if
    a group is only more spread out around the same centre, since its items are then farther from base items, too:
    *spread_p* and *within* show it, and `centre_test` compares centres alone.

    Simulated (base of 5 items and two groups of 2 or 3, in one or two strata, 400 times each): where groups are as
    base, .03 to .08 of p_value are <= .05, and the smallest p_holm in .00 to .05. A group twice as spread out around
    the same centre has p_value <= .05 in .46 (2 items) to .92 (3 items in two strata), one half as spread out in none.
    spread_p is approximate: <= .05 in .06 to .10 of nulls.

    References
    ----------
    Clarke 1993; Anderson 2006; Holm 1979.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 4.0, 5.0, 2.0, 3.0, 11.0, 13.0])
    >>> table = pd.DataFrame(abs(positions[:, None] - positions))
    >>> found = contrasts(table, ["base"] * 5 + ["same"] * 2 + ["moved"] * 2, "base")
    >>> [f"{p:.3f}" for p in found["p_value"]], f"{found.loc['moved', 'least']:.3f}"
    (['1.000', '0.048'], '0.048')
    """
    every = label_items(table, groups, strata, units, n_permutations)
    if base not in every.names:
        raise unknown_name("base group", base, list(every.names))
    tied = with_ties(every.d, table)
    rows, alone = {}, []
    for name in every.names.drop(base):
        two = every.codes == every.names.get_loc(base), every.codes == every.names.get_loc(name)
        parts = [
            rows[two[0][rows] | two[1][rows]]
            for rows in every.items_of_strata
            if two[0][rows].sum() > 1 and two[1][rows].any()
        ]
        if not parts:
            few = "it has one item" if strata is None else "in no stratum with an item of the group it has two items"
            raise ValueError(
                f"'{name}' is compared with '{base}' {'' if strata is None else 'within strata '}by the pairs within"
                f" '{base}', and {few}: leave '{name}' out, or take another base"
            )
        try:
            rows[name] = _contrast(every, tied, two, parts, n_permutations, seed)
        except NoOtherLabelling:
            alone.append(name)
    if alone:
        raise ValueError(
            f"{join_names(alone)} cannot be compared with '{base}': labels are exchanged among units with the same"
            f" number of items{'' if strata is None else ' in each stratum'}, and no unit of '{alone[0]}' has as many"
            f" as a unit of '{base}'. Leave {join_names(alone)} out, or give no units if items are independent"
        )
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")
    found.insert(list(found).index("least"), "p_holm", holm(found["p_value"]))
    return found.astype({"within": "Float64", "spread_p": "Float64", "items": int})


def _contrast(
    every: LabelledItems,
    tied: np.ndarray,
    two: tuple[np.ndarray, np.ndarray],
    parts: list[np.ndarray],
    n_permutations: int,
    seed: int,
) -> dict[str, Any]:
    counted = np.concatenate(parts)
    labels, exact = every.permute_labels(parts, n_permutations, seed)
    code = int(every.codes[two[0]][0])
    to_base, own = _means(tied, every.codes[None] == code, parts)
    null_to_base, null_own = _means(tied, labels == code, parts)
    seen = float(to_base[0] - own[0])
    test = compare_with_null(
        seen, null_to_base - null_own, "greater", exact, rounding=ROUNDING * max(1.0, float(tied.max()))
    )
    inside = [
        tied[np.ix_(its, its)][np.triu_indices(len(its), 1)].mean()
        for its in (rows[two[1][rows]] for rows in parts)
        if len(its) > 1
    ]
    spread = None
    if (
        min(int(two[1][rows].sum()) for rows in parts) >= FEWEST_SPREAD
        and min(int(two[0][rows].sum()) for rows in parts) >= FEWEST_SPREAD
    ):
        frame = pd.DataFrame(every.d[np.ix_(counted, counted)])
        try:
            spread = dispersion_test(
                frame,
                list(every.codes[counted]),
                strata=list(every.strata[counted]),
                units=None if every.units is None else list(every.units[counted]),
                n_permutations=n_permutations,
                seed=seed,
            ).p_value
        except ValueError:
            spread = None  # all items equally far from their centre
    return {
        "to_base": float(to_base[0]),
        "base": float(own[0]),
        "within": float(np.mean(inside)) if inside else None,
        "difference": seen,
        "p_value": test.p_value,
        "least": 1 / (len(labels) + (not exact)),
        "R": float(anosim_r(tied, every.codes[None], parts)[0]),
        "spread_p": spread,
        "items": int(two[1][counted].sum()),
    }


def _means(d: np.ndarray, is_base: np.ndarray, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean dissimilarities of pairs of a base item with another, and of pairs of base items, the mean over parts, for
    each row of is_base (k, m).
    """
    across, own = np.zeros(len(is_base)), np.zeros(len(is_base))
    for rows in parts:
        base = is_base[:, rows].astype(float)
        sums = base @ d[np.ix_(rows, rows)]
        many = base.sum(axis=1)
        inside = (sums * base).sum(axis=1)
        own += inside / (many * (many - 1)) / len(parts)
        across += (sums.sum(axis=1) - inside) / (many * (len(rows) - many)) / len(parts)
    return across, own
