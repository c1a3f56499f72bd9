"""Numbers and groups that are given for each network, as one value for each of its items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import listed
from ..inference.units import Groups, Units, units_of


def by_item_of_network(networks: pd.Series, given: Any) -> Any:
    """What is given by network, as one value for each item; anything else unchanged.

    networks: the network of each item (m,).  given: {network: value}, a Series or DataFrame by network, or a list with one value for each network, in the
    order in which networks first appear.
    """
    known = list(dict.fromkeys(networks))
    if isinstance(given, (pd.Series, pd.DataFrame)):
        if given.index.nlevels > 1 or not given.index.is_unique or isinstance(given.index, pd.RangeIndex) or not set(known) <= set(given.index):
            return given
        return given.loc[list(networks)].reset_index(drop=True)
    if isinstance(given, Mapping):
        return pd.Series([given[name] for name in networks]) if all(name in given for name in known) else given
    if isinstance(given, (list, tuple, np.ndarray)) and len(given) == len(known) != len(networks):
        return pd.Series(list(given)).loc[pd.factorize(networks)[0]].reset_index(drop=True)
    return given


def units_of_networks(index: pd.Index, networks: pd.Series, groups: Groups) -> Units:
    """The units that networks are in, networks in the order in which they first appear among these items.

    Errors: ValueError for a group that splits the items of one network, and as in `units_of`.
    """
    codes, known = pd.factorize(networks)
    if groups is None:
        return Units({"networks": np.arange(len(known))})
    found = {}
    for name, values in units_of(index, by_item_of_network(networks, groups)).groupings.items():
        split = [known[k] for k in range(len(known)) if len(np.unique(values[codes == k])) > 1]
        if split:
            raise ValueError(f"a group consists of whole networks, and items of {listed(split, 3)} are in several groups ({name}): pass {{network: group}}")
        first = np.unique(codes, return_index=True)[1]
        found[name] = pd.factorize(values[first])[0]
    return Units(found)
