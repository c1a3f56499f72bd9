"""Activations as a mapping from their keys: `Activations`, in memory or on disk, and `from_arrays` for those recorded
elsewhere.
"""

from __future__ import annotations

import html
import math
import mmap
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.containers import is_array, to_array, type_name
from repsim_nb.support.errors import DamagedFile, MissingRecording, join_names, unknown_name
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.ids import Names, check_ids, check_order, how_ids_differ, names_of, same_ids
from repsim_nb.support.labels import Key, resolve, select
from repsim_nb.support.row_groups import attach_groups, groups_of, how_groups_differ, same_groups, stored_groups
from repsim_nb.support.validation import check_labels, is_integer

from .arrayfile import ArrayFile


class Activations(Mapping[Key, Any]):
    """Recorded activations: Key -> array (n, p), models and layers in the order in which they were recorded.

    x["conv1"] or x["mnist-cnn-0/conv1"] works where exactly one key fits; `a | b` joins two.
    facts: {model: what else is known of it}, shown by `table`; of a model recorded at several steps, that on which all
    agree.
    ids: {key: the ids of its samples, (n,) strings or integers}, where they are known; what a store holds knows its
    own. If every token is a row there are none.
    groups: {key: the group of each row, (rows,) strings or integers}, where rows depend on each other: of a token, the
    sample that it is from.
    The arrays carry them: x[key].groups.
    no_logits: {key: why it cannot be compared as logits}, for outputs of models that are not (samples, classes).
    """

    _ids: Mapping[Key, np.ndarray] = MappingProxyType({})  # a store's are in its files
    _groups: Mapping[Key, np.ndarray] = MappingProxyType({})
    _no_logits: Mapping[Key, str] = MappingProxyType({})

    def __init__(
        self,
        arrays: Mapping[Key, Any],
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        ids: Mapping[Key, Any] | None = None,
        no_logits: Mapping[Key, str] | None = None,
        groups: Mapping[Key, Any] | None = None,
    ) -> None:
        self._arrays = dict(arrays)  # an array, or an ArrayFile that is opened when it is asked for
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}
        self._ids = _checked_ids(self._arrays, ids or {})
        self._groups = _checked_groups(self._arrays, groups or {})
        self._no_logits = {key: why for key, why in (no_logits or {}).items() if why}

    def _entries(self) -> dict[Key, Any]:
        return self._arrays

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, key: object) -> bool:
        try:
            return bool(resolve(key, self._entries()))
        except KeyError:
            return False

    def __getitem__(self, key: Key | str) -> Any:
        entries = self._entries()
        if not entries:
            raise MissingRecording(f"there is no recording '{key}': {self._emptiness()}")
        key = resolve(key, entries)
        array = entries[key].open() if isinstance(entries[key], ArrayFile) else entries[key]
        return attach_groups(array, self._groups.get(key))

    __eq__ = object.__eq__  # a mapping's would compare arrays
    __hash__ = object.__hash__

    def _emptiness(self) -> str:
        return "nothing was recorded"

    @property
    def ids(self) -> dict[Key, np.ndarray]:
        """The ids of the samples, for every key for which they are known."""
        return {key: ids for key, entry in self._entries().items() if (ids := self._ids_of(key, entry)) is not None}

    def _ids_of(self, key: Key, entry: Any) -> np.ndarray | None:
        return self._ids[key] if key in self._ids else entry.ids() if isinstance(entry, ArrayFile) else None

    @property
    def groups(self) -> dict[Key, np.ndarray]:
        """The group of each row, for every key whose rows have groups."""
        return {
            key: groups for key, entry in self._entries().items() if (groups := self._groups_of(key, entry)) is not None
        }

    def _groups_of(self, key: Key, entry: Any) -> np.ndarray | None:
        return (
            self._groups[key]
            if key in self._groups
            else entry.groups()
            if isinstance(entry, ArrayFile)
            else groups_of(entry)
        )

    @property
    def no_logits(self) -> dict[Key, str]:
        """Why an output cannot be compared as logits, for every key for which that is known."""
        of_files = {
            key: entry.record.get("check", {}).get("no_logits", "")
            for key, entry in self._entries().items()
            if isinstance(entry, ArrayFile)
        }
        return {key: why for key, why in {**of_files, **self._no_logits}.items() if why}

    def where(self, **fields: Any) -> Activations:
        """Those whose key has the given fields: a value, a pattern with * and ?, or a list of either; layer=-2 is each
        network's last but one.

        ValueError names the nearest values where nothing fits.
        """
        entries = self._entries()
        if not entries:
            raise ValueError(f"there is nothing to choose from: {self._emptiness()}")
        keep = select(list(entries), Key._fields, fields)
        return self.only(key for key, good in zip(entries, keep, strict=True) if good)

    def only(self, keys: Iterable[Key]) -> Activations:
        """The recordings with these keys, in this order."""
        entries = self._entries()
        kept = {key: entries[key] for key in (resolve(key, entries) for key in keys)}
        facts = {model: known for model, known in self.facts.items() if any(key.model == model for key in kept)}
        selected = Activations(kept, facts, no_logits={key: why for key, why in self._no_logits.items() if key in kept})
        selected._ids = {key: self._ids[key] for key in kept if key in self._ids}  # checked before
        selected._groups = {key: self._groups[key] for key in kept if key in self._groups}
        return selected

    def table(self) -> pd.DataFrame:
        """A row a recording: the fields of its key, samples n, features p, dtype, megabytes, and what is known of its
        model.
        """
        rows, facts = [], self.facts
        for key, entry in self._entries().items():
            shape, dtype = tuple(entry.shape), str(entry.dtype).removeprefix("torch.")
            size = math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize) / 1e6
            known = {
                f: v
                for f, v in facts.get(key.model, {}).items()
                if f not in key._fields and not isinstance(v, (list, dict))
            }
            rows.append(
                {
                    **key._asdict(),
                    "n": shape[0],
                    "p": math.prod(shape[1:]),
                    "dtype": dtype,
                    "MB": round(size, 3),
                    **known,
                }
            )
        return pd.DataFrame(rows)

    def __or__(self, other: Mapping[Key, Any]) -> Activations:
        """Both together; ValueError where they hold different arrays under one key."""
        ours, more = self._entries(), other._entries() if isinstance(other, Activations) else dict(other.items())
        for key in ours.keys() & more.keys():
            if not _same(ours[key], more[key]):
                raise ValueError(
                    f"both hold '{Key(*key)}', and not the same arrays, so that joined one would be lost: record one of"
                    " them under another name or step"
                )
        ids = {**getattr(other, "_ids", {}), **self._ids}
        for key in ours.keys() & more.keys():
            mine, its = (
                self._ids_of(key, ours[key]),
                other._ids_of(key, more[key]) if isinstance(other, Activations) else None,
            )
            if mine is not None and its is not None and not same_ids(mine, its):
                how = how_ids_differ(mine, its)[0]
                raise ValueError(
                    f"both hold '{Key(*key)}', with other ids: {how}. Record one of them under another name or step"
                )
            if mine is not None or its is not None:
                ids[key] = its if mine is None else mine
        groups = {**getattr(other, "_groups", {}), **self._groups}
        for key in ours.keys() & more.keys():
            mine, its = (
                self._groups_of(key, ours[key]),
                other._groups_of(key, more[key]) if isinstance(other, Activations) else groups_of(more[key]),
            )
            if mine is not None and its is not None and not same_groups(mine, its):
                raise ValueError(
                    f"both hold '{Key(*key)}', with other groups: {how_groups_differ(mine, its)}. Record one of them"
                    " under another name or step"
                )
            if mine is not None or its is not None:
                groups[key] = its if mine is None else mine
        both = Activations(
            {**ours, **more},
            agreed([*self.facts.items(), *getattr(other, "facts", {}).items()]),
            no_logits={**getattr(other, "_no_logits", {}), **self._no_logits},
        )
        both._ids = ids
        both._groups = groups
        return both

    def __repr__(self) -> str:
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {join_names(models, 4)})"

    def _repr_html_(self) -> str:
        return without_formulas(
            f"<p>{html.escape(repr(self))}</p>{self.table().iloc[:, :9].to_html(index=False, max_rows=20)}"
        )


