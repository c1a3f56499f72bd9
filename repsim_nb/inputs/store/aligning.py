"""`align`: choose the samples that several representations have in common, in one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.containers import array_type, type_name
from repsim_nb.support.dimensions import sample_dimension
from repsim_nb.support.errors import add_context, join_names
from repsim_nb.support.ids import Names, check_ids, check_unique_ids, ids_fingerprint, ids_of, names_of
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM
from repsim_nb.support.row_labels import attach_labels

from .activations import Activations
from .entries import check_each, make_group_check

_HOW = (
    "Ids are the index of a DataFrame, pd.DataFrame(x, index=ids), a coordinate of an xarray DataArray along the"
    " samples, those of rs.RDM(values, ids=ids), or the ids of rs.from_arrays({'model/layer': x}, ids=ids)."
)


class _Entry(NamedTuple):
    """One representation: its name in errors, its value (None for a recording), and the names of its samples."""

    title: str
    value: Any
    names: Names


def align(xs: Any, ys: Any = None) -> Any:
    """Choose the samples that all representations have in common, in one order.

    Samples are matched by their ids. The results can be compared: row i is the same sample in all of them.

    Parameters
    ----------
    xs : Activations, array of a recording, DataFrame, DataArray, RDM, or a mapping, list or tuple of these
        Representations whose samples have ids: the ids of a recording, of one of its arrays or of an RDM, the index of
        a DataFrame, or a coordinate of an xarray DataArray along its samples. All representations in a mapping or a
        list are aligned.
    ys : as xs, optional
        More representations. Required if `xs` is a single representation.

    Returns
    -------
    aligned : as xs, or a pair (xs, ys)
        The same kinds as given: frames stay frames with their index, Activations stay Activations with their keys and
        ids. Samples are in the order of the first representation; samples that are missing in one of them are left
        out. Rows of recordings on disk are read into memory; the files do not change.

    Raises
    ------
    ValueError
        If samples have no ids, if an id occurs twice in one representation, if some ids are strings and others
        integers, or if no sample is common.

    Notes
    -----
    Recordings of different data sets keep their keys, and `rs.compare` takes them together after `align`, since their
    ids show which samples are the same. Ids must therefore name samples, not positions: the numbers 0, 1, 2, ... of
    two unrelated data sets match each other too. Results of two calls can be compared if both calls aligned the same
    data sets and chose the same samples.

    Examples
    --------
    >>> import pandas as pd
    >>> import repsim_nb as rs
    >>> x = pd.DataFrame([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], index=["cat", "dog", "owl"])
    >>> y = pd.DataFrame([[0.5], [0.1], [0.3]], index=["owl", "cat", "fox"])
    >>> x, y = rs.align(x, y)
    >>> list(x.index), list(y.index)
    (['cat', 'owl'], ['cat', 'owl'])

    Recordings of two data sets that have samples in common:

    >>> import numpy as np
    >>> a = rs.from_arrays({("a", "fc", "photos"): np.eye(4)}, ids=["cat", "dog", "owl", "cow"])
    >>> b = rs.from_arrays({("b", "fc", "drawings"): np.eye(5)}, ids=["fox", "owl", "cow", "dog", "cat"])
    >>> a, b = rs.align(a, b)
    >>> a["fc"].shape, b["fc"].shape
    ((4, 4), (4, 5))
    >>> rs.compare("cka", a, b).n
    4
    """
    sides = [xs] if ys is None else [xs, ys]
    if ys is None and not (isinstance(xs, (Mapping, list, tuple)) and not _is_dataset(xs)):
        raise ValueError(
            "align needs two or more representations: rs.align(x, y), or rs.align(xs) for all in a recording or a"
            f" mapping; got one {type_name(xs)}."
        )
    opened = [_entries(side, name) for side, name in zip(sides, ("xs", "ys"), strict=False)]
    entries = [entry for side in opened for entry in side]
    _check_counts(entries)
    common = _find_common(entries)
    datasets = {key.dataset for side in sides if isinstance(side, Activations) for key in side if key.dataset}
    label = f"{', '.join(sorted(datasets))}: {ids_fingerprint(common)}"
    aligned = [_choose_samples(side, mine, common, label) for side, mine in zip(sides, opened, strict=True)]
    return aligned[0] if ys is None else tuple(aligned)


def _is_dataset(x: Any) -> bool:
    """Return whether it is an xarray Dataset, a mapping of arrays that is one representation."""
    return array_type(x) == "xarray.Dataset"


def _entries(side: Any, name: str) -> list[_Entry]:
    """Return the representations in one side of `align`, with the names of their samples."""
    if isinstance(side, Activations):
        ids, found = side.ids, []
        for key in side:
            if key not in ids:
                why = (
                    "its rows are tokens, several for each sample. Record it with one row a sample, record(...,"
                    " pool='mean')."
                    if key.by_token
                    else "give ids to rs.from_arrays(..., ids=...), or record a Dataset with ids."
                )
                raise ValueError(f"align matches samples by their ids; the recording '{Key(*key)}' has none: {why}")
            found.append(_Entry(str(Key(*key)), None, Names(ids[key], "ids")))
        if not found:
            raise ValueError(f"align needs at least one recording in {name}; it is empty.")
        return found
    if isinstance(side, (Mapping, list, tuple)) and not _is_dataset(side):
        items = side.items() if isinstance(side, Mapping) else enumerate(side)
        found = [_entry_of(value, str(label)) for label, value in items]
        if not found:
            raise ValueError(f"align needs at least one representation in {name}; it is empty.")
        return found
    return [_entry_of(side, name[0])]


def _entry_of(x: Any, title: str) -> _Entry:
    """Return a frame, DataArray or array of a recording with the names of its samples; ValueError if it has none."""
    if ids_of(x) is None and array_type(x) not in ("pandas.DataFrame", "pandas.Series", "xarray.DataArray"):
        raise ValueError(f"align matches samples by their ids; '{title}' is a {type_name(x)}, which has none. {_HOW}")
    names = names_of(x)
    if names is None:
        raise ValueError(f"align matches samples by their ids; '{title}' has none. {_HOW}")
    if names.kind == "repeated":
        with add_context(f"'{title}'", ValueError):
            check_unique_ids(names.names)
    return _Entry(title, x, names)


def _check_counts(entries: list[_Entry]) -> None:
    """Refuse an index that only counts rows, unless the ids of all others are integers.

    A frame and the same frame permuted, or a part of it, are a count and integers. Integers beyond the count, such as
    those of a random subset of a data set, are numbers of other rows.
    """
    counted = [entry for entry in entries if entry.names.kind == "count"]
    with_ids = [entry for entry in entries if entry.names.kind == "ids"]
    if counted and not (with_ids and all(entry.names.names.dtype.kind == "i" for entry in with_ids)):
        raise ValueError(
            f"align matches samples by their ids; the index of '{counted[0].title}' only counts rows, which does not"
            f" show which sample is which. {_HOW}"
        )
    for entry in counted:
        rows = len(entry.names.names)
        other = next((other for other in with_ids if not np.isin(other.names.names, entry.names.names).all()), None)
        if other is not None:
            beyond = other.names.names[~np.isin(other.names.names, entry.names.names)][0].item()
            raise ValueError(
                f"align matches samples by their ids; the index of '{entry.title}' only counts its {rows} rows, and"
                f" '{other.title}' has an id that is not among them, {beyond!r}. So row i of '{entry.title}' need not"
                f" be the sample with the id i. If it is, x.index = list(x.index) makes the numbers ids. {_HOW}"
            )


def _find_common(entries: list[_Entry]) -> np.ndarray:
    """Return the ids that all representations have, in the order of the first."""
    first = entries[0]
    is_common = np.ones(len(first.names.names), bool)
    for entry in entries[1:]:
        one, other = first.names.names, entry.names.names
        if one.dtype.kind != other.dtype.kind and len(one) and len(other):
            texts, numbers = (first, entry) if one.dtype.kind == "U" else (entry, first)
            raise ValueError(
                f"The ids of '{texts.title}' are strings, such as {texts.names.names[0].item()!r}, and the ids of"
                f" '{numbers.title}' are integers, such as {numbers.names.names[0].item()!r}. Make both the same type,"
                " for example by x.index = x.index.astype(str)."
            )
        is_common &= np.isin(one, other)
        if not is_common.any():
            raise ValueError(
                f"There is no common sample: '{first.title}' has ids such as {join_names(one[:3])}, and '{entry.title}'"
                f" such as {join_names(other[:3])}"
                + ("; no id is in all representations up to this one." if len(entries) > 2 else ".")
            )
    return first.names.names[is_common]


def _find_rows(names: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return the row of each common sample."""
    order = np.argsort(names, kind="stable")
    return order[np.searchsorted(names, common, sorter=order)]


