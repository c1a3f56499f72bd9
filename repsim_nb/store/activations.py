"""Activations as a mapping from their keys: `Activations`, in memory or on disk, and `from_arrays` for those recorded elsewhere."""

from __future__ import annotations

import html
import math
import mmap
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DamagedFile, MissingRecording, listed, unknown
from ..escaping import without_formulas
from ..fields import chosen
from ..ids import checked_ids, how_ids_differ, same_ids
from .arrayfile import ArrayFile
from .keys import Key, resolve


class Activations(Mapping[Key, Any]):
    """Recorded activations: Key -> array (n, p), models and layers in the order in which they were recorded.

    x["conv1"] or x["mnist-cnn-0/conv1"] works where exactly one key fits; `a | b` joins two.
    facts: {model: what else is known of it}, shown by `table`; of a model recorded at several steps, that on which all agree.
    ids: {key: the ids of its samples, (n,) strings or integers}, where they are known; what a store holds knows its own. If every token is
    a row there are none.
    no_logits: {key: why it cannot be compared as logits}, for outputs of models that are not (samples, classes).
    """

    _ids: Mapping[Key, np.ndarray] = MappingProxyType({})  # a store's are in its files
    _no_logits: Mapping[Key, str] = MappingProxyType({})

    def __init__(
        self, arrays: Mapping[Key, Any], facts: Mapping[str, Mapping[str, Any]] | None = None, ids: Mapping[Key, Any] | None = None,
        no_logits: Mapping[Key, str] | None = None,
    ) -> None:  # fmt: skip
        self._arrays = dict(arrays)  # an array, or an ArrayFile that is opened when it is asked for
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}
        self._ids = _checked_ids(self._arrays, ids or {})
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
        entry = entries[resolve(key, entries)]
        return entry.open() if isinstance(entry, ArrayFile) else entry

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
    def no_logits(self) -> dict[Key, str]:
        """Why an output cannot be compared as logits, for every key for which that is known."""
        of_files = {key: entry.record.get("check", {}).get("no_logits", "") for key, entry in self._entries().items() if isinstance(entry, ArrayFile)}
        return {key: why for key, why in {**of_files, **self._no_logits}.items() if why}

    def where(self, **fields: Any) -> Activations:
        """Those whose key has the given fields: a value, a pattern with * and ?, or a list of either; layer=-2 is each network's last but one.

        ValueError names the nearest values where nothing fits.
        """
        entries = self._entries()
        if not entries:
            raise ValueError(f"there is nothing to choose from: {self._emptiness()}")
        keep = chosen(list(entries), Key._fields, fields)
        return self.only(key for key, good in zip(entries, keep, strict=True) if good)

    def only(self, keys: Iterable[Key]) -> Activations:
        """The recordings with these keys, in this order."""
        entries = self._entries()
        kept = {key: entries[key] for key in (resolve(key, entries) for key in keys)}
        facts = {model: known for model, known in self.facts.items() if any(key.model == model for key in kept)}
        selected = Activations(kept, facts, no_logits={key: why for key, why in self._no_logits.items() if key in kept})
        selected._ids = {key: self._ids[key] for key in kept if key in self._ids}  # checked before
        return selected

    def table(self) -> pd.DataFrame:
        """A row a recording: the fields of its key, samples n, features p, dtype, megabytes, and what is known of its model."""
        rows, facts = [], self.facts
        for key, entry in self._entries().items():
            shape, dtype = tuple(entry.shape), str(entry.dtype).removeprefix("torch.")
            size = math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize) / 1e6
            known = {f: v for f, v in facts.get(key.model, {}).items() if f not in key._fields and not isinstance(v, (list, dict))}
            rows.append({**key._asdict(), "n": shape[0], "p": math.prod(shape[1:]), "dtype": dtype, "MB": round(size, 3), **known})
        return pd.DataFrame(rows)

    def __or__(self, other: Mapping[Key, Any]) -> Activations:
        """Both together; ValueError where they hold different arrays under one key."""
        ours, more = self._entries(), other._entries() if isinstance(other, Activations) else dict(other.items())
        for key in ours.keys() & more.keys():
            if not _same(ours[key], more[key]):
                raise ValueError(f"both hold '{Key(*key)}', and not the same arrays, so that joined one would be lost: record one of them under another name or step")
        ids = {**getattr(other, "_ids", {}), **self._ids}
        for key in ours.keys() & more.keys():
            mine, its = self._ids_of(key, ours[key]), other._ids_of(key, more[key]) if isinstance(other, Activations) else None
            if mine is not None and its is not None and not same_ids(mine, its):
                how = how_ids_differ(mine, its)[0]
                raise ValueError(f"both hold '{Key(*key)}', with other ids: {how}. Record one of them under another name or step")
            if mine is not None or its is not None:
                ids[key] = its if mine is None else mine
        both = Activations({**ours, **more}, agreed([*self.facts.items(), *getattr(other, "facts", {}).items()]), no_logits={**getattr(other, "_no_logits", {}), **self._no_logits})
        both._ids = ids
        return both

    def __repr__(self) -> str:
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {listed(models, 4)})"

    def _repr_html_(self) -> str:
        return without_formulas(f"<p>{html.escape(repr(self))}</p>{self.table().iloc[:, :9].to_html(index=False, max_rows=20)}")


