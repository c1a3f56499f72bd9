"""Containers of numbers of any library, converted to arrays whose rows are samples.

Libraries are recognised by the module name of a type, so none has to be installed.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import array_api_compat
import numpy as np
import pandas as pd
import psutil

from repsim_nb.support.dimensions import has_method, is_of, sample_dimension
from repsim_nb.support.errors import UndefinedError, as_clause, join_names, warn_user
from repsim_nb.support.rdms import RDM

Array = Any  # a NumPy array or a torch tensor; an RDM, if the features of a representation are not known
# names of columns that number samples
_ID_NAME = re.compile(r"(?:.*[\W_])?(?:id|ids|idx|index|row|nr|no|number|unnamed: ?\d+|level_\d+)", re.IGNORECASE)


def to_array(x: Any) -> Array:
    """Convert a container of numbers to a NumPy array or a torch tensor whose first axis is the samples.

    NumPy arrays, memory maps and dense tensors are returned as they are, without a copy. Frames are read by rows,
    arrays with named dimensions by these names, sparse arrays are filled, and arrays in files are read into memory. An
    RDM stays one, without ids, which are compared before.

    Parameters
    ----------
    x : array, tensor, frame, DataArray, sparse array, list, RDM or others
        The container.

    Returns
    -------
    array, tensor or RDM

    Raises
    ------
    UndefinedError
        If it cannot be read; the error names its type.
    MemoryError
        If it does not fit into memory.

    Examples
    --------
    >>> to_array(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})).shape
    (2, 2)
    """
    if isinstance(x, np.ndarray):
        return _read_numpy(x)
    if array_api_compat.is_torch_array(x):
        return _read_torch(x)
    if isinstance(x, RDM):
        return x if x.ids is None else x.with_labels(None, x.groups)
    if isinstance(x, pd.DataFrame):
        names, columns = [str(name) for name in x.columns], [x.iloc[:, i] for i in range(x.shape[1])]
        _warn_of_id_columns(names, columns)
        return _read_columns(names, columns, len(x), whole=x)
    if isinstance(x, (pd.Series, pd.Index)):
        if x.dtype.kind == "O" and len(x) and np.ndim(x[0] if isinstance(x, pd.Index) else x.iloc[0]):
            raise _refusal(x, "with an array in each row", "np.stack(list(x)) makes one array")
        return _read_columns([str(x.name or "values")], [x], len(x), series=x)[:, 0]
    if isinstance(x, (list, tuple)):
        return _read_list(x)
    if is_of(x, "xarray"):
        return _read_xarray(x)
    if is_of(x, "polars"):
        return _read_polars(x)
    if is_of(x, "pyarrow", "Table", "RecordBatch") or has_method(x, "to_pandas", "cudf", "pyspark"):
        return to_array(x.to_pandas())
    if is_of(x, "modin"):
        return to_array(x._to_pandas())
    if is_of(x, "scipy") and hasattr(x, "toarray"):
        _check_room(x.shape, x.dtype.itemsize, x)
        return np.asarray(x.toarray())
    if is_of(x, "sparse") and hasattr(x, "todense"):
        _check_room(x.shape, x.dtype.itemsize, x)
        return to_array(x.todense())
    if is_of(x, "dask") and hasattr(x, "compute"):
        return to_array(x.compute())
    if has_method(x, "get", "cupy", "cupyx"):
        return to_array(x.get())
    # arrays that are read by slices
    if (
        is_of(x, "h5py", "Dataset")
        or is_of(x, "zarr", "Array")
        or ((is_of(x, "tables") or is_of(x, "netCDF4")) and hasattr(x, "shape"))
    ):
        _check_room(x.shape, getattr(x.dtype, "itemsize", 8), x)
        return to_array(x[...])
    return _read_others(x)


def to_features(x: Any) -> Array:
    """Return `to_array`; UndefinedError for an RDM, which has no features."""
    x = to_array(x)
    if isinstance(x, RDM):
        raise UndefinedError(
            "it is an RDM, dissimilarities of samples whose features are not known, and they are needed here. RSA, CKA"
            " (also multi-scale) and distance correlation compare RDMs"
        )
    return x


def one_feature(x: Any) -> str:
    """Return the code that makes one feature of an x with one number a sample."""
    if is_of(x, "pandas", "Series", "Index") or is_of(x, "polars", "Series"):
        return "x.to_frame()"
    return "x[:, None]" if is_array(x) else "np.asarray(x)[:, None]"


def _warn_of_id_columns(names: list[str], columns: list[Any], *, polars: bool = False) -> None:
    """Warn about columns of a frame that number the samples, since they would count as features.

    Such a column has an integer in each row, each once, and either the name of an id, or just counts rows from 0 or 1.
    """
    found = []
    for name, column in zip(names, columns, strict=True):
        values = np.asarray(column) if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf" else None
        if values is None or len(values) < 3 or not (np.diff(values[:3]).all() and np.all(values == np.round(values))):
            continue
        ordered = np.sort(values)
        by_name = bool(_ID_NAME.fullmatch(name) or re.search(r"[a-z]I[dD]$", name))
        counts = len(columns) > 1 and ordered[0] in (0, 1) and ordered[-1] - ordered[0] == len(values) - 1
        if (by_name or counts) and np.diff(ordered).all():
            found.append(name)
    if found:
        what = f"column {found[0]!r} counts as a feature and has"
        if len(found) > 1:
            what = f"columns {join_names(found, 4)} count as features and have"
        index = "" if polars else f"make it the index, x.set_index({found[0]!r}), or "
        warn_user(
            f"the {what} another integer in each row, as ids of samples have. If it names the samples, {index}leave it"
            f" out, x.drop({'' if polars else 'columns='}{found!r})."
        )


def is_array(x: Any) -> bool:
    """Return whether this is an array without names of samples: a NumPy array or a tensor."""
    return isinstance(x, np.ndarray) or array_api_compat.is_torch_array(x)


def array_type(x: Any) -> str:
    """Return the kind of a container that names its samples, such as "pandas.DataFrame"; else ""."""
    kinds = (("pandas", "DataFrame"), ("pandas", "Series"), ("xarray", "DataArray"), ("xarray", "Dataset"))
    return next((f"{library}.{name}" for library, name in kinds if is_of(x, library, name)), "")


def type_name(x: Any) -> str:
    """Return the full name of its type, such as pandas.DataFrame."""
    kind = type(x)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    )


def _check_room(shape: tuple[int, ...], itemsize: int, x: Any) -> None:
    """Raise MemoryError if an array of this shape does not fit into memory."""
    need, free = float(math.prod(shape)) * max(itemsize, 1), psutil.virtual_memory().available
    if need > free:
        raise MemoryError(
            f"a {type_name(x)} of shape {tuple(shape)} is read into memory as a whole, which takes {need / 1e9:.3g} GB,"
            f" and {free / 1e9:.3g} GB are free. Take fewer samples or features, or write it to a .npy file, which is"
            " read by rows."
        )


def _refusal(x: Any, why: str, hint: str) -> UndefinedError:
    """Return the error for a container that cannot be read."""
    return UndefinedError(
        f"a representation is an array of numbers (samples, features); this is a {type_name(x)}, {why}: {hint}"
    )


def _read_numpy(x: np.ndarray) -> np.ndarray:
    """Read an array of NumPy, of any kind."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise UndefinedError(
                "it is a masked array, and no measure takes missing values: leave those samples out on both sides,"
                " x[~mask.any(axis=1)]"
            )
        x = x.data
    if x.dtype.names:
        raise UndefinedError(
            "a representation holds real numbers; this is a structured array with the fields"
            f" {join_names(x.dtype.names, 4)}: numpy.lib.recfunctions.structured_to_unstructured(x)"
        )
    if x.dtype.type.__module__.startswith("ml_dtypes"):
        name = x.dtype.name
        if "complex" in name:
            raise UndefinedError(f"a representation holds real numbers; it has dtype {name}")
        return x.astype(np.int8 if name.startswith("int") else np.uint8 if name.startswith("uint") else np.float32)
    if type(x) in (np.ndarray, np.memmap):
        return x
    if not hasattr(x, "groups"):
        return np.asarray(x)
    # Groups of rows stay. Ids are compared before, and code that permutes one side must not carry them along.
    if x.groups is None:
        return x.view(np.memmap if isinstance(x, np.memmap) else np.ndarray)
    grouped: Any = x.view()
    grouped.groups = x.groups
    return grouped


