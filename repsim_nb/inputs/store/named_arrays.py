"""Named arrays: the keys, ids and groups of arrays that were recorded elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.inputs.formats import LazyArray, NamedArrays, orient, read_file
from repsim_nb.support.containers import one_feature, to_array, type_name
from repsim_nb.support.errors import add_context, unknown_name
from repsim_nb.support.ids import Names, check_ids, check_order, how_ids_differ, names_of, same_ids
from repsim_nb.support.labels import Key
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import is_integer


def read_named_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path, ids: Any = None, groups: Any = None, samples: Any = None
) -> NamedArrays:
    """Return the arrays by their keys, with the ids of their samples, the groups of their rows, and facts in files.

    The parameters are those of `from_arrays`. Ids and groups are not checked, and are None if there are none.
    """
    if isinstance(arrays, (str, Path)):
        read = read_file(Path(arrays), samples, ids)
        if not isinstance(read, NamedArrays):
            raise ValueError("A single array has no name. Pass {'model/layer': path} in place of the path.")
    else:
        read = _read_files(arrays, ids, samples)
    arrays = read.arrays
    for what, given, hint in (
        ("ids", ids, "ids has one id per sample, for all arrays, or is {name of an array: its ids}."),
        ("groups", groups, "groups has one label per row, for all arrays, or is {name of an array: its labels}."),
    ):
        names_here = [*arrays, *(str(name) for name in arrays if isinstance(name, Key))]
        if isinstance(given, Mapping) and (strange := [name for name in given if name not in names_here]):
            raise unknown_name(f"array that has {what}", strange[0], names_here, hint)
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
        own = _labels_of(name, ids, read.ids)
        with add_context(f"'{key}'", ValueError, MemoryError):
            array, index = (value, None) if isinstance(value, LazyArray) else (to_array(value), names_of(value))
        if array.ndim < 2:
            hint = f" Use {one_feature(value)} for one feature." if array.ndim else ""
            raise ValueError(
                f"Arrays must have the shape (samples, features, ...); '{key}' has shape {tuple(array.shape)}.{hint}"
            )
        found[key] = array
        known[key] = _choose_ids(key, own, index, array.shape[0])
        labels = _labels_of(name, groups, read.groups)
        with add_context(f"groups of '{key}'", ValueError):
            check_order(value, labels)
        grouped[key] = groups_of(array) if labels is None else labels
    return NamedArrays(found, known, grouped, read.facts)


def _labels_of(name: Any, given: Any, read: Mapping[Any, Any]) -> Any:
    """Return the ids or groups that the user gave for an array, else those in its file."""
    own = given.get(name, given.get(str(name))) if isinstance(given, Mapping) else given
    chosen = isinstance(given, str) and name in read  # text is the name of labels in the file
    return read.get(name) if own is None or chosen else own


def _read_files(arrays: Any, ids: Any, samples: Any) -> NamedArrays:
    """Return arrays under their names, those in files as well; a file with several arrays is a model."""
    if not isinstance(arrays, (Mapping, list, tuple)):
        raise ValueError(
            "A single array has no name. Pass {'model/layer': x}, or a list of layers, [x0, x1]; got a"
            f" {type_name(arrays)}."
        )
    given = dict(arrays.items() if isinstance(arrays, Mapping) else enumerate(arrays))
    if not given:
        raise ValueError(
            "from_arrays needs at least one array, {'model/layer': array, ...}; there are no arrays in it."
        )
    whole = NamedArrays({}, {}, {}, {})
    for name, value in given.items():
        axis = samples.get(name) if isinstance(samples, Mapping) else samples
        if not isinstance(value, (str, Path)):
            whole.arrays[name] = orient(value, axis, repr(name))
            continue
        read = read_file(Path(value), axis, None if isinstance(ids, Mapping) and name not in ids else ids)
        if not isinstance(read, NamedArrays):
            whole.arrays[name] = read
            continue
        if not isinstance(name, str):
            raise ValueError(f"A file with several arrays is a model, {{'name of the model': path}}; got {name!r}.")
        one = len(read.arrays) == 1 and "/" in name
        for inside in read.arrays:
            below = inside._replace(model=f"{name}/{inside.model}") if isinstance(inside, Key) else f"{name}/{inside}"
            place = name if one else below
            whole.arrays[place] = read.arrays[inside]
            whole.groups[place] = read.groups.get(inside)
            if inside in read.ids:
                whole.ids[place] = read.ids[inside]
        whole.facts.update({f"{name}/{model}": known for model, known in read.facts.items()})
    return whole


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
        with add_context(f"'{key}'", ValueError):
            ids = check_ids(given, n)
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
