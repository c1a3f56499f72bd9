"""`align`: the samples that several representations have in common, in one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.containers import array_type, type_name
from repsim_nb.support.dimensions import sample_dimension
from repsim_nb.support.errors import join_names
from repsim_nb.support.ids import Names, check_unique_ids, names_of
from repsim_nb.support.labels import Key

from .activations import Activations

_HOW = (
    "ids are the index of a DataFrame, pd.DataFrame(x, index=ids), a coordinate of xarray along the samples, or those"
    " of rs.from_arrays({'model/layer': x}, ids=ids)"
)


class _Entry(NamedTuple):
    """One representation: how an error calls it, itself, and the names of its samples."""

    title: str
    value: Any
    names: Names


def align(xs: Any, ys: Any = None) -> Any:
    """Choose the samples that all representations have in common, and bring them into one order.

    Parameters
    ----------
    xs : DataFrame, DataArray, Activations, or a mapping, list or tuple of frames or DataArrays
        Representations whose samples have ids: the index of a DataFrame, a coordinate of an xarray DataArray along its
        samples, the ids of a recording. Of a mapping or a list, all representations are aligned.
    ys : as xs, optional
        More representations. Needed if xs is a single one.

    Returns
    -------
    aligned : as xs, or a pair (xs, ys)
        Of the same kinds as what was given: frames stay frames with their index, Activations stay Activations with
        their ids. Samples are in the order of the first representation, and those that are not in all of them are left
        out. Rows of recordings on disk are read; the files stay as they are.

    Raises
    ------
    ValueError
        If samples have no ids, if an id occurs twice, if ids of one side are strings and of the other integers, or if
        no sample is common.

    Examples
    --------
    >>> import pandas as pd
    >>> import repsim_nb as rs
    >>> x = pd.DataFrame([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], index=["cat", "dog", "owl"])
    >>> y = pd.DataFrame([[0.5], [0.1], [0.3]], index=["owl", "cat", "fox"])
    >>> x, y = rs.align(x, y)
    >>> list(x.index), list(y.index)
    (['cat', 'owl'], ['cat', 'owl'])
    """
    sides = [xs] if ys is None else [xs, ys]
    if ys is None and not (isinstance(xs, (Mapping, list, tuple)) and not _is_dataset(xs)):
        raise ValueError(
            "align brings two or more representations into one order, rs.align(x, y), or all of a recording or"
            f" mapping, rs.align(xs); got one {type_name(xs)}"
        )
    opened = [_entries(side, name) for side, name in zip(sides, ("xs", "ys"), strict=False)]
    entries = _check_counts([entry for side in opened for entry in side])
    common = _find_common(entries)
    chosen = iter([_rows(entry, common) for entry in entries])
    aligned = [_take(side, mine, [next(chosen) for _ in mine]) for side, mine in zip(sides, opened, strict=True)]
    return aligned[0] if ys is None else tuple(aligned)


def _is_dataset(x: Any) -> bool:
    return array_type(x) == "xarray.Dataset"


def _entries(side: Any, name: str) -> list[_Entry]:
    if isinstance(side, Activations):
        ids, found = side.ids, []
        for key in side:
            if key not in ids:
                why = (
                    "its rows are tokens, several of each sample: record it pooled, one row a sample, record(...,"
                    " pool='mean')"
                    if key.by_token
                    else "rs.from_arrays(..., ids=...) gives it some, and so does a Dataset with ids that is recorded"
                )
                raise ValueError(f"align finds samples by their ids, and the recording '{Key(*key)}' has none: {why}")
            found.append(_Entry(str(Key(*key)), None, Names(ids[key], "ids")))
        if not found:
            raise ValueError(f"align finds samples by their ids, and there is no recording in {name}")
        return found
    if isinstance(side, (Mapping, list, tuple)) and not _is_dataset(side):
        items = side.items() if isinstance(side, Mapping) else enumerate(side)
        found = [_entry_of(value, str(label)) for label, value in items]
        if not found:
            raise ValueError(f"align finds samples by their ids, and there is no representation in {name}")
        return found
    return [_entry_of(side, name[0])]


def _entry_of(x: Any, title: str) -> _Entry:
    if array_type(x) not in ("pandas.DataFrame", "pandas.Series", "xarray.DataArray"):
        raise ValueError(f"align finds samples by their ids, and '{title}' is a {type_name(x)}, which has none: {_HOW}")
    names = names_of(x)
    if names is None:
        raise ValueError(f"align finds samples by their ids, and '{title}' has none: {_HOW}")
    if names.kind == "repeated":
        try:
            check_unique_ids(names.names)
        except ValueError as error:
            raise ValueError(f"'{title}': {error}") from error
    return _Entry(title, x, names)


def _check_counts(entries: list[_Entry]) -> list[_Entry]:
    """An index that only counts rows is taken for ids where others are integers: as of a frame and the same frame
    permuted.
    """
    counted = [entry for entry in entries if entry.names.kind == "count"]
    named = [entry for entry in entries if entry.names.kind == "ids"]
    if (counted and not all(entry.names.names.dtype.kind == "i" for entry in named)) or (counted and not named):
        raise ValueError(
            f"align finds samples by their ids, and the index of '{counted[0].title}' only counts rows, which does not"
            f" say which sample is which: {_HOW}"
        )
    return entries


def _find_common(entries: list[_Entry]) -> np.ndarray:
    """The ids that all have, in the order of the first."""
    first = entries[0]
    is_common = np.ones(len(first.names.names), bool)
    for entry in entries[1:]:
        one, other = first.names.names, entry.names.names
        if one.dtype.kind != other.dtype.kind and len(one) and len(other):
            texts, numbers = (first, entry) if one.dtype.kind == "U" else (entry, first)
            raise ValueError(
                f"the ids of '{texts.title}' are strings, such as {texts.names.names[0].item()!r}, and those of"
                f" '{numbers.title}' integers, such as {numbers.names.names[0].item()!r}: make both the same, as by"
                " x.index = x.index.astype(str)"
            )
        is_common &= np.isin(one, other)
        if not is_common.any():
            raise ValueError(
                f"there is no common sample: '{first.title}' has ids such as {join_names(one[:3])}, and '{entry.title}'"
                f" such as {join_names(other[:3])}" + (" (none that all before it have)" if len(entries) > 2 else "")
            )
    return first.names.names[is_common]


def _rows(entry: _Entry, common: np.ndarray) -> np.ndarray:
    order = np.argsort(entry.names.names, kind="stable")
    return order[np.searchsorted(entry.names.names, common, sorter=order)]


def _take(side: Any, entries: list[_Entry], rows: list[np.ndarray]) -> Any:
    if isinstance(side, Activations):
        arrays, ids, groups, grouped = {}, {}, {}, side.groups
        for key, entry, which in zip(side, entries, rows, strict=True):
            array = side[key]
            arrays[key] = array[_index_of(array, which)] if hasattr(array, "detach") else np.asarray(array)[which]
            ids[key] = entry.names.names[which]
            if key in grouped:
                groups[key] = grouped[key][which]
        return Activations(arrays, side.facts, ids, side.no_logits, groups=groups)
    found = [_choose_rows(entry.value, which) for entry, which in zip(entries, rows, strict=True)]
    if isinstance(side, Mapping):
        return dict(zip(side, found, strict=True))
    return type(side)(found) if type(side) in (list, tuple) else found if isinstance(side, (list, tuple)) else found[0]


def _index_of(array: Any, which: np.ndarray) -> Any:
    import torch

    return torch.as_tensor(which, device=array.device)


def _choose_rows(x: Any, which: np.ndarray) -> Any:
    return x.iloc[which] if isinstance(x, (pd.DataFrame, pd.Series)) else x.isel({sample_dimension(x): which})