def _read_torch(x: Any) -> Any:
    """Read a tensor of torch, of any kind."""
    if getattr(x, "is_nested", False):
        raise _refusal(x, "nested, whose rows have different lengths", "pool each row, or pad them all to one length")
    if x.device.type == "meta":
        raise _refusal(x, "on the device 'meta', which has no numbers", "load its weights first")
    if x.is_quantized:
        return x.dequantize()
    if str(x.layout) != "torch.strided":
        _check_room(tuple(x.shape), x.element_size(), x)
        return x.to_dense()
    if str(x.dtype) in ("torch.uint16", "torch.uint32", "torch.uint64"):  # torch has few operations for these
        x = x.view(sys.modules["torch"].int64) if x.element_size() == 8 else x.long()
        if x.numel() and int(x.min()) < 0:
            raise UndefinedError(
                "it holds integers beyond 2**63 (torch.uint64), and measures work in float64, which would lose their"
                " last digits: make them floats yourself, x.double()"
            )
    return x


def _read_columns(
    names: list[str], columns: list[Any], n: int, whole: pd.DataFrame | None = None, series: Any = None
) -> np.ndarray:
    """Stack columns of pandas side by side, in one dtype that represents them all."""
    for name, column in zip(names, columns, strict=True):
        dtype = column.dtype
        bad = (
            isinstance(dtype, pd.CategoricalDtype)
            or not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))
            or pd.api.types.is_complex_dtype(dtype)
        )
        if bad and series is not None:
            raise _refusal(series, f"of type {dtype}", "pass the numbers, a DataFrame with one column a feature")
        if bad:
            raise UndefinedError(
                f"a representation holds real numbers, and the column '{name}' of this frame is of type {dtype}: leave"
                f" it out, x.drop(columns=[{name!r}]), or, if it names the samples, make it the index,"
                f" x.set_index({name!r})"
            )
    if not columns:
        return np.empty((n, 0))
    kinds = {column.dtype for column in columns}
    if len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype):
        return whole.to_numpy() if whole is not None else np.asarray(columns[0])[:, None]
    plain = all(isinstance(dtype, np.dtype) and dtype.kind == "f" for dtype in kinds)
    return np.column_stack(
        [
            _exactly(column, name).astype(np.result_type(*kinds) if plain else np.float64, copy=False)
            for name, column in zip(names, columns, strict=True)
        ]
    )