def _choose_samples(side: Any, entries: list[_Entry], common: np.ndarray, label: str) -> Any:
    """One side with the common samples only. label: of these samples, for recordings."""
    rows = [_find_rows(entry.names.names, common) for entry in entries]
    if isinstance(side, Activations):
        arrays, groups, grouped = {}, {}, side.groups
        for key, which in zip(side, rows, strict=True):
            array = side[key]
            plain = hasattr(array, "detach") or isinstance(array, RDM)
            arrays[key] = array[which] if plain else np.asarray(array)[which]
            if key in grouped:
                groups[key] = grouped[key][which]
        return Activations._from_checked(
            arrays,
            side.facts,
            ids=check_each(arrays, dict.fromkeys(arrays, common), check_ids),
            groups=check_each(arrays, groups, make_group_check()),
            no_logits=side.no_logits,
            aligned=dict.fromkeys(arrays, label),
        )
    found = [_choose_rows(entry.value, which) for entry, which in zip(entries, rows, strict=True)]
    if isinstance(side, Mapping):
        return dict(zip(side, found, strict=True))
    if not isinstance(side, (list, tuple)):
        return found[0]
    return tuple(found) if type(side) is tuple else found


def _choose_rows(x: Any, which: np.ndarray) -> Any:
    """Return some rows of a frame, DataArray or array."""
    if (ids := ids_of(x)) is not None:
        return attach_labels(x[which], ids[which])
    return x.iloc[which] if isinstance(x, (pd.DataFrame, pd.Series)) else x.isel({sample_dimension(x): which})
