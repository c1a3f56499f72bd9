"""Comparison of each group of items with a base group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import check_name, join_names
from repsim_nb.support.labels import Choice

from .dispersion import dispersion_test
from .group_tests import anosim_r
from .labelled_items import LabelledItems, NoOtherLabelling, NoSpread, label_items
from .results import ROUNDING, compare_with_null
from .square_tables import SquareTable, with_ties
from .units import holm


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
    """Test for each group whether its items are farther from a base group than base items are from each other.

    It answers: does a change (other data, another width) move models farther than another seed does?

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (used as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        The group of each item, as in `anosim`. A group may have a single item.
    base : label of a group
        The group that all others are compared with. Only strata in which it has two items or more count.
    strata : as groups, optional
        Labels are permuted within a stratum, and only pairs within one stratum count.
    units : as groups, optional
        Items of one unit depend on each other. Whole units exchange their labels if they have the same number of items
        in each stratum.
    n_permutations : int
        The number of random labellings. All different labellings are used if there are no more than 5,040.
    seed : int
        The seed of the random labellings.

    Returns
    -------
    DataFrame
        One row for each group but base, the index "group". Columns (dissimilarities are in the units of the table):

        - to_base: mean dissimilarity between items of the group and base items, the mean over the strata that count.
        - base: mean dissimilarity within base, over the same strata.
        - within: mean dissimilarity within the group, missing if it has one item in each stratum.
        - difference: to_base - base.
        - p_value: one-sided; the labels of the group and of base are exchanged within strata.
        - p_holm: p_value adjusted for the number of groups (`holm`).
        - least: the smallest p_value that so many items allow (1 / number of labellings).
        - R: ANOSIM's R of the group and base, without a p-value (with few items it shows how compact base is).
        - spread_p: p-value of `dispersion_test` of the group and base, missing for fewer than 3 items in a stratum.
        - items: the number of items of the group that count.

    Raises
    ------
    ValueError
        For an unknown base, a group that has no stratum in common with two base items, a group without a unit of the
        same size as one of base, and as `anosim`.

    Notes
    -----
    Items of a group may be far from base and from each other, each in its own direction. Then *within* is as large as
    *to_base*, and the group is no cluster.

    The test is exact if items of the group are drawn like base items. It also rejects if a group is more spread out
    around the same centre, since its items are then farther from base items. Look at *spread_p* and *within*, or use
    `centre_test`, which compares centres alone.

    Simulations (base of 5 items and two groups of 2 or 3, in one or two strata, 400 each): if groups are drawn like
    base, a fraction of .03 to .08 had p_value <= .05, and .00 to .05 a smallest p_holm <= .05. A group twice as spread
    out around the same centre had p_value <= .05 in .46 (2 items) to .92 (3 items in two strata), one half as spread
    out in none. spread_p is approximate: <= .05 in .06 to .10 of nulls.

    References
    ----------
    K. R. Clarke 1993, Non-parametric multivariate analyses of changes in community structure, Australian Journal of
    Ecology 18.
    M. J. Anderson 2006, Distance-based tests for homogeneity of multivariate dispersions, Biometrics 62.
    S. Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 4.0, 5.0, 2.0, 3.0, 11.0, 13.0])
    >>> table = pd.DataFrame(abs(positions[:, None] - positions))
    >>> found = contrasts(table, ["base"] * 5 + ["same"] * 2 + ["moved"] * 2, "base")
    >>> [f"{p:.3f}" for p in found["p_value"]], f"{found.loc['moved', 'least']:.3f}"
    (['1.000', '0.048'], '0.048')
    """
    every = label_items(table, groups, strata, units, n_permutations)
    check_name("base group", base, list(every.names))
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
                f" '{base}', but {few}. Leave '{name}' out, or use another base."
            )
        try:
            rows[name] = _contrast(every, tied, two, parts, n_permutations, seed)
        except NoOtherLabelling:
            alone.append(name)
    if alone:
        raise ValueError(
            f"{join_names(alone)} cannot be compared with '{base}': units with the same number of"
            f" items{'' if strata is None else ' in each stratum'} exchange their labels, but no unit of '{alone[0]}'"
            f" has as many as a unit of '{base}'. Leave {join_names(alone)} out, or give no units if items are"
            " independent."
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
    """Return the row of one group. two: which items are in base, and in the group (m,). parts: the items of strata."""
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
    try:
        spread = dispersion_test(
            pd.DataFrame(every.d[np.ix_(counted, counted)]),
            list(every.codes[counted]),
            strata=list(every.strata[counted]),
            units=None if every.units is None else list(every.units[counted]),
            n_permutations=n_permutations,
            seed=seed,
        ).p_value
    except (NoSpread, NoOtherLabelling):
        spread = None
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
    """Return mean dissimilarities (k,) of base items to others, and to each other, for each row of is_base (k, m).

    Both are means over parts, the items of a stratum each.
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
