"""Zarr, versions 2 and 3: groups of arrays in a folder or a zip file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.labels import Key

from .content import Content, Entry, is_numeric, to_labels
from .lazy import LazyArray
from .missing import import_for

OURS = "repsim_nb"
MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # a folder with one of these is Zarr's


def read_zarr(path: Path) -> Any:
    """Return the arrays of a group as Content; an array alone as it is.

    zarr itself reads them, since xarray takes the fill value 0 of version 2 for missing, and so all zeros of a ReLU.
    """
    zarr = import_for("zarr", path)
    root = _open(path)
    if isinstance(root, zarr.Array):
        _refuse_pickled(path, "", root)
        return _lazy(path, "", root)
    items = dict(sorted(root.members(max_depth=None)))
    ours = root.attrs.asdict().get(OURS, {})
    content = Content(path, facts=ours.get("facts", {}))
    for name, item in items.items():
        _refuse_pickled(path, name, item)
    vectors = {name: item for name, item in items.items() if isinstance(item, zarr.Array) and item.ndim == 1}
    labels = {name: values for name, item in vectors.items() if (values := _read_vector(item)) is not None}
    for name, item in items.items():
        if not isinstance(item, zarr.Array):
            continue
        if item.ndim < 2 or not is_numeric(item.dtype, name, path):
            content.leave_out(name, item.shape, item.dtype)
            continue
        _refuse_packed(path, name, item)
        # labels of a group are those of the groups in it too
        near = [key for key in labels if f"{name.rpartition('/')[0]}/".startswith(key.rpartition("/")[0])]
        mine = {key.rpartition("/")[2]: labels[key] for key in near}
        along = {key.rpartition("/")[2]: dims[0] for key in near if (dims := _dimensions(vectors[key]))}
        entry = content.entries[name] = Entry(_lazy(path, name, item), _dimensions(item), mine, along)
        if OURS in item.attrs:
            _mark(entry, item.attrs[OURS], ours["labels"])
    return content


def _open(path: Path) -> Any:
    """Open a folder or a zip file."""
    zarr = import_for("zarr", path)
    if path.is_file():
        return zarr.open(import_for("zarr.storage", path).ZipStore(path, mode="r"), mode="r")
    return zarr.open(path, mode="r")


def _mark(entry: Entry, known: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """Set what an export of this package wrote."""
    entry.rows, entry.key = True, Key(*known["key"])
    entry.ids, entry.groups = (labels.get(known[what]) for what in ("ids", "groups"))


def _lazy(path: Path, name: str, item: Any) -> LazyArray:
    def read(index: tuple[slice, ...]) -> Any:
        root = _open(path)
        return (root[name] if name else root)[index]

    return LazyArray(path, name, item.shape, item.dtype, read)


def _dimensions(item: Any) -> tuple[str, ...]:
    """Return the names of the axes, if all have one: of version 3, or as xarray writes them in version 2."""
    names = getattr(item.metadata, "dimension_names", None) or item.attrs.get("_ARRAY_DIMENSIONS") or ()
    return tuple(names) if all(names) and len(set(names)) == len(names) == item.ndim else ()


def _read_vector(item: Any) -> np.ndarray | None:
    """Return a one-dimensional array as labels; None if it has neither text nor integers."""
    values = to_labels(item[...])
    return values if values.dtype.kind in "Uiu" else None


def _refuse_pickled(path: Path, name: str, item: Any) -> None:
    """Raise ValueError for an array of version 2 whose filter would run code."""
    filters = (*(getattr(item.metadata, "filters", None) or ()), getattr(item.metadata, "compressor", None))
    if any(getattr(one, "codec_id", "") == "pickle" for one in filters):
        raise ValueError(f"'{name}' in {path} is pickled, and to read that could run code, so it was not read.")


def _refuse_packed(path: Path, name: str, item: Any) -> None:
    if {"scale_factor", "add_offset"} & set(item.attrs):
        raise ValueError(
            f"'{name}' in {path} is stored as integers with a scale. Open it with xarray, and pass the array:"
            f" from_arrays({{'model/layer': xarray.open_zarr(path)['{name}']}})."
        )
