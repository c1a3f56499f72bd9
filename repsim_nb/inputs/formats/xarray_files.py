"""netCDF: arrays of xarray, with the names of their dimensions and the coordinates of their samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import import_library

from .content import DTYPE, HDF5, KEY, OURS, Content, Entry, as_labels, is_numeric, starts_with
from .hdf5_names import names_in
from .lazy import LazyArray


def read_netcdf(path: Path) -> Content:
    """Return the variables of a netCDF file with two dimensions or more; groups are models."""
    xarray = import_library("xarray", f"reading {path}")
    content = Content(path)
    hdf5 = starts_with(path, HDF5)
    if hdf5:
        import_library("h5netcdf", f"reading {path}")
    engine = "h5netcdf" if hdf5 else "scipy"  # which reads version 3
    for group, names in _groups(path).items() if hdf5 else [("", None)]:
        with xarray.open_dataset(path, engine=engine, group=group or None, decode_times=False) as data:
            own = list(data.data_vars) if names is None else [name for name in names if name in data.data_vars]
            _add(content, data, own, engine, group)
    for entry in content.entries.values():
        if entry.key is not None:
            entry.ids, entry.groups = content.labels.get("sample"), content.labels.get("group")
    return content


def _groups(path: Path) -> dict[str, list[str]]:
    """Return {group: the names in it}, the first group, "", first."""
    h5py = import_library("h5py", f"reading {path}")
    found: dict[str, list[str]] = {}

    def visit(group: Any, inside: str) -> None:
        found[inside] = names_in(group, h5py)
        for name in found[inside]:
            if isinstance(item := group.get(name), h5py.Group):
                visit(item, f"{inside}/{name}".strip("/"))

    with h5py.File(path, "r") as file:
        visit(file, "")
    return found


def _add(content: Content, data: Any, names: list[str], engine: str, group: str) -> None:
    """Add the variables of these names in a group."""
    for name, item in data.variables.items():
        values = as_labels(str(name), item.values) if item.ndim == 1 else None
        if values is not None:
            whole = f"{group}/{name}".strip("/")
            content.labels[whole], content.along[whole] = values, str(item.dims[0])
    ours = json.loads(data.attrs[OURS]) if OURS in data.attrs else {}
    content.facts |= ours.get("facts", {})
    for name in names:
        item = data.data_vars[name]
        whole = f"{group}/{name}" if group else str(name)
        if item.ndim < 2 or not is_numeric(item.dtype, whole, content.path):
            content.leave_out(whole, item.shape, item.dtype)
            continue
        entry = Entry(_lazy(content.path, item, engine, group), tuple(map(str, item.dims)))
        if KEY in item.attrs:
            entry.restore(json.loads(item.attrs[KEY]))
        content.entries[whole] = entry


def _lazy(path: Path, item: Any, engine: str, group: str) -> LazyArray:
    name = item.name

    def read(index: tuple[slice, ...]) -> Any:
        xarray = import_library("xarray", f"reading {path}")
        with xarray.open_dataset(path, engine=engine, group=group or None, decode_times=False) as data:
            return data[name][index].values

    dtype = np.dtype(item.attrs.get(DTYPE, item.dtype))  # netCDF has no float16
    mapped = engine == "h5netcdf" and dtype == item.dtype
    offset = _offset(path, item, f"{group}/{name}") if mapped else None
    return LazyArray(path, f"{group}/{name}".strip("/"), item.shape, dtype, read, offset)


def _offset(path: Path, item: Any, inside: str) -> int | None:
    """Return where the numbers begin, if the file has them as they are."""
    changed = {"scale_factor", "add_offset", "missing_value"} & set(item.encoding)
    fill = item.encoding.get("_FillValue")
    with import_library("h5py", f"reading {path}").File(path, "r") as file:
        stored = file[inside]
        plain = stored.chunks is None and stored.dtype == item.dtype and stored.shape == item.shape
        if changed or not plain or (fill is not None and not np.isnan(fill)):
            return None
        return stored.id.get_offset()
