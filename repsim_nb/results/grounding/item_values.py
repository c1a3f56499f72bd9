"""Values and groups of items and of their models: read, held constant, and as gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.units import FEWEST_UNITS, Groups, Units, units_of
from repsim_nb.support.errors import as_clause, format_label, join_names
from repsim_nb.support.labels import values_per_item


def spread_to_items(models: pd.Series, index: pd.Index, given: Any) -> Any:
    """Return what is given by model as one value for each item; anything else unchanged.

    models: the model of each item (m,).  index: the labels of the items, which become those of a returned Series or
    DataFrame.  given: {model: value}, a Series or DataFrame by model, or one value for each model without names, in the
    order in which models first appear.
    """
    known = list(dict.fromkeys(models))
    if isinstance(given, Mapping):
        return [given[name] for name in models] if all(name in given for name in known) else given
    places = pd.factorize(models)[0]
    if isinstance(given, (list, tuple, np.ndarray)):
        return [given[k] for k in places] if len(given) == len(known) != len(models) else given
    if isinstance(given, (pd.Series, pd.DataFrame)):
        unnamed = isinstance(given.index, pd.RangeIndex)
        by_item = unnamed and len(given) == len(models) != len(known)
        has_names = given.index.nlevels == 1 and given.index.is_unique and set(known) <= set(given.index)
        if has_names and not by_item:
            return given.loc[list(models)].set_axis(index)
        if unnamed and len(given) == len(known) != len(models):
            return given.iloc[places].set_axis(index)
    return given


def units_of_models(index: pd.Index, models: pd.Series, groups: Groups) -> Units:
    """Return the units of models, with models in the order in which they first appear among these items.

    ValueError if a group splits the items of one model, and as in `units_of`.
    """
    codes, known = pd.factorize(models)
    if groups is None:
        return Units({"models": np.arange(len(known))})
    found = {}
    for name, values in units_of(index, spread_to_items(models, index, groups)).groupings.items():
        split = [known[k] for k in range(len(known)) if len(np.unique(values[codes == k])) > 1]
        if split:
            raise ValueError(
                f"a group consists of whole models, and items of {join_names(split, 3)} are in several groups ({name})."
                " Pass {model: group}."
            )
        first = np.unique(codes, return_index=True)[1]
        found[name] = pd.factorize(values[first])[0]
    return Units(found)


def check_groups_named(known: pd.Index, groups: Any) -> None:
    """Refuse groups that do not name the models of pairs: their order would be that in which pairs come."""
    has_names = groups is None or isinstance(groups, Mapping)
    if isinstance(groups, (pd.Series, pd.DataFrame)):
        has_names = not isinstance(groups.index, pd.RangeIndex) or set(known) <= set(groups.index)
    if not has_names:
        raise TypeError(
            "groups of the models of pairs must name the models: {model: group}, or a Series or DataFrame by model."
            " Without names they would depend on the order of the pairs."
        )


def check_models(known: Sequence[Any]) -> None:
    """Refuse too few models."""
    if len(known) < FEWEST_UNITS:
        raise ValueError(
            f"intervals over models need at least {FEWEST_UNITS} models, better 10 or more; there"
            f" {'is' if len(known) == 1 else 'are'} {len(known)} ({join_names(known)})."
        )


def functionality_of(labels: list[Any], index: pd.Index, given: Mapping[Any, float] | pd.Series) -> np.ndarray:
    """Return F of each item, which must differ."""
    values = read_item_values(labels, index, given, "functionality")
    if np.ptp(values) == 0:
        raise ValueError(f"functionality must differ between items; it is {values[0]:.4g} for all {len(values)} items.")
    return values


def read_item_values(labels: list[Any], index: pd.Index, given: Any, what: str) -> np.ndarray:
    """Return one number for each item, from {label: value}, {model: value}, or a Series over fields that both have."""
    if isinstance(given, pd.Series) and given.index.nlevels > 1 and index.nlevels > 1:
        if given.index.nlevels == index.nlevels and not any(given.index.names):  # pd.Series({key: F})
            given = given.rename_axis(index.names)
        common = [name for name in index.names if name in given.index.names]
        if not common:
            raise ValueError(
                f"{what} is by {join_names(given.index.names)}, and labels have the fields {join_names(index.names)}."
                " Use at least one field that both have."
            )
        series, own = (
            given.droplevel([name for name in given.index.names if name not in common]),
            index.droplevel([name for name in index.names if name not in common]),
        )
        series = series.reorder_levels(common) if series.index.nlevels > 1 else series
        if series.index.has_duplicates:
            raise ValueError(
                f"{what} needs one number for each item; it has several for"
                f" {series.index[series.index.duplicated()][0]}, by {join_names(common)}."
            )
        missing = own[~own.isin(series.index)]
        if len(missing):
            raise ValueError(
                f"{what} has no value for {join_names(missing, 3)}; it has values for {join_names(series.index, 3)}."
            )
        values = series.loc[own].to_numpy()
    elif isinstance(given, Mapping) and all(label in given for label in labels):
        values = np.array([given[label] for label in labels])
    else:
        values = values_per_item(index, given, what).to_numpy()
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} needs one number for each item, such as an accuracy; it has other values ({as_clause(error)})."
        ) from error
    if not np.isfinite(values).all():
        bad = [labels[i] for i in np.flatnonzero(~np.isfinite(values))]
        raise ValueError(
            f"{what} is undefined (NaN) or infinite for {join_names(map(format_label, bad), 3)}. Leave those items out."
        )
    return values


def gaps_between(f: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return |F - F'|, with gaps that differ by rounding made equal.

    Accuracies are fractions of the same few samples, so gaps often tie, and rounding of a difference would order them.
    """
    scale = max(np.abs(f).max(), np.abs(other).max())
    return (
        np.round(np.abs(f - other) / scale, 12) * scale
        if scale
        else np.zeros(np.broadcast_shapes(f.shape, other.shape))
    )


def best_items(labels: list[Any], f: np.ndarray, layers: pd.Series, among: Iterable[Any] | None) -> dict[Any, int]:
    """Return for each layer the position of the item with the highest F among those that may be references."""
    allowed = np.ones(len(labels), bool)
    if among is not None:
        wanted = list(among)
        strange = [label for label in wanted if label not in labels]
        if strange:
            raise ValueError(
                f"among must be labels of representations; got {join_names(map(format_label, strange), 3)}, which is"
                " none."
            )
        allowed = np.array([label in wanted for label in labels])
    found = {}
    for layer in dict.fromkeys(layers):
        places = np.flatnonzero((layers == layer).to_numpy() & allowed)
        if not len(places):
            raise ValueError(
                f"every value of '{layers.name}' needs a reference, and among= has no label with '{layer}'."
            )
        found[layer] = int(places[f[places].argmax()])
    return found


def residuals(f: np.ndarray, given: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return F without what a straight line in another number explains, within each cell (layer, step)."""
    found = f.copy()
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        x, y = given[rows] - given[rows].mean(), f[rows] - f[rows].mean()
        if len(rows) < 4 or not np.ptp(given[rows]):
            raise ValueError(
                "given needs at least four models in each layer, with different values; there are"
                f" {len(rows)}, from {given[rows].min():.4g} to {given[rows].max():.4g}."
            )
        found[rows] = y - x * (x @ y) / (x @ x)
    if np.abs(found).max() <= 1e-9 * np.ptp(f):
        raise ValueError(
            "functionality is a straight line in given, so nothing is left of it if given is held constant."
        )
    return found
