"""Items of a table in groups, strata and units: which labels may be permuted, and which pairs count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .relabelling import relabel
from .results import GroupTest, Test, check_permutations
from .square_tables import Table, frame_of, require_values_per_item, symmetric


class LabelledItems(NamedTuple):
    """A table of items in groups: dissimilarities (m, m), the group of each item as a number, the groups' names, which
    pairs are within one, the stratum and the unit of each item, the strata's items.
    """

    d: np.ndarray
    codes: np.ndarray
    names: pd.Index
    within: np.ndarray
    strata: np.ndarray
    units: np.ndarray | None
    items_of_strata: list[np.ndarray]

    @property
    def permuted(self) -> str:
        return "samples" if self.units is None else "units"

    def counts(self) -> dict[Any, int]:
        return {name: int((self.codes == k).sum()) for k, name in enumerate(self.names)}

    def strata_to_compare(self) -> list[np.ndarray]:
        """The items of each stratum that has two groups."""
        parts = [rows for rows in self.items_of_strata if len(np.unique(self.codes[rows])) > 1]
        if not parts:
            raise ValueError("in no stratum are there items of two groups")
        return parts

    def check_spreads(self, parts: list[np.ndarray], why: str) -> None:
        """ValueError for a group that has one item in a stratum."""
        few = {str(self.names[k]): None for rows in parts for k in np.flatnonzero(np.bincount(self.codes[rows]) == 1)}
        if few:
            raise ValueError(
                f"a group of one item {'' if len(self.items_of_strata) == 1 else 'in a stratum '}has no"
                f" spread{f', {why}' if why else ''}: leave out {join_names(few, 3)}"
            )

    def permute_labels(self, parts: list[np.ndarray], n: int, seed: int) -> tuple[np.ndarray, bool]:
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

    def group_test(self, test: Test, parts: list[np.ndarray]) -> GroupTest:
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


def label_items(
    table: Table, groups: Choice, strata: Choice | None, units: Choice | None, n_permutations: int
) -> LabelledItems:
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
    return LabelledItems(
        d,
        codes,
        names,
        codes[:, None] == codes[None],
        layers,
        whole,
        [np.flatnonzero(layers == k) for k in range(layers.max() + 1)],
    )