def from_arrays(arrays: Mapping[str | Key, Any] | str | Path, *, ids: Any = None, **facts: Mapping[str, Any]) -> Activations:
    """Activations that were recorded elsewhere.

    arrays: {"model/layer": array or path}, or the path of an .npz or a .pt file with such names. Paths to .npy are memory-mapped;
    .pt files are read with weights_only. A name without "/" is a layer of the model "model". Arrays are (n, ...).
    ids: the names of the samples, unique strings or integers (n,), the same for all arrays; or {name of an array: its ids}. By them
    `compare` sees that rows belong to other samples.  facts: what else is known of a model, under its name.
    Errors: ValueError for arrays without samples, and for ids that are not one per sample, or not unique.
    """
    if isinstance(arrays, (str, Path)):
        arrays = _read_file(Path(arrays))
        if not isinstance(arrays, Mapping):
            raise ValueError("a single array has no name: pass {'model/layer': path} instead of the path alone")
    if not arrays:
        raise ValueError("there are no arrays in it: pass {'model/layer': array, ...}")
    if isinstance(ids, Mapping) and (strange := [name for name in ids if name not in arrays]):
        raise unknown("array that has ids", strange[0], arrays, "ids are one per sample, for all arrays, or {name of an array: its ids}.")
    found, known = {}, {}
    for name, value in arrays.items():
        model, slash, layer = name.rpartition("/") if isinstance(name, str) else ("", "", "")
        key = Key(*name) if isinstance(name, tuple) else Key(model if slash else "model", layer)
        value = _read_file(Path(value)) if isinstance(value, (str, Path)) else value
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            value = np.asarray(value)
        if value.ndim < 2:
            raise ValueError(f"activations are (samples, ...); '{key}' has shape {tuple(value.shape)}")
        found[key] = value
        known[key] = ids.get(name) if isinstance(ids, Mapping) else ids
    return Activations(found, facts, known)


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
                done[id(its), n] = checked_ids(its, n)
            except ValueError as error:
                raise ValueError(f"'{Key(*key)}': {error}") from error
        found[key] = done[id(its), n]
    return found


def agreed(known: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """(model, facts), several times for a model -> its facts, without those that differ, as the accuracy does from step to step."""
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
    return all(np.array_equal(_host(a[row : row + some]), _host(b[row : row + some]), equal_nan="int" not in str(a.dtype)) for row in range(0, len(a), some))


def _file(array: Any) -> Path | None:
    """Where all of an array lies, if it does in a file."""
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
        raise DamagedFile(f"the file {path} is damaged, or holds something other than arrays, and was not read ({error})") from error
