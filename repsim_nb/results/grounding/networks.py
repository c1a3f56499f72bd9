"""Numbers and groups that are given for each network, as one value for each of its items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.units import Groups, Units, units_of
from repsim_nb.support.errors import join_names


def by_item_of_network(networks: pd.Series, index: pd.Index, given: Any) -> Any:
    """What is given by network, as one value for each item; anything else unchanged.

    networks: the network of each item (m,).  index: the labels of the items, which those of a returned Series or
    DataFrame are.  given: {network: value}, a Series or DataFrame by network, or one value for each network without
    names, in the order in which networks first appear.
    """
    known = list(dict.fromkeys(networks))
    if isinstance(given, Mapping):
        return [given[name] for name in networks] if all(name in given for name in known) else given
    if not isinstance(given, (list, tuple, np.ndarray, pd.Series, pd.DataFrame)):
        return given
    frame = isinstance(given, (pd.Series, pd.DataFrame))
    unnamed = not frame or isinstance(given.index, pd.RangeIndex)
    by_item = unnamed and len(given) == len(networks) != len(known)
    if frame and not by_item and given.index.nlevels == 1 and given.index.is_unique and set(known) <= set(given.index):
        return given.loc[list(networks)].set_axis(index)
    if unnamed and len(given) == len(known) != len(networks):
        places = pd.factorize(networks)[0]
        return given.iloc[places].set_axis(index) if frame else [given[k] for k in places]
    return given


def units_of_networks(index: pd.Index, networks: pd.Series, groups: Groups) -> Units:
    """The units that networks are in, networks in the order in which they first appear among these items.

    Errors: ValueError for a group that splits the items of one network, and as in `units_of`.
    """
    codes, known = pd.factorize(networks)
    if groups is None:
        return Units({"networks": np.arange(len(known))})
    found = {}
    for name, values in units_of(index, by_item_of_network(networks, index, groups)).groupings.items():
        split = [known[k] for k in range(len(known)) if len(np.unique(values[codes == k])) > 1]
        if split:
            raise ValueError(
                f"a group consists of whole networks, and items of {join_names(split, 3)} are in several groups ({name}):"
                " pass {network: group}"
            )
        first = np.unique(codes, return_index=True)[1]
        found[name] = pd.factorize(values[first])[0]
    return Units(found)


def check_named(known: pd.Index, groups: Any) -> None:
    """TypeError for groups of the networks of pairs that do not name the networks: the order of these would be that in
    which pairs come.
    """
    named = groups is None or isinstance(groups, Mapping)
    if isinstance(groups, (pd.Series, pd.DataFrame)):
        named = not isinstance(groups.index, pd.RangeIndex) or set(known) <= set(groups.index)
    if not named:
        raise TypeError(
            "groups of the networks of pairs are named: {network: group}, or a Series or DataFrame by network. Without"
            " names they would depend on the order of the pairs"
        )
