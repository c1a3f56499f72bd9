"""A test of whether items of some groups are more spread out than items of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .labelled_items import NoSpread, label_items
from .results import ROUNDING, Test, compare_with_null
from .square_tables import SquareTable

FEWEST_SPREAD_UNITS = 4  # of a group, for a test of spreads: with three it rejects up to a quarter of nulls


@dataclass(frozen=True, eq=False, repr=False)
class SpreadTest(Test):
    """A test of dispersion: the fields of a `Test`, and the spreads of the groups.

    Attributes
    ----------
    statistic : float
        F of `dispersion_test`.
    p_value : float
        The p-value, as in `Test`.
    null : array (n_permutations,)
        The statistics of the permutations.
    alternative : str
        "greater": the test is one-sided.
    n_permutations : int
        The number of labellings.
    permuted : str
        What exchanged its label, "samples" (items) or "units" of items.
    spreads : {group: float}
        The mean distance of the items of each group from its centre, in the units of the dissimilarities.
    groups : {group: int}
        The number of items of each group.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 10.0, 14.0, 21.0])
    >>> found = dispersion_test(pd.DataFrame(abs(positions[:, None] - positions)), list("aaabbb"))
    >>> {group: round(spread, 1) for group, spread in found.spreads.items()}
    {'a': 1.1, 'b': 4.9}
    """

    spreads: Mapping[Any, float] = field(default_factory=dict)
    groups: Mapping[Any, int] = field(default_factory=dict)

    def _facts(self) -> list[str]:
        """Return the facts of a test and the spreads."""
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
    """Test whether items of some groups are more spread out than items of others (PERMDISP).

    Use it together with `anosim`, which rejects both for different centres and for different spreads.

    Parameters
    ----------
    table : Comparison or DataFrame, square
        A comparison (used as dissimilarities), or a frame of dissimilarities.
    groups : mapping, Series, str, or sequence
        The group of each item, as in `anosim`. Every group needs three items or more (in every stratum too).
    strata : as groups, optional
        Labels are permuted within a stratum. A centre is that of a group within one stratum, and F is the mean over the
        strata with at least two groups.
    units : as groups, optional
        Items of one unit depend on each other, as in `anosim`. Every group needs four units or more.
    n_permutations : int
        The number of random labellings. All different labellings are used if there are no more than 5,040.
    seed : int
        The seed of the random labellings.

    Returns
    -------
    SpreadTest
        One-sided; `statistic` is F, and `spreads` are the mean distances from the centres.

    Raises
    ------
    ValueError
        As `anosim`, for a group of one or two items, for a group of fewer than four units, and if all items of each
        group are equally far from its centre.

    Notes
    -----
    F is that of an analysis of variance of the distances of items from the centres of their groups. Each distance is
    multiplied by sqrt(m / (m - 1)) for a group of m items, because a centre is nearer to the items that it is the mean
    of. Distances are in the space of all principal coordinates. Coordinates with negative eigenvalues are subtracted,
    and the root of the absolute value is taken. The differences between these distances and the means of their groups
    (within a stratum) are permuted. The given labelling counts with the F of the data, so p is never 0.

    The test is approximate, and it rejects too often in small groups. Fractions of simulated nulls with p <= .05 (200
    to 400 each): .04 to .10 for groups of 8 to 24 items in one or two strata, .14 for 3 and 3 items in each of two
    strata, .12 to .13 for four or five units of 3 or 4 items a group (as single items .15 to .32). It was .25 with two
    items a group in each of two strata and .17 to .25 with three units a group, so these are refused.

    References
    ----------
    M. J. Anderson 2006, Distance-based tests for homogeneity of multivariate dispersions, Biometrics 62.
    A. C. Stier, S. W. Geange, K. M. Hanson, B. M. Bolker 2013, Predator density and timing of arrival affect reef fish
    community assembly, Ecology 94.

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
        raise NoSpread(
            "both items of a group of two are equally far from its centre, so it does not show how much their"
            f" distances vary: give {join_names(pairs, 3)} 3 items or"
            f" more{'' if len(found.items_of_strata) == 1 else ' in each stratum'}, or leave these groups out."
        )
    if found.units is not None:
        many = {str(name): len(np.unique(found.units[found.codes == k])) for k, name in enumerate(found.names)}
        if few := {name: number for name, number in many.items() if number < FEWEST_SPREAD_UNITS}:
            raise NoSpread(
                f"spreads need at least {FEWEST_SPREAD_UNITS} units in each group;"
                f" {', '.join(f'{name} has {number}' for name, number in list(few.items())[:3])}. Add units, or leave"
                " these groups out."
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
        raise NoSpread(
            "dispersion_test needs distances that vary within groups, but within every group all items are equally far"
            " from its centre."
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
    return SpreadTest(**vars(test), spreads=spreads, groups=found.counts())


def _variance_ratio(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return F of an analysis of variance of values (m,) for each row of group codes (k, m).

    It is infinite if values do not vary within groups.
    """
    groups, sizes = np.unique(codes[0], return_counts=True)
    centred = values - values.mean()
    between = sum(((codes == group) @ centred) ** 2 / size for group, size in zip(groups, sizes, strict=True))
    within = float(centred @ centred) - between
    tiny = 1e-12 * max(float(centred @ centred), np.finfo(float).tiny)
    return np.where(
        within <= tiny, np.inf, between / (len(groups) - 1) / (np.maximum(within, tiny) / (len(values) - len(groups)))
    )
