"""Zarr, versions 2 and 3: groups of arrays in a folder or a zip file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import import_library
from repsim_nb.support.files import sort_naturally

from .content import OURS, Content, Entry, as_labels, is_numeric
from .lazy import LazyArray

MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # a folder with one of these is Zarr's


def read_zarr(path: Path) -> Any:
    """Return the arrays of a group as Content; an array alone as it is.

    zarr itself reads them, since xarray takes the fill value 0 of version 2 for missing, and so all zeros of a ReLU.
    """
    zarr = import_library("zarr", f"reading {path}")
    root = _open(path)
    if isinstance(root, zarr.Array):
        _refuse_pickled(path, "", root)
        return _lazy(path, "", root)
    members = dict(root.members(max_depth=None))
    items = {name: members[name] for name in sort_naturally(members)}  # Zarr keeps no order
    ours = root.attrs.asdict().get(OURS, {})
    content = Content(path, facts=ours.get("facts", {}))
    for name, item in items.items():
        _refuse_pickled(path, name, item)
    vectors = {name: item for name, item in items.items() if isinstance(item, zarr.Array) and item.ndim == 1}
    for name, item in vectors.items():
        if (values := as_labels(name, item[...])) is not None:
            content.labels[name] = values
    content.along = {name: dims[0] for name, item in vectors.items() if (dims := _dimensions(item))}
    for name, item in items.items():
        if not isinstance(item, zarr.Array):
            continue
        if item.ndim < 2 or not is_numeric(item.dtype, name, path):
            content.leave_out(name, item.shape, item.dtype)
            continue
        _refuse_packed(path, name, item)
        entry = content.entries[name] = Entry(_lazy(path, name, item), _dimensions(item))
        if OURS in item.attrs:
            known = item.attrs[OURS]
            ids, groups = (ours["labels"].get(known[what]) for what in ("ids", "groups"))
            entry.restore(known["key"], ids, groups, known.get("place", 0))
    return content


def _open(path: Path) -> Any:
    """Open a folder or a zip file."""
    zarr = import_library("zarr", f"reading {path}")
    if path.is_file():
        return zarr.open(import_library("zarr.storage", f"reading {path}").ZipStore(path, mode="r"), mode="r")
    return zarr.open(path, mode="r")


def _lazy(path: Path, name: str, item: Any) -> LazyArray:
    missing = _missing_of(item)

    def read(index: tuple[slice, ...]) -> Any:
        root = _open(path)
        part = (root[name] if name else root)[index]
        if missing is not None and np.any(part == missing):
            raise ValueError(
                f"'{name}' in {path} has missing values, which are stored as {missing}. Open it with xarray, and pass"
                " the array without the samples or features that lack values."
            )
        return part

    return LazyArray(path, name, item.shape, item.dtype, read)


def _dimensions(item: Any) -> tuple[str, ...]:
    """Return the names of the axes, if all have one: of version 3, or as xarray writes them in version 2."""
    names = getattr(item.metadata, "dimension_names", None) or item.attrs.get("_ARRAY_DIMENSIONS") or ()
    return tuple(names) if all(names) and len(set(names)) == len(names) == item.ndim else ()


def _missing_of(item: Any) -> Any:
    """Return the number that xarray wrote for missing values; None if there is none, or if it is NaN.

    It is an attribute in version 3. In version 2 it is the fill value, which is 0 where zarr itself wrote the array.
    """
    value = item.attrs.get("_FillValue", item.attrs.get("missing_value"))
    if value is None and item.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in item.attrs:
        value = item.fill_value or None
    if isinstance(value, str):  # fractions are stored as the text of their bytes
        value = np.frombuffer(base64.b64decode(value), "<f8")[0]
    return None if value is None or value != value else value


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
