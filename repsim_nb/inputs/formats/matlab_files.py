"""MATLAB: files up to version 7.2 by SciPy, 7.3 by h5py, both with the axes as MATLAB shows them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .content import HDF5, MATLAB_73, Content, Entry, is_numeric, starts_with, to_labels, to_whole
from .hdf5_files import lazy, read_hdf5
from .hdf5_names import names_in

_NOT_ARRAYS = ("MatlabOpaque", "MatlabFunction")


def read_matlab(path: Path) -> Content:
    """Return the matrices of a MATLAB file: rows are samples, vectors and cells of text are labels."""
    if starts_with(path, MATLAB_73) or starts_with(path, HDF5):
        return read_hdf5(path)
    content = Content(path)
    for name, value in _load(path).items():
        if not name.startswith("__"):
            _add(content, name, value)
    return content


def _load(path: Path) -> dict[str, Any]:
    """Return the variables: logical is bool, integers that are doubles are floats, complex numbers stay complex."""
    import scipy.io

    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            return dict(scipy.io.loadmat(path, mat_dtype=True))
        except np.exceptions.ComplexWarning:  # SciPy makes doubles of complex numbers
            return dict(scipy.io.loadmat(path))


def _add(content: Content, name: str, value: Any) -> None:
    """Add one variable, the fields of a struct, or the cells of a cell array."""
    if type(value).__name__ in _NOT_ARRAYS:
        content.leave_out(name, (), type(value).__name__)
    elif hasattr(value, "toarray"):
        content.entries[name] = Entry(np.asarray(value.toarray()))
    elif value.dtype.names:
        for field in value.dtype.names:
            items = value[field]  # of an array of structs, the cells of each field
            _add(content, f"{name}/{field}", items.flat[0] if value.size == 1 else items)
    elif value.dtype.kind == "O":
        items = [item for item in value.ravel(order="F")]
        if all(getattr(item, "dtype", np.dtype("O")).kind == "U" for item in items):
            _add_labels(content, name, np.array(["".join(item.ravel().tolist()) for item in items]))
        else:
            for i, item in enumerate(items):
                _add(content, f"{name}/{i}", np.asarray(item))
    else:
        _add_matrix(content, name, value)


def _add_matrix(content: Content, name: str, value: Any) -> None:
    """Add a matrix as an entry, a vector as labels; value: an array of NumPy or a lazy one."""
    if value.ndim == 2 and min(value.shape) == 1:
        values = value.open() if hasattr(value, "open") else value
        _add_labels(content, name, values.ravel())
    elif value.ndim < 2 or not is_numeric(value.dtype, name, content.path):
        if value.dtype.kind == "U":  # the rows of a matrix of characters
            _add_labels(content, name, np.char.rstrip(np.atleast_1d(value)))
        content.leave_out(name, value.shape, value.dtype)
    else:
        content.entries[name] = Entry(value if hasattr(value, "open") else np.ascontiguousarray(value))


def _add_labels(content: Content, name: str, values: np.ndarray) -> None:
    """Note labels; numbers of MATLAB are float64 also if they count."""
    content.labels[name] = to_labels(to_whole(values))
    content.leave_out(name, values.shape, values.dtype)


def read_matlab_73(path: Path, file: Any, h5py: Any) -> Content:
    """Return the matrices of a file of MATLAB 7.3, whose axes HDF5 has in reverse."""
    content = Content(path)
    for name in names_in(file, h5py):
        if name not in ("#refs#", "#subsystem#"):
            _add_73(content, name, file[name], h5py)
    return content


def _add_73(content: Content, name: str, item: Any, h5py: Any) -> None:
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            content.entries[name] = Entry(_fill_sparse(item))
        else:
            for field in names_in(item, h5py):
                _add_73(content, f"{name}/{field}", item[field], h5py)
    elif item.attrs.get("MATLAB_empty", 0) or "MATLAB_object_decode" in item.attrs or (item.ndim or 0) < 2:
        content.leave_out(name, item.shape or (), kind)
    elif kind == "char":
        lines = _read_text(item)
        _add_labels(content, name, np.array(lines))
    elif h5py.check_ref_dtype(item.dtype):
        cells = [item.file[reference] for reference in item[()].ravel()]  # MATLAB's order is that of HDF5 in memory
        kinds = {bytes(cell.attrs.get("MATLAB_class", b"")) for cell in cells}
        if kinds == {b"char"}:
            _add_labels(content, name, np.array([_read_cell(cell) for cell in cells]))
        else:
            for i, cell in enumerate(cells):
                _add_73(content, f"{name}/{i}", cell, h5py)
    else:
        matrix = lazy(content.path, item, reverse=True)
        matrix.dtype = np.dtype(bool) if kind == "logical" else matrix.dtype  # one byte each
        _add_matrix(content, name, matrix)


def _read_cell(item: Any) -> str:
    """Return the text in a cell; some libraries write it as a column of characters."""
    if item.attrs.get("MATLAB_empty", 0):
        return ""
    return (
        item[()].ravel().astype("<u2").tobytes().decode("utf-16-le") if 1 in item.shape else "".join(_read_text(item))
    )


def _read_text(item: Any) -> list[str]:
    """Return the rows of a matrix of characters, which HDF5 has as UTF-16 code units, transposed."""
    if item.attrs.get("MATLAB_empty", 0):
        return [""]
    return [row.astype("<u2").tobytes().decode("utf-16-le").rstrip(" ") for row in item[()].T]


def _fill_sparse(group: Any) -> np.ndarray:
    """Return a sparse matrix, columns compressed, as a full one."""
    import scipy.sparse

    starts = group["jc"][()].astype(np.int64)
    data = group["data"][()] if "data" in group else np.zeros(0)
    rows = group["ir"][()].astype(np.int64) if "ir" in group else np.zeros(0, np.int64)
    shape = int(group.attrs["MATLAB_sparse"]), len(starts) - 1
    return np.ascontiguousarray(scipy.sparse.csc_array((data, rows, starts), shape=shape).toarray())
