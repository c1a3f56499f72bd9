"""Rows in groups that depend on each other: group codes, means of groups, and values without pairs within a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat
import numpy as np
import pandas as pd

from repsim_nb.measures import Measure
from repsim_nb.measures.between import Between, between_groups, form_between
from repsim_nb.support.containers import to_array, to_features
from repsim_nb.support.errors import UndefinedError, warn_user
from repsim_nb.support.ids import check_order
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.summaries import count_of
from repsim_nb.support.validation import check_labels, check_representation, to_numpy

from .representations import pair_of, rows_of
from .row_dependence import near_rows

MAX_ROWS = 1000  # the first rows, among which dependence is looked for


def codes_of(groups: Any, sides: Sequence[Any], n: int, *, every: bool = False) -> np.ndarray | None:
    """Return the group of each of n rows as a number, or None if every row is a group of its own.

    Numbers are in the order of first appearance. groups: one label a row; None takes the groups of a recording by
    token, or warns if rows look grouped. sides: the representations, as given and as arrays. every: whether groups
    matter only if all sides have them, as for permutations of one side.
    """
    if groups is None:
        labels = next((its for side in sides if (its := groups_of(side)) is not None), None)
        if labels is None:
            _warn_if_grouped([to_array(sides[0]), to_array(sides[-1])], every)
            return None
    else:
        for side in sides:
            check_order(side, groups)
        labels = check_labels(groups, n, "groups")
    codes = pd.factorize(labels)[0]
    return None if codes.max(initial=-1) + 1 == n else codes


def check_independent(sides: Sequence[Any], what: str) -> None:
    """Raise ValueError if rows are known to depend on each other, for a function that has no `groups`."""
    for side in sides:
        labels = groups_of(side)
        if labels is not None and (many := len(np.unique(labels))) < len(labels):
            raise ValueError(
                f"{what} takes samples as independent; the {len(labels)} rows are in {many} groups, such as the tokens"
                " of a sentence. Take the mean row of each group, rs.average_conditions(x, x.groups) or record(...,"
                " pool='mean'). If rows are independent, pass np.asarray(x), which has no groups."
            )


def _warn_if_grouped(sides: list[Any], every: bool) -> None:
    """Warn if rows that follow one another are more alike than chance allows. Two sides represent all others."""
    if len(sides[0]) != len(sides[1]):
        return
    try:
        found = [
            near_rows(to_numpy(check_representation(side[:MAX_ROWS], double=True, constant=True)))[1] for side in sides
        ]
    except UndefinedError:
        return  # the measure raises the error
    if all(found) if every else any(found):
        warn_user(
            "rows that follow one another are more alike than chance allows. If they depend on each other (tokens,"
            " frames, repeats), p-values are too small and intervals are too short: pass groups=[one label a row]. If"
            " rows are independent but sorted (by class, for example), pass groups=range(n) or permute the rows."
        )


def check_number(codes: np.ndarray, measure: Measure) -> None:
    """Check that there are as many groups as the measure needs samples."""
    many = int(codes.max()) + 1
    if many < measure.min_samples:
        raise ValueError(
            f"{measure} needs at least {measure.min_samples} groups, since groups are exchanged like samples; the"
            f" {len(codes)} rows are in {count_of(many, 'group')}. Use more groups, or groups=range(n) if rows are"
            " independent."
        )


def group_means(x: Any, codes: np.ndarray) -> Any:
    """Return the mean row of each group (groups, features), in the order of the codes.

    If groups differ in size, each mean is of as many rows as the smallest group has, evenly spaced. A mean of more rows
    varies less, on both sides alike, so means of different numbers of rows could not be exchanged.
    """
    x = to_features(x)  # an RDM has no mean rows
    x = x.detach() if hasattr(x, "detach") else x
    xp = array_api_compat.array_namespace(x)
    rows = to_numpy(xp.reshape(x, (x.shape[0], -1)))
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts, few = np.cumsum(sizes) - sizes, int(sizes.min())
    places = ((np.arange(few) + 0.5) * sizes[:, None] / few).astype(int)
    means = np.asarray(rows[order[starts[:, None] + places]], dtype=np.float64).mean(axis=1)
    means = means.astype(rows.dtype) if rows.dtype.kind == "f" and rows.dtype.itemsize > 2 else means
    return xp.asarray(means, device=array_api_compat.device(x)) if array_api_compat.is_torch_array(x) else means


def require_form(measure: Measure, what: str, hint: str = "") -> Between:
    """Return the measure without the pairs of rows within a group. ValueError if it has no such form."""
    try:
        return between_groups(measure)
    except NotImplementedError as error:
        raise ValueError(f"{what} of rows in groups: {error}{hint}") from None


def without_pairs_within(measure: Measure, codes: np.ndarray | None) -> Callable[[Any, Any], float]:
    """Return the measure without the pairs of rows within a group, if there are groups and it has that form."""
    if codes is None or (form := form_between(measure)) is None:
        return measure
    return lambda x, y: form(x, y, codes)


class SampleUnits:
    """The units in which samples are drawn or left out: single samples, or whole groups of rows.

    number: how many there are. name: "samples" or "groups". value(which): the measure of the rows of these units,
    without the pairs of rows within a group.
    """

    def __init__(self, measure: Measure, x: Any, y: Any, groups: Any, what: str, *, strict: bool = True) -> None:
        """Find the units. strict: whether a measure without a form for groups is an error, or uses all pairs."""
        self.x, self.y, n = pair_of(x, y, measure)
        self.codes = codes_of(groups, (x, y, self.x, self.y), n)
        self.number, self.name = (n, "samples") if self.codes is None else (int(self.codes.max()) + 1, "groups")
        self._measure = measure
        if self.codes is not None and strict:
            require_form(measure, what)

    def value(self, which: np.ndarray | None = None) -> float:
        """Return the measure of the rows of some units, or of all."""
        if which is None:
            which = np.arange(self.number)
        rows = which if self.codes is None else np.flatnonzero(np.isin(self.codes, which))
        x, y, measure = rows_of(self.x, rows), rows_of(self.y, rows), self._measure.select_rows(rows)
        return without_pairs_within(measure, None if self.codes is None else self.codes[rows])(x, y)


def have_equal_sizes(codes: np.ndarray) -> bool:
    """Return whether all groups have the same number of rows."""
    return len(set(np.bincount(codes).tolist())) == 1


def rows_by_group(codes: np.ndarray) -> np.ndarray:
    """Return the rows of groups of one size, in order (groups, size)."""
    order = np.argsort(codes, kind="stable")
    return order.reshape(int(codes.max()) + 1, -1)


def permute_groups(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return an order of samples that exchanges whole groups: the rows of group k are those of group order[k]."""
    found = np.empty(rows.size, dtype=np.int64)
    found[rows.ravel()] = rows[order].ravel()
    return found
