"""Numbers and groups that are given for each model, as one value for each of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.units import FEWEST_UNITS, Groups, Units, units_of
from repsim_nb.support.errors import join_names


def spread_to_items(models: pd.Series, index: pd.Index, given: Any) -> Any:
    """What is given by model, as one value for each item; anything else unchanged.

    models: the model of each item (m,).  index: the labels of the items, which those of a returned Series or
    DataFrame are.  given: {model: value}, a Series or DataFrame by model, or one value for each model without
    names, in the order in which models first appear.
    """
    known = list(dict.fromkeys(models))
    if isinstance(given, Mapping):
        return [given[name] for name in models] if all(name in given for name in known) else given
    if not isinstance(given, (list, tuple, np.ndarray, pd.Series, pd.DataFrame)):
        return given
    frame = isinstance(given, (pd.Series, pd.DataFrame))
    unnamed = not frame or isinstance(given.index, pd.RangeIndex)
    by_item = unnamed and len(given) == len(models) != len(known)
    if frame and not by_item and given.index.nlevels == 1 and given.index.is_unique and set(known) <= set(given.index):
        return given.loc[list(models)].set_axis(index)
    if unnamed and len(given) == len(known) != len(models):
        places = pd.factorize(models)[0]
        return given.iloc[places].set_axis(index) if frame else [given[k] for k in places]
    return given


def units_of_models(index: pd.Index, models: pd.Series, groups: Groups) -> Units:
    """The units that models are in, models in the order in which they first appear among these items.

    Errors: ValueError for a group that splits the items of one model, and as in `units_of`.
    """
    codes, known = pd.factorize(models)
    if groups is None:
        return Units({"models": np.arange(len(known))})
    found = {}
    for name, values in units_of(index, spread_to_items(models, index, groups)).groupings.items():
        split = [known[k] for k in range(len(known)) if len(np.unique(values[codes == k])) > 1]
        if split:
            raise ValueError(
                f"a group consists of whole models, and items of {join_names(split, 3)} are in several groups ({name}):"
                " pass {model: group}"
            )
        first = np.unique(codes, return_index=True)[1]
        found[name] = pd.factorize(values[first])[0]
    return Units(found)


def check_groups_named(known: pd.Index, groups: Any) -> None:
    """TypeError for groups of the models of pairs that do not name the models: the order of these would be that in
    which pairs come.
    """
    named = groups is None or isinstance(groups, Mapping)
    if isinstance(groups, (pd.Series, pd.DataFrame)):
        named = not isinstance(groups.index, pd.RangeIndex) or set(known) <= set(groups.index)
    if not named:
        raise TypeError(
            "groups of the models of pairs are named: {model: group}, or a Series or DataFrame by model. Without"
            " names they would depend on the order of the pairs"
        )


def check_models(known: Sequence[Any]) -> None:
    """ValueError for too few models."""
    if len(known) < FEWEST_UNITS:
        raise ValueError(
            f"models are drawn for intervals, and there {'is' if len(known) == 1 else 'are'} {len(known)}"
            f" ({join_names(known)}): {FEWEST_UNITS} are the least, 10 or more say something"
        )
