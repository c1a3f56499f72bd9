"""Whether items of some groups are more spread out than items of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .labelled_items import label_items
from .results import ROUNDING, Test, compare_with_null
from .square_tables import SquareTable

FEWEST_SPREAD_UNITS = 4  # of a group, for a test of spreads: with three it rejects up to a quarter of nulls


@dataclass(frozen=True, eq=False, repr=False)
class SpreadTest(Test):
    """A test of dispersion; `statistic` is F.

    spreads: {group: mean distance of its items from its centre}. groups: {group: number of items}.
    """

    spreads: Mapping[Any, float] = field(default_factory=dict)
    groups: Mapping[Any, int] = field(default_factory=dict)

    def _facts(self) -> list[str]:
        spreads = ", ".join(f"{name} {value:.4g}" for name, value in self.spreads.items())
        return [*super()._facts(), f"spreads: {spreads}"]


def dispersion_test(
    table: SquareTable,
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
    found = label_items(table, groups, strata, units, n_permutations)
    parts = found.strata_to_compare()
    found.check_spreads(parts, "")
    pairs = {str(found.names[k]): None for rows in parts for k in np.flatnonzero(np.bincount(found.codes[rows]) == 2)}
    if pairs:
        raise ValueError(
            "both items of a group of two are equally far from its centre, so that it does not show how much their"
            f" distances vary: give {join_names(pairs, 3)} 3 items or"
            f" more{'' if len(found.items_of_strata) == 1 else ' in each stratum'}, or leave them out"
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
    labels, every = found.permute_labels(varying, n_permutations, seed)
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