def from_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path,
    *,
    ids: Any = None,
    groups: Any = None,
    **facts: Mapping[str, Any],
) -> Activations:
    """Activations that were recorded elsewhere.

    arrays: {"model/layer": array or path}, or the path of an .npz or a .pt file with such names. Paths to .npy are
    memory-mapped; .pt files are read with weights_only. A name without "/", or a number, is a layer of the model
    "model"; a list or tuple of arrays are its layers "0", "1", .... Arrays are (n, ...): NumPy's, tensors, frames,
    sparse ones, of xarray, HDF5 or Zarr. Frames and DataArrays bring their ids.
    ids: the names of the samples, unique strings or integers (n,), the same for all arrays; or {name of an array: its
    ids}. By them `compare` sees that rows belong to other samples.
    groups: which rows depend on each other, one label a row (the sentence of a token, the film of a frame, the stimulus
    of a repeat), the same for all arrays; or {name of an array: its labels}. Labels that are neither text nor integers
    (dates, fractions, several types) are kept as text. The functions of `inference` use them.  facts: what else is
    known of a model, under its name.
    Errors: ValueError for arrays without samples, for two names of one layer, and for ids that are not one per sample,
    or not unique.
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
    if isinstance(ids, Mapping) and (strange := [name for name in ids if name not in arrays]):
        raise unknown_name(
            "array that has ids",
            strange[0],
            arrays,
            "ids are one per sample, for all arrays, or {name of an array: its ids}.",
        )
    if isinstance(groups, Mapping) and (strange := [name for name in groups if name not in arrays]):
        raise unknown_name(
            "array that has groups",
            strange[0],
            arrays,
            "groups has one label a row, for all arrays, or {name of an array: its labels}.",
        )
    found, known, grouped, names = {}, {}, {}, {}
    for name, value in arrays.items():
        key = _key_of(name)
        if key in found:
            raise ValueError(
                f"two arrays would be the layer '{key.layer}' of the model '{key.model}', so that one would be lost:"
                f" {_said(names[key])} and {_said(name)}. Give one of them another name"
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
        known[key] = _given_or_own(key, own, index, array.shape[0])
        labels = groups.get(name) if isinstance(groups, Mapping) else groups
        try:
            check_order(value, labels)
        except ValueError as error:
            raise ValueError(f"groups of '{key}': {error}") from error
        grouped[key] = groups_of(array) if labels is None else labels
    return Activations(found, facts, known, groups=grouped)


def _said(name: Any) -> str:
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


def _given_or_own(key: Key, given: Any, own: Names | None, n: int) -> Any:
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


def _checked_ids(arrays: Mapping[Key, Any], ids: Mapping[Key, Any]) -> dict[Key, np.ndarray]:
    """The ids of those of these arrays whose rows are samples. What is the same object for several is checked once."""
    done: dict[tuple[int, int], np.ndarray] = {}
    found = {}
    for key, its in ids.items():
        if its is None or key not in arrays or Key(*key).by_token:
            continue
        n = arrays[key].shape[0]
        if (id(its), n) not in done:
            try:
                done[id(its), n] = check_ids(its, n)
            except ValueError as error:
                raise ValueError(f"'{Key(*key)}': {error}") from error
        found[key] = done[id(its), n]
    return found


def _checked_groups(arrays: Mapping[Key, Any], groups: Mapping[Key, Any]) -> dict[Key, np.ndarray]:
    """The groups of the rows of these arrays.

    Equal ones are one object, so that those of many layers are held against each other at once.
    """
    done: dict[tuple[int, int], np.ndarray] = {}
    found = {}
    for key, its in groups.items():
        if its is None or key not in arrays:
            continue
        n = arrays[key].shape[0]
        if (id(its), n) not in done:
            try:
                labels = stored_groups(check_labels(its, n, "groups"))
            except ValueError as error:
                raise ValueError(f"'{Key(*key)}': {error}") from error
            done[id(its), n] = next(
                (one for one in done.values() if one.dtype.kind == labels.dtype.kind and np.array_equal(one, labels)),
                labels,
            )
        found[key] = done[id(its), n]
    return found


def agreed(known: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """(model, facts), several times for a model -> its facts, without those that differ, as the accuracy does from step
    to step.
    """
    found: dict[str, dict[str, Any]] = {}
    for model, facts in known:
        before = found.get(model, facts)
        found[model] = {fact: value for fact, value in before.items() if fact in facts and _equal(value, facts[fact])}
    return found


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    return same if isinstance(same, bool) else bool(np.array_equal(a, b))


def _same(a: Any, b: Any) -> bool:
    """One array, one file, or equal values."""
    if a is b or (_file(a) is not None and _file(a) == _file(b)):
        return True
    if tuple(a.shape) != tuple(b.shape) or str(a.dtype).removeprefix("torch.") != str(b.dtype).removeprefix("torch."):
        return False
    a, b = (array.open() if isinstance(array, ArrayFile) else array for array in (a, b))
    some = max(1, 2**22 // max(1, math.prod(a.shape[1:])))
    return all(
        np.array_equal(_host(a[row : row + some]), _host(b[row : row + some]), equal_nan="int" not in str(a.dtype))
        for row in range(0, len(a), some)
    )


def _file(array: Any) -> Path | None:
    """Where all of an array lies, if it does in a file."""
    if (
        isinstance(array, np.memmap)
        and isinstance(array.base, np.memmap)
        and (array.shape, array.strides) == (array.base.shape, array.base.strides)
    ):
        array = array.base  # all of it, as a view that carries groups
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename:
        return Path(array.filename).resolve()
    return array.path.resolve() if isinstance(array, ArrayFile) else None


def _host(array: Any) -> np.ndarray:
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if "bfloat16" in str(array.dtype) else array
    return np.asarray(array)


def _read_file(path: Path) -> Any:
    if path.suffix not in (".npy", ".npz", ".pt", ".pth"):
        raise ValueError(f"activations are read from .npy, .npz and .pt files; got {path}")
    try:
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as whole, np.load(whole.fp, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DamagedFile(
            f"the file {path} is damaged, or holds something other than arrays, and was not read ({error})"
        ) from error