def _exactly(column: Any, name: str) -> np.ndarray:
    """Return a column of pandas in its own dtype, or as float64 with NaN for missing values.

    UndefinedError if an integer would lose digits.
    """
    dtype = column.dtype
    if not isinstance(dtype, np.dtype) or dtype.kind in "iu":
        if pd.api.types.is_integer_dtype(dtype) and len(column.dropna()):
            check_digits(
                column.dropna().to_numpy(dtype=np.uint64 if "uint" in str(dtype).lower() else np.int64),
                f"the column '{name}'",
            )
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy()


def check_digits(x: Array, what: str = "it") -> None:
    """Raise UndefinedError for 64-bit integers beyond 2**53, which float64 cannot represent exactly."""
    low, high = int(x.min()), int(x.max())
    if max(high, -low) > 2**53:
        raise UndefinedError(
            f"{what} holds integers up to {max(high, -low)} ({x.dtype}), beyond 2**53, and measures work in float64,"
            " which would lose their last digits: take something constant off, x - x.min(), or make them floats"
            " yourself, x.astype(float)"
        )


def _read_list(x: Any) -> Array:
    """Read a list or tuple of rows."""
    parts = [
        part if np.isscalar(part) or isinstance(part, (list, tuple)) or part is None else to_array(part) for part in x
    ]
    if parts and all(array_api_compat.is_torch_array(part) for part in parts):
        return sys.modules["torch"].stack(parts)
    try:
        array = np.asarray(
            [part.detach().cpu().numpy() if array_api_compat.is_torch_array(part) else part for part in parts]
        )
    except ValueError as error:
        raise _refusal(
            x, f"whose rows are no array ({as_clause(error)})", "all samples need the same number of features"
        ) from error
    if array.dtype.kind == "O":
        odd = next((item for item in array.ravel() if not isinstance(item, (int, float))), array.ravel()[0])
        raise _refusal(x, f"with a {type_name(odd)} in it", "all entries are numbers")
    return array


def _read_xarray(x: Any) -> Array:
    """Read an array of xarray, its samples first."""
    if not is_of(x, "xarray", "DataArray", "Variable"):
        names = join_names(x.data_vars, 4) if hasattr(x, "data_vars") else ""
        raise _refusal(x, f"which holds several arrays{f' ({names})' if names else ''}", "take one of them, x['name']")
    if x.ndim < 2:
        return to_array(x.data)
    return to_array(x.transpose(sample_dimension(x), ...).data)


def _read_polars(x: Any) -> np.ndarray:
    """Read a frame or a series of polars."""
    if is_of(x, "polars", "LazyFrame"):
        raise _refusal(x, "which was not computed yet", "x.collect()")
    if not is_of(x, "polars", "DataFrame"):
        return np.asarray(x.to_numpy())
    columns = []
    _warn_of_id_columns(list(x.columns), [column.to_numpy() for column in x.get_columns()], polars=True)
    for column in x.get_columns():
        if not column.dtype.is_numeric() and str(column.dtype) != "Boolean":
            raise UndefinedError(
                f"a representation holds real numbers, and the column '{column.name}' of this frame is of type"
                f" {column.dtype}: leave it out, x.drop({column.name!r})"
            )
        values = column.to_numpy()
        if values.dtype.kind == "O":  # missing values among true and false, decimals
            values = np.array([np.nan if value is None else float(value) for value in values])
        if str(column.dtype) in ("Int64", "UInt64") and column.null_count() and len(present := column.drop_nulls()):
            check_digits(present.to_numpy(), f"the column '{column.name}'")
        columns.append(pd.Series(values))
    return (
        _read_columns(list(x.columns), columns, len(x), whole=None)
        if len({column.dtype for column in columns}) != 1
        else np.column_stack(columns)
    )


def _read_others(x: Any) -> np.ndarray:
    """Read anything else that NumPy converts to numbers."""
    if x is None or isinstance(x, (str, bytes, Mapping, set, frozenset)):
        hint = "take one of what it holds, x['name']" if isinstance(x, Mapping) else "pass an array"
        raise _refusal(x, "which is not one", hint)
    try:
        array = np.asarray(x)
    except Exception as error:
        raise _refusal(
            x, f"which NumPy cannot read ({as_clause(error)})", "convert it, np.asarray(...), and pass that"
        ) from error
    if array.dtype.kind == "O" or (hasattr(x, "shape") and tuple(x.shape) != array.shape):
        raise _refusal(x, "which NumPy does not read as numbers", "convert it and pass the array")
    return _read_numpy(array)
