"""`write_file`: arrays with their ids, groups and keys in a file that other libraries read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import check_name, import_library
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.ids import ids_fingerprint, same_ids
from repsim_nb.support.labels import Key
from repsim_nb.support.row_groups import groups_fingerprint

from .content import DTYPE, KEY, OURS, PLACE
from .hdf5_files import HIDDEN
from .tensor_files import SAFETENSORS

ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".zarr": "zarr", ".nc": "netcdf", ".safetensors": "safetensors"}


@dataclass(frozen=True)
class Written:
    """An array that is written: `pieces` yields (first row, rows)."""

    key: Key
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Callable[[], Iterable[tuple[int, np.ndarray]]]
    ids: np.ndarray | None = None
    groups: np.ndarray | None = None

    def labels(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield ("ids" or "groups", fingerprint, labels)."""
        if self.ids is not None:
            yield "ids", ids_fingerprint(self.ids), self.ids
        if self.groups is not None:
            yield "groups", groups_fingerprint(self.groups), self.groups


def write_file(path: Path, kind: str | None, arrays: Sequence[Written], facts: dict[str, Any]) -> Path:
    """Write arrays to one file, or to a folder of Zarr, in one step.

    Parameters
    ----------
    path : Path
        The file; its ending is its kind if there is none.
    kind : {"hdf5", "netcdf", "safetensors", "zarr"}, optional
        The format.
    arrays : sequence of Written
        At least one.
    facts : dict
        What is known about the models.
    """
    if kind is None:
        if path.suffix.lower() not in ENDINGS:
            raise ValueError(
                f"The ending of the path shows the format, {', '.join(ENDINGS)}; got {path}. Else state it:"
                f" format={next(iter(ENDINGS.values()))!r}."
            )
        kind = ENDINGS[path.suffix.lower()]
    check_name("format", kind, _WRITERS)
    if not arrays:
        raise ValueError(f"There is nothing to write to {path}: there are no recordings.")
    if kind == "zarr" and path.exists():
        raise FileExistsError(f"{path} is there already, and a folder is not replaced in one step. Delete it first.")
    with replace_atomically(path) as temporary:
        _WRITERS[kind](temporary, dict(zip(_names(arrays), arrays, strict=True)), facts)
    return path


def _names(arrays: Sequence[Written]) -> list[str]:
    """Return a name for each array, "model/layer", with more fields of the key where these are needed."""
    keys = [array.key for array in arrays]
    short = [f"{key.model}/{key.layer}" for key in keys]
    found: list[str] = []
    for key, name in zip(keys, short, strict=True):
        whole = str(key).removeprefix(name) if short.count(name) > 1 else ""
        layer = (key.layer + whole).replace("/", ".")
        unique = f"{key.model.replace('/', '.')}/{layer}"
        while unique in found:
            unique += "'"
        found.append(unique)
    return found


def _write_hdf5(path: Path, arrays: dict[str, Written], facts: dict[str, Any]) -> None:
    h5py = import_library("h5py", f"writing {path}")
    with h5py.File(path, "w") as file:
        file.attrs[OURS] = json.dumps({"facts": facts})
        labels = file.create_group(HIDDEN)
        for place, (name, array) in enumerate(arrays.items()):
            item = file.create_dataset(name, array.shape, array.dtype)
            item.attrs[PLACE] = place
            for row, rows in array.pieces():
                item[row : row + len(rows)] = rows
            item.attrs[KEY] = json.dumps(list(array.key))
            for what, fingerprint, values in array.labels():
                if fingerprint not in labels:
                    text = values.dtype.kind == "U"
                    kind = h5py.string_dtype() if text else values.dtype
                    labels.create_dataset(fingerprint, data=values.astype(object) if text else values, dtype=kind)
                item.attrs[what] = fingerprint


