"""`from_arrays`: activations that were recorded elsewhere."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.containers import is_array, to_array, type_name
from repsim_nb.support.errors import DamagedFile, unknown_name
from repsim_nb.support.ids import Names, check_ids, check_order, how_ids_differ, names_of, same_ids
from repsim_nb.support.labels import Key
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import is_integer

from .activations import Activations


def from_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path,
    *,
    ids: Any = None,
    groups: Any = None,
    **facts: Mapping[str, Any],
) -> Activations:
    """Make Activations of arrays that were recorded elsewhere.

    Parameters
    ----------
    arrays : {"model/layer": array or path}, list of arrays, or path
        Arrays are (n, ...): NumPy's, tensors, frames, sparse ones, of xarray, HDF5 or Zarr. A path is that of an .npz
        or a .pt file with such names; paths to .npy are memory-mapped, .pt files are read with weights_only. A name
        without "/", or a number, is a layer of the model "model"; a list or tuple of arrays are its layers "0", "1",
        ....
    ids : array of str or int (n,), or {name of an array: its ids}, optional
        The unique names of the samples: `compare` sees by them that rows belong to other samples. Frames and DataArrays
        bring their own.
    groups : array (n,), or {name of an array: its labels}, optional
        Which rows depend on each other, one label a row (the sentence of a token, the film of a frame, the stimulus of
        a repeat); the functions of `inference` use them. Labels that are neither text nor integers (dates, fractions,
        several types) become text.
    **facts : {field: value}
        What else is known of a model, under its name.

    Returns
    -------
    Activations

    Raises
    ------
    ValueError
        For arrays without samples, for two names of one layer, and for ids that are not unique or not one for each
        sample.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = rs.from_arrays({"mine/layer1": np.eye(5), "mine/layer2": np.ones((5, 2))}, ids=list("abcde"))
    >>> x
    Activations(2 recordings of 1 models: 'mine')
    >>> x["layer2"].shape
    (5, 2)
    """
    if isinstance(arrays, (str, Path)):
        arrays = _read_file(Path(arrays))
        if not isinstance(arrays, (Mapping, list, tuple)):
            raise ValueError("a single array has no name: pass {'model/layer': path} instead of the path alone")
    if not isinstance(arrays, (Mapping, list, tuple)):
        raise ValueError(
            "a single array has no name: pass {'model/layer': x}, or a list of layers, [x0, x1]; got a"
            f" {type_name(arrays)}"
        )
    arrays = dict(arrays.items() if isinstance(arrays, Mapping) else enumerate(arrays))
    if not arrays:
        raise ValueError("there are no arrays in it: pass {'model/layer': array, ...}")
    for what, given, hint in (
        ("ids", ids, "ids are one per sample, for all arrays, or {name of an array: its ids}."),
        ("groups", groups, "groups has one label a row, for all arrays, or {name of an array: its labels}."),
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
                f"two arrays would be the layer '{key.layer}' of the model '{key.model}', so that one would be lost:"
                f" {_show_name(names[key])} and {_show_name(name)}. Give one of them another name"
            )
        names[key] = name
        value = _read_file(Path(value)) if isinstance(value, (str, Path)) else value
        own = ids.get(name) if isinstance(ids, Mapping) else ids
        try:
            array, index = to_array(value), names_of(value) if not is_array(value) else None
        except (ValueError, MemoryError) as error:
            raise type(error)(f"'{key}': {error}") from error
        if array.ndim < 2:
            raise ValueError(f"activations are (samples, ...); '{key}' has shape {tuple(array.shape)}")
        found[key] = array
        known[key] = _choose_ids(key, own, index, array.shape[0])
        labels = groups.get(name) if isinstance(groups, Mapping) else groups
        try:
            check_order(value, labels)
        except ValueError as error:
            raise ValueError(f"groups of '{key}': {error}") from error
        grouped[key] = groups_of(array) if labels is None else labels
    return Activations(found, facts, known, groups=grouped)


def _show_name(name: Any) -> str:
    return repr(name if not isinstance(name, Key) else str(name))


def _key_of(name: Any) -> Key:
    """The key that a name of `from_arrays` means: text "model/layer", the number of a layer, or a tuple of a key's
    fields.
    """
    if isinstance(name, tuple):
        if not 2 <= len(name) <= len(Key._fields):
            raise ValueError(
                f"a tuple as the name of an array has the fields of a key, {Key._fields}, the first two at least; got"
                f" {tuple(name)!r}"
            )
        model, layer, *rest = name
        return Key(str(model) if is_integer(model) else model, str(layer) if is_integer(layer) else layer, *rest)
    if is_integer(name):
        return Key("model", str(name))
    if not isinstance(name, str):
        raise ValueError(
            f"an array is named by text, 'model/layer', by the number of a layer, or by a Key; got {name!r}, which is"
            f" {type(name).__name__}"
        )
    model, slash, layer = name.rpartition("/")
    return Key(model if slash else "model", layer)


def _choose_ids(key: Key, given: Any, own: Names | None, n: int) -> Any:
    """The ids of an array: those given, else those of its index.

    ValueError where both name the same samples in another order.
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
                f"'{key}' has an index, and ids= names other rows: {how_ids_differ(own.names, ids)[0]}. Leave ids= out,"
                " or pass x.to_numpy()"
            )
    return given


def _read_file(path: Path) -> Any:
    if path.suffix not in (".npy", ".npz", ".pt", ".pth"):
        raise ValueError(f"activations are read from .npy, .npz and .pt files; got {path}")
    try:
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        if path.suffix == ".npz":
            zipfile.ZipFile(path).close()  # np.load would leave a damaged file open
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DamagedFile(
            f"the file {path} is damaged, or holds something other than arrays, and was not read ({error})"
        ) from error
