"""HDF5: arrays of h5py and of MATLAB 7.3, and what this package exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, import_library, warn_user

from .content import KEY, MATLAB_73, OURS, PLACE, Content, Entry, as_labels, is_numeric, starts_with, to_labels
from .hdf5_names import names_in
from .lazy import LazyArray
from .xarray_files import read_netcdf

HIDDEN = "repsim_nb_samples"  # the group with its ids and groups


def read_hdf5(path: Path) -> Content:
    """Return the arrays of an HDF5 file, by their paths in it."""
    h5py = import_library("h5py", f"reading {path}")
    with h5py.File(path, "r") as file:
        of_matlab = ("MATLAB_class" in item.attrs for item in file.values() if item is not None)
        if starts_with(path, MATLAB_73) or any(of_matlab):
            from .matlab_files import read_matlab_73

            return read_matlab_73(path, file, h5py)
        if "dissimilarities" in file or "measurements" in file:
            from .rsatoolbox_files import read_rsatoolbox

            if (found := read_rsatoolbox(path, file)) is not None:
                return found
        if "_NCProperties" in file.attrs:  # netCDF, whose values may have a scale and a mark for missing ones
            return read_netcdf(path)
        _refuse_others(path, file)
        content = Content(path)
        if OURS in file.attrs:
            content.facts = json.loads(file.attrs[OURS]).get("facts", {})
        _read_group(content, file, "", h5py)
        return content


def _refuse_others(path: Path, file: Any) -> None:
    """Raise ValueError for files whose arrays are parts of something else: models of Keras, frames of pandas."""
    if {"keras_version", "layer_names"} & set(file.attrs) or "_layer_checkpoint_dependencies" in file:
        raise ValueError(f"{path} has weights of a model of Keras, and not what its layers return for samples.")
    frame = next((name for name, item in file.items() if item is not None and "pandas_type" in item.attrs), None)
    if frame is not None:
        raise ValueError(
            f"'{frame}' in {path} is a frame that pandas wrote in parts. Read it by pandas, and pass the frame:"
            f" from_arrays({{'model/layer': pandas.read_hdf({str(path)!r}, {frame!r})}})."
        )


def _read_group(content: Content, group: Any, inside: str, h5py: Any) -> None:
    """Add the arrays and the labels of a group, and of the groups in it, under the names by which they are found."""
    for name in names_in(group, h5py):
        item, where = group.get(name), f"{inside}{name}"
        if item is None:
            raise DamagedFile(f"'{where}' is a link to something that is not there")
        if isinstance(item, h5py.Group):
            if name != HIDDEN:
                _read_group(content, item, f"{where}/", h5py)
        elif isinstance(item, h5py.Dataset):
            if item.ndim == 1 and (values := _read_vector(where, item, h5py)) is not None:
                content.labels[where] = values
            _add(content, where, item, h5py)


def _add(content: Content, name: str, item: Any, h5py: Any) -> None:
    shape = item.shape
    if shape is None or len(shape) < 2 or not is_numeric(item.dtype, name, content.path):
        content.leave_out(name, shape or (), item.dtype)
        ragged = None if h5py.check_string_dtype(item.dtype) else h5py.check_vlen_dtype(item.dtype)
        if ragged is not None or (item.dtype.names and len(shape or ()) > 1):
            what = f"the fields {item.dtype.names}" if ragged is None else "rows of different lengths"
            warn_user(f"'{name}' in {content.path} has {what}, and was left out, since it is no array of numbers.")
        return
    dims, along = _dimensions(item, h5py)
    scales = {dim: to_labels(scale[()]) for dim, scale in along.items() if scale.ndim == 1}
    if {"scale_factor", "add_offset"} & set(item.attrs):
        raise ValueError(
            f"'{name}' in {content.path} is stored with a scale. Scale it as the program that wrote it does, and pass"
            " the array: from_arrays({'model/layer': x})."
        )
    entry = Entry(lazy(content.path, item), dims, scales, {dim: dim for dim in scales})
    if KEY in item.attrs:
        hidden = item.file[HIDDEN]
        ids, groups = (
            to_labels(hidden[item.attrs[what]][()]) if what in item.attrs else None for what in ("ids", "groups")
        )
        entry.restore(json.loads(item.attrs[KEY]), ids, groups, int(item.attrs.get(PLACE, 0)))
    content.entries[name] = entry


def _dimensions(item: Any, h5py: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of the axes, if all have one, and the scales that belong to them."""
    names, scales = [], {}
    for dim in item.dims:
        scale = dim[0] if len(dim) else None
        name = dim.label or (scale.name.rpartition("/")[2] if scale is not None else "")
        if not name or name.startswith("phony_dim"):
            return (), {}
        names.append(name)
        if scale is not None and not scale.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but"):
            scales[name] = scale
    return (tuple(names), scales) if len(set(names)) == len(names) else ((), {})


def lazy(path: Path, item: Any, *, reverse: bool = False) -> LazyArray:
    """Return a dataset of h5py as an array that is read when it is used. reverse: its axes are those of MATLAB."""
    inside, path = item.name, Path(item.file.filename)  # of another file, if it is linked from there

    def read(index: tuple[slice, ...]) -> Any:
        h5py = import_library("h5py", f"reading {path}")
        with h5py.File(path, "r") as file:
            return file[inside][index]

    offset = item.id.get_offset() if item.chunks is None and not item.external and not item.is_virtual else None
    order = tuple(reversed(range(item.ndim))) if reverse else None
    return LazyArray(path, inside.strip("/"), item.shape, item.dtype, read, offset, order)


def _read_vector(name: str, item: Any, h5py: Any) -> np.ndarray | None:
    """Return a one-dimensional dataset as labels; None if it cannot be labels."""
    if h5py.check_string_dtype(item.dtype) or item.dtype.kind in "iufS":
        return as_labels(name, item[()])
    return None
