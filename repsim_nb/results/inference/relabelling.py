"""Which group each item could as well be in: labels exchanged among whole units, within strata, all ways of it if they
are few.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from .units import EVERY


class NoOtherLabelling(ValueError):
    """No two units of different groups can exchange their labels."""


def relabel(
    codes: np.ndarray, strata: np.ndarray, units: np.ndarray | None, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Group codes (n or fewer, m) with labels exchanged, and whether they are all the different ones there are, the
    given codes among them.

    codes, strata: the group and the stratum of each item as a number (m,).  units: the unit of each item (m,), None for
    each by itself; all items of a unit are in one group. Units with the same number of items in each stratum exchange
    their labels. NoOtherLabelling if no two of these are in different groups.
    """
    own, strata = (
        (np.arange(len(codes)) if units is None else np.unique(units, return_inverse=True)[1]),
        np.unique(strata, return_inverse=True)[1],
    )
    first = np.unique(own, return_index=True)[1]
    labels = codes[first]
    if strata.max() == 0 and units is None:
        classes = np.zeros(len(labels), int)
    else:
        composition = np.zeros((len(labels), strata.max() + 1), int)
        np.add.at(composition, (own, strata), 1)
        classes = np.unique(composition, axis=0, return_inverse=True)[1].ravel()
    places = [np.flatnonzero(classes == k) for k in range(classes.max() + 1)]
    total = math.prod(_number(labels[where]) for where in places)
    if total == 1:
        what = "items" if units is None else "units (with the same number of items in each stratum)"
        raise NoOtherLabelling(
            f"labels are exchanged among {what}, within strata, and wherever two could be exchanged they are in the"
            " same group: there is no other labelling"
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
    """How many different orders these labels have."""
    return math.factorial(len(labels)) // math.prod(
        math.factorial(int(many)) for many in np.unique(labels, return_counts=True)[1]
    )


def _arrangements(labels: list[int]) -> Iterator[list[int]]:
    """All different orders of these labels."""
    if len(set(labels)) <= 1:
        yield labels
        return
    chosen = labels[0]
    rest = [label for label in labels if label != chosen]
    for places in itertools.combinations(range(len(labels)), len(labels) - len(rest)):
        free = [place for place in range(len(labels)) if place not in places]
        for others in _arrangements(rest):
            found = [chosen] * len(labels)
            for place, label in zip(free, others, strict=True):
                found[place] = label
            yield found
