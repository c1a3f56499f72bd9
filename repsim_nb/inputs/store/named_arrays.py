"""Named arrays: the keys, ids and groups of arrays that were recorded elsewhere."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.containers import one_feature, to_array, type_name
from repsim_nb.support.errors import DamagedFile, as_clause, unknown_name
from repsim_nb.support.ids import Names, check_ids, check_order, how_ids_differ, names_of, same_ids
from repsim_nb.support.labels import Key
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import is_integer


def read_named_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path, ids: Any = None, groups: Any = None
) -> tuple[dict[Key, Any], dict[Key, Any], dict[Key, Any]]:
    """Return the arrays by their keys, the ids of their samples, and the groups of their rows.

    The parameters are those of `from_arrays`. Ids and groups are not checked, and are None if there are none.
    """
    if isinstance(arrays, (str, Path)):
        arrays = _read_file(Path(arrays))
        if not isinstance(arrays, (Mapping, list, tuple)):
            raise ValueError("A single array has no name. Pass {'model/layer': path} in place of the path.")
    if not isinstance(arrays, (Mapping, list, tuple)):
        raise ValueError(
            "A single array has no name. Pass {'model/layer': x}, or a list of layers, [x0, x1]; got a"
            f" {type_name(arrays)}."
        )
    arrays = dict(arrays.items() if isinstance(arrays, Mapping) else enumerate(arrays))
    if not arrays:
        raise ValueError(
            "from_arrays needs at least one array, {'model/layer': array, ...}; there are no arrays in it."
        )
    for what, given, hint in (
        ("ids", ids, "ids has one id per sample, for all arrays, or is {name of an array: its ids}."),
        ("groups", groups, "groups has one label per row, for all arrays, or is {name of an array: its labels}."),
    ):
        if isinstance(given, Mapping) and (strange := [name for name in given if name not in arrays]):
            raise unknown_name(f"array that has {what}", strange[0], arrays, hint)
    found: dict[Key, Any] = {}
    names: dict[Key, Any] = {}
    known, grouped = {}, {}
    for name, value in arrays.items():
        key = _key_of(name)
        if key in found:
            raise ValueError(
                f"Two arrays would be the layer '{key.layer}' of the model '{key.model}', so one would be lost:"
                f" {_show_name(names[key])} and {_show_name(name)}. Give one of them another name."
            )
        names[key] = name
        value = _read_file(Path(value)) if isinstance(value, (str, Path)) else value
        own = ids.get(name) if isinstance(ids, Mapping) else ids
        try:
            array, index = to_array(value), names_of(value)
        except (ValueError, MemoryError) as error:
            raise type(error)(f"'{key}': {error}") from error
        if array.ndim < 2:
            hint = f" Use {one_feature(value)} for one feature." if array.ndim else ""
            raise ValueError(
                f"Arrays must have the shape (samples, features, ...); '{key}' has shape {tuple(array.shape)}.{hint}"
            )
        found[key] = array
        known[key] = _choose_ids(key, own, index, array.shape[0])
        labels = groups.get(name) if isinstance(groups, Mapping) else groups
        try:
            check_order(value, labels)
        except ValueError as error:
            raise ValueError(f"groups of '{key}': {error}") from error
        grouped[key] = groups_of(array) if labels is None else labels
    return found, known, grouped


def _show_name(name: Any) -> str:
    """Return the name of an array as the user wrote it."""
    return repr(name if not isinstance(name, Key) else str(name))


def _key_of(name: Any) -> Key:
    """Return the key for a name: text "model/layer", the number of a layer, or a tuple with the fields of a key."""
    if isinstance(name, tuple):
        if not 2 <= len(name) <= len(Key._fields):
            raise ValueError(
                f"A tuple that names an array must have the fields of a key, {Key._fields}, at least the first two; got"
                f" {tuple(name)!r}."
            )
        model, layer, *rest = name
        return Key(str(model) if is_integer(model) else model, str(layer) if is_integer(layer) else layer, *rest)
    if is_integer(name):
        return Key("model", str(name))
    if not isinstance(name, str):
        raise ValueError(
            "The name of an array must be text, 'model/layer', the number of a layer, or a Key; got"
            f" {name!r}, which is {type(name).__name__}."
        )
    model, slash, layer = name.rpartition("/")
    return Key(model if slash else "model", layer)


def _choose_ids(key: Key, given: Any, own: Names | None, n: int) -> Any:
    """Return the ids of an array: those given, else its index.

    ValueError if both have the same samples in another order.
    """
    if given is None or key.by_token:
        return own.names if given is None and own is not None and own.kind == "ids" else given
    if own is not None and own.kind == "ids":
        try:
            ids = check_ids(given, n)
        except ValueError as error:
            raise ValueError(f"'{key}': {error}") from error
        if (
            ids.dtype.kind == own.names.dtype.kind
            and np.array_equal(np.sort(ids), np.sort(own.names))
            and not same_ids(ids, own.names)
        ):
            raise ValueError(
                f"'{key}' has ids of its own, and ids= names other rows: {how_ids_differ(own.names, ids)[0]}. Leave"
                " ids= out, and bring arrays with ids into one order by rs.align; x.to_numpy() of a frame has none."
            )
    return given


# how to open files of other kinds, as code
_OPENED_BY = {
    ".safetensors": "safetensors.torch.load_file({path})",
    ".h5": "h5py.File({path})['name of the array']",
    ".mat": "scipy.io.loadmat({path})['name of the array']",
    ".zarr": "zarr.open({path})['name of the array']",
    ".nc": "xarray.open_dataset({path})['name of the array']",
    ".csv": "pandas.read_csv({path}, index_col='column of ids')",
    ".tsv": "pandas.read_csv({path}, sep='\\t', index_col='column of ids')",
    ".txt": "numpy.loadtxt({path})",
    ".parquet": "pandas.read_parquet({path})",
    ".feather": "pandas.read_feather({path})",
    ".xlsx": "pandas.read_excel({path}, index_col='column of ids')",
}
_OPENED_BY |= {".hdf5": _OPENED_BY[".h5"], ".hdf": _OPENED_BY[".h5"]}


def _read_file(path: Path) -> Any:
    """Return the array in an .npy file, or the arrays in an .npz or .pt file."""
    kind = path.suffix.lower()
    if kind not in (".npy", ".npz", ".pt", ".pth"):
        raise ValueError(f"from_arrays reads .npy, .npz and .pt files; got {path}. {_how_to_open(path)}")
    try:
        if kind == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        if kind == ".npz":
            zipfile.ZipFile(path).close()  # np.load would leave a damaged file open
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        if objects := _objects_of(str(error)):
            raise ValueError(
                f"The file {path} contains {objects} and not only arrays, and to read that could run code, so it was"
                f" not read. {_how_to_save(kind)}"
            ) from error
        raise DamagedFile(
            f"The file {path} is damaged, or contains something other than arrays, and was not read ({_reason(error)})."
        ) from error


def _objects_of(message: str) -> str:
    """Return what a file contains that NumPy or torch refused to unpickle; "" if it was refused for another reason."""
    if found := re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|global ([\w.]+) was not", message):
        return f"objects of {next(filter(None, found.groups()))}"
    return "Python objects" if re.search("allow_pickle|Object arrays|Python objects", message) else ""


def _reason(error: Exception) -> str:
    """Return why a file was not read, without the advice of torch to read what may run code."""
    found = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    return found[1] if found else as_clause(str(error).splitlines()[0])


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
    if path.suffix.lower() == ".safetensors":
        return f"Open it and pass its arrays: from_arrays({code})."
    return f"Open it and pass the array: from_arrays({{'model/layer': {code}}})."
