"""Items of a table in groups, strata and units: which labels may be permuted, and which pairs count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice
from repsim_nb.support.seeds import generator_of

from .results import GroupTest, Test, check_permutations
from .square_tables import SquareTable, frame_of, require_values_per_item, symmetric
from .units import EVERY


class NoOtherLabelling(ValueError):
    """No two units of different groups can exchange their labels."""


class NoSpread(ValueError):
    """Items from which no spread of a group can be computed: too few, or all equally far from their centre."""


def relabel(
    codes: np.ndarray, strata: np.ndarray, units: np.ndarray | None, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Return group codes with labels exchanged (n or fewer, m), and whether these are all different labellings.

    All labellings include the given one. codes, strata: the group and the stratum of each item as a number (m,). units:
    the unit of each item (m,), None if each item is one; all items of a unit are in one group. Units with the same
    number of items in each stratum exchange their labels. NoOtherLabelling if no two of these are in different groups.
    """
    own = np.arange(len(codes)) if units is None else np.unique(units, return_inverse=True)[1]
    strata = np.unique(strata, return_inverse=True)[1]
    labels = codes[np.unique(own, return_index=True)[1]]
    composition = np.zeros((len(labels), strata.max() + 1), int)  # items of each unit in each stratum
    np.add.at(composition, (own, strata), 1)
    classes = np.unique(composition, axis=0, return_inverse=True)[1].ravel()
    places = [np.flatnonzero(classes == k) for k in range(classes.max() + 1)]
    total = math.prod(_number(labels[where]) for where in places)
    if total == 1:
        what = "items" if units is None else "units (with the same number of items in each stratum)"
        raise NoOtherLabelling(
            f"a test exchanges labels among {what}, within strata, but all that could be exchanged have the same label:"
            " there is no other labelling. Add items or groups, or leave out strata and units."
        )
    if total <= EVERY:
        orders = [np.array(list(_arrangements(labels[where].tolist())), dtype=codes.dtype) for where in places]
        found = np.empty((total, len(labels)), dtype=codes.dtype)
        for where, its, chosen in zip(
            places, orders, np.unravel_index(np.arange(total), [len(its) for its in orders]), strict=True
        ):
            found[:, where] = its[chosen]
        return found[:, own], True
    found = np.tile(labels, (n, 1))
    for where in places:
        found[:, where] = rng.permuted(found[:, where], axis=1)
    return found[:, own], False


def _number(labels: np.ndarray) -> int:
    """Return the number of different orders of these labels."""
    return math.factorial(len(labels)) // math.prod(
        math.factorial(int(many)) for many in np.unique(labels, return_counts=True)[1]
    )


def _arrangements(labels: list[int]) -> Iterator[list[int]]:
    """Yield all different orders of these labels."""
    if not labels:
        yield []
    for label in dict.fromkeys(labels):
        rest = labels.copy()
        rest.remove(label)
        yield from ([label, *others] for others in _arrangements(rest))


class LabelledItems(NamedTuple):
    """A table of items in groups.

    d: dissimilarities (m, m). codes: the group of each item as a number. names: of the groups. within: whether a pair
    is within a group (m, m). strata, units: the stratum and the unit of each item. items_of_strata: the items of each
    stratum.
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
        """What a permutation exchanges, as in `Test`."""
        return "samples" if self.units is None else "units"

    def counts(self) -> dict[Any, int]:
        """Return the number of items of each group."""
        return {name: int((self.codes == k).sum()) for k, name in enumerate(self.names)}

    def strata_to_compare(self) -> list[np.ndarray]:
        """Return the items of each stratum that has two groups."""
        parts = [rows for rows in self.items_of_strata if len(np.unique(self.codes[rows])) > 1]
        if not parts:
            raise ValueError("groups are compared within strata, but no stratum has items of two groups.")
        return parts

    def check_spreads(self, parts: list[np.ndarray], why: str) -> None:
        """Check that no group has a single item in a stratum."""
        few = {str(self.names[k]): None for rows in parts for k in np.flatnonzero(np.bincount(self.codes[rows]) == 1)}
        if few:
            raise NoSpread(
                f"a group of one item {'' if len(self.items_of_strata) == 1 else 'in a stratum '}has no"
                f" spread{f', {why}' if why else ''}. Leave out {join_names(few, 3)}, or add items."
            )

    def permute_labels(self, parts: list[np.ndarray], n: int, seed: int) -> tuple[np.ndarray, bool]:
        """Return group codes (n or fewer, m) with labels exchanged within these parts, and whether these are all."""
        rows = np.concatenate(parts)
        its, every = relabel(
            self.codes[rows], self.strata[rows], None if self.units is None else self.units[rows], n, generator_of(seed)
        )
        found = np.tile(self.codes, (len(its), 1))
        found[:, rows] = its
        return found, every

    def group_test(self, test: Test, parts: list[np.ndarray]) -> GroupTest:
        """Return a test with the mean dissimilarities within and between groups, over the pairs within these parts."""
        pairs = np.zeros(self.d.shape, bool)
        for rows in parts:
            pairs[np.ix_(rows, rows)] = True
        pairs = np.triu(pairs, 1)
        within, between = (float(self.d[pairs & its].mean()) for its in (self.within, ~self.within))
        return GroupTest(**vars(test), within=within, between=between, groups=self.counts())


def label_items(
    table: SquareTable, groups: Choice, strata: Choice | None, units: Choice | None, n_permutations: int
) -> LabelledItems:
    """Check a table with its groups, strata and units."""
    frame = frame_of(table)
    check_permutations(n_permutations)
    d = symmetric(frame)
    upper = np.triu_indices(len(d), 1)
    bad = int((~np.isfinite(d[upper])).sum())
    if bad:
        raise ValueError(
            f"a test of groups needs the dissimilarities of all pairs; {bad} pairs are undefined. Leave their items"
            " out, or use a measure that is defined for all."
        )
    codes, names = pd.factorize(require_values_per_item(frame.index, groups, "groups"))
    if len(names) < 2:
        raise ValueError(
            f"a test of groups needs at least two groups; there is only one, '{names[0]}', for all {len(d)} items."
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
                f"all items of a unit must be in one group; '{of_units[k]}' has items in"
                f" {join_names((names[g] for g in np.unique(codes[whole == k])), 3)}."
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
