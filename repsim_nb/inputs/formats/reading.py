"""`read_file`: the arrays of a file, by the kind of the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, as_clause

from .content import Content, arrange, orient
from .hdf5_files import read_hdf5
from .matlab_files import read_matlab
from .table_files import read_table
from .tensor_files import read_npz, read_safetensors, read_torch
from .thingsvision_folders import read_thingsvision
from .xarray_files import read_netcdf
from .zarr_files import MARKS, read_zarr


def _read_folder(path: Path) -> Any:
    """Return the features in a folder of thingsvision."""
    if (found := read_thingsvision(path)) is not None:
        return found
    if any(path.glob("*.npy")) and any(path.glob("*.json")):
        raise ValueError(f"{path} is a store: rs.Store({str(path)!r}) has its recordings.")
    raise ValueError(
        f"The folder {path} is neither an array of Zarr nor the output of thingsvision, features.npy or"
        " module/features_0-64.npy. Pass its files by name: from_arrays({'model/layer': file})."
    )


_READERS: dict[str, Callable[[Path], Any]] = {
    ".npy": lambda path: np.lib.format.open_memmap(path, mode="r"),
    ".npz": read_npz,
    ".pt": read_torch,
    ".pth": read_torch,
    ".safetensors": read_safetensors,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".hdf": read_hdf5,
    ".mat": read_matlab,
    ".nc": read_netcdf,
    ".nc4": read_netcdf,
    ".cdf": read_netcdf,
    ".zarr": read_zarr,
    ".zip": read_zarr,
    ".parquet": read_table,
    ".feather": read_table,
    ".arrow": read_table,
}
_FOLDER = "folder of thingsvision"
_READERS[_FOLDER] = _read_folder
# how to open files of other kinds, as code
_OPENED_BY = {
    ".csv": "pandas.read_csv({path}, index_col='column of ids')",
    ".tsv": "pandas.read_csv({path}, sep='\\t', index_col='column of ids')",
    ".txt": "numpy.loadtxt({path})",
    ".xlsx": "pandas.read_excel({path}, index_col='column of ids')",
}


def read_file(path: Path, samples: Any = None, ids: Any = None) -> Any:
    """Return the arrays of a file by their names, or its only array if it has no name.

    Parameters
    ----------
    path : Path
        The file, or the folder.
    samples : int, str or {name: int or str}, optional
        The axis of the samples.
    ids : str, array or {name: array}, optional
        The name of the labels in the file that are the ids; or the ids, if the user has them.

    Returns
    -------
    NamedArrays, array or tensor
    """
    kind = _kind_of(path)
    if kind == _FOLDER and not any(path.iterdir()):
        raise ValueError(f"The folder {path} is empty.")
    if kind not in _READERS:
        *most, last, _ = _READERS
        raise ValueError(f"from_arrays reads {', '.join(most)} and {last} files; got {path}. {_how_to_open(path)}")
    try:
        found = _READERS[kind](path)
    except (FileNotFoundError, PermissionError, ModuleNotFoundError, MemoryError):
        raise
    except ValueError as error:
        if type(error) is ValueError and str(path) in str(error):
            raise
        raise _unreadable(path, error) from error
    except Exception as error:
        if isinstance(error, OSError) and re.search("already open|unable to lock", str(error)):
            raise OSError(f"{path} is open for writing. Close the file, then read it.") from error
        raise _unreadable(path, error) from error
    if isinstance(found, Content):
        return arrange(found, samples, ids)
    return orient(found, samples, str(path))


def _kind_of(path: Path) -> str:
    """Return the kind of a file by its ending, of a folder by what is in it."""
    if path.is_dir():
        return ".zarr" if any((path / mark).is_file() for mark in MARKS) else _FOLDER
    return path.suffix.lower()


def _unreadable(path: Path, error: Exception) -> Exception:
    """Return the error about a file that was not read."""
    if objects := _objects_of(str(error)):
        return ValueError(
            f"The file {path} contains {objects} and not only arrays, and to read that could run code, so it was"
            f" not read. {_how_to_save(path.suffix.lower())}"
        )
    return DamagedFile(
        f"The file {path} is damaged, or contains something other than arrays, and was not read ({_reason(error)})."
    )


def _objects_of(message: str) -> str:
    """Return what a file contains that NumPy or torch refused to unpickle; "" if it was refused for another reason."""
    if found := re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|global ([\w.]+) was not", message):
        return f"objects of {next(filter(None, found.groups()))}"
    return "Python objects" if re.search("allow_pickle|Object arrays|Python objects", message) else ""


def _reason(error: Exception) -> str:
    """Return why a file was not read, without the advice of torch to read what may run code."""
    found = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    return found[1] if found else as_clause((str(error).splitlines() or [type(error).__name__])[0])


def _how_to_save(kind: str) -> str:
    """Say how to save the arrays of such a file, where it was written."""
    if kind in (".npy", ".npz"):
        return "If you trust it, open it yourself, and save the numbers alone, np.savez(path, **{'model/layer': x})."
    return (
        "If you trust it, open it yourself, and save the arrays alone, torch.save({'model/layer': x}, path). If it is a"
        " model, save its weights, torch.save(module.state_dict(), path), and use rs.load_model and rs.record."
    )


def _how_to_open(path: Path) -> str:
    """Say how to open a file of another kind."""
    if path.suffix.lower() in (".pkl", ".pickle", ".joblib"):
        return (
            "To read a pickle can run code. If you trust it, open it yourself, and pass the array:"
            " from_arrays({'model/layer': x})."
        )
    code = _OPENED_BY.get(path.suffix.lower(), "").format(path=repr(str(path)))
    if not code:
        return "Open it with the library that wrote it, and pass the arrays: from_arrays({'model/layer': x})."
    return f"Open it and pass the array: from_arrays({{'model/layer': {code}}})."