def _write_zarr(path: Path, arrays: dict[str, Written], facts: dict[str, Any]) -> None:
    zarr = import_library("zarr", f"writing {path}")
    root = zarr.open_group(path, mode="w")
    root.attrs[OURS] = {"facts": facts, "labels": _all_labels(arrays)}
    for place, (name, array) in enumerate(arrays.items()):
        width = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
        chunk = max(1, min(array.shape[0], 2**23 // width))
        item = root.create_array(name, shape=array.shape, dtype=array.dtype, chunks=(chunk, *array.shape[1:]))
        for row, rows in array.pieces():
            item[row : row + len(rows)] = rows
        item.attrs[OURS] = {**_about(array), "place": place}


def _write_safetensors(path: Path, arrays: dict[str, Written], facts: dict[str, Any]) -> None:
    """Write the header, then the numbers piece by piece.

    The library wants all arrays in memory, and its version 0.8.0 writes those that are not in C order wrong.
    """
    header: dict[str, Any] = {}
    place = 0
    for name, array in arrays.items():
        size = math.prod(array.shape) * array.dtype.itemsize
        kind = check_name("type of safetensors", array.dtype.str.replace("=", "<"), SAFETENSORS)
        header[name] = {
            "dtype": SAFETENSORS[kind],
            "shape": list(array.shape),
            "data_offsets": [place, place := place + size],
        }
    about = {
        "facts": facts,
        "labels": _all_labels(arrays),
        "arrays": {name: _about(array) for name, array in arrays.items()},
    }
    text = json.dumps({"__metadata__": {OURS: json.dumps(about)}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            for _, rows in array.pieces():
                file.write(np.ascontiguousarray(rows).data.cast("B"))
        file.flush()
        os.fsync(file.fileno())


def _write_netcdf(path: Path, arrays: dict[str, Written], facts: dict[str, Any]) -> None:
    """Write variables with one dimension of samples, whose coordinate has the ids."""
    h5netcdf = import_library("h5netcdf", f"writing {path}")
    first, *others = arrays.values()
    for other in others:
        same = first.shape[0] == other.shape[0] and _equal(first.ids, other.ids) and _equal(first.groups, other.groups)
        if not same:
            raise ValueError(
                f"In netCDF all arrays share one dimension of samples, and '{first.key}' and '{other.key}' have other"
                " samples, ids or groups. Bring them together by rs.align, or use another format, such as .h5."
            )
    text = import_library("h5py", f"writing {path}").string_dtype()
    with h5netcdf.File(path, "w") as file:
        file.attrs[OURS] = json.dumps({"facts": facts})
        file.dimensions["sample"] = first.shape[0]
        for what, _, values in first.labels():
            its = text if values.dtype.kind == "U" else values.dtype
            item = file.create_variable({"ids": "sample", "groups": "group"}[what], ("sample",), its)
            item[:] = values.astype(object) if values.dtype.kind == "U" else values
        for name, array in arrays.items():
            flat = name.replace("/", ".")
            while flat in file.variables:  # "a.b/c" and "a/b.c"
                flat += "'"
            dims = [f"{flat}_feature_{axis}" for axis in range(1, len(array.shape))]
            for dim, length in zip(dims, array.shape[1:], strict=True):
                file.dimensions[dim] = length
            # netCDF has neither type, and its library may crash on a file that h5netcdf wrote with float16
            kind = np.dtype({"bool": "i1", "float16": "f4"}.get(array.dtype.name, array.dtype.str))
            item = file.create_variable(flat, ("sample", *dims), kind)
            for row, rows in array.pieces():
                item[row : row + len(rows)] = rows.astype(kind)
            item.attrs[KEY] = json.dumps(list(array.key))
            if kind != array.dtype:
                item.attrs["dtype" if kind == "i1" else DTYPE] = array.dtype.name  # the first is xarray's


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and same_ids(a, b))


def _about(array: Written) -> dict[str, Any]:
    known = {what: fingerprint for what, fingerprint, _ in array.labels()}
    return {"key": list(array.key), "ids": known.get("ids", ""), "groups": known.get("groups", "")}


def _all_labels(arrays: dict[str, Written]) -> dict[str, list[Any]]:
    """Return {fingerprint: labels} of all arrays."""
    return {mark: values.tolist() for array in arrays.values() for _, mark, values in array.labels()}


_WRITERS: dict[str, Callable[[Path, dict[str, Written], dict[str, Any]], None]] = {
    "hdf5": _write_hdf5,
    "netcdf": _write_netcdf,
    "safetensors": _write_safetensors,
    "zarr": _write_zarr,
}
