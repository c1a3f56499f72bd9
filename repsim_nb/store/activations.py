"""Activations as a mapping from their keys: `Activations`, in memory or on disk, and `from_arrays` for those recorded elsewhere."""

from __future__ import annotations

import html
import math
import mmap
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DamagedFile, MissingRecording, listed
from ..fields import chosen
from .arrayfile import ArrayFile
from .keys import Key, resolve


class Activations(Mapping[Key, Any]):
    """Recorded activations: Key -> array (n, p), models and layers in the order in which they were recorded.

    x["conv1"] or x["mnist-cnn-0/conv1"] works where exactly one key fits; `a | b` joins two.
    facts: {model: what else is known of it}, shown by `table`; of a model recorded at several steps, that on which all agree.
    """

    def __init__(self, arrays: Mapping[Key, Any], facts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._arrays = dict(arrays)  # an array, or an ArrayFile that is opened when it is asked for
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}

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

    def where(self, **fields: Any) -> Activations:
        """Those whose key has the given fields: a value, a pattern with * and ?, or a list of either; layer=-2 is each network's last but one.

        ValueError names the nearest values where nothing fits.
        """
        entries, facts = self._entries(), self.facts
        if not entries:
            raise ValueError(f"there is nothing to choose from: {self._emptiness()}")
        keep = chosen(list(entries), Key._fields, fields)
        kept = {key: entry for (key, entry), good in zip(entries.items(), keep, strict=True) if good}
        return Activations(kept, {m: known for m, known in facts.items() if any(key.model == m for key in kept)})

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
        return Activations({**ours, **more}, agreed([*self.facts.items(), *getattr(other, "facts", {}).items()]))

    def __repr__(self) -> str:
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {listed(models, 4)})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.table().iloc[:, :9].to_html(index=False, max_rows=20)}"


def from_arrays(arrays: Mapping[str | Key, Any] | str | Path, **facts: Mapping[str, Any]) -> Activations:
    """Activations that were recorded elsewhere.

    arrays: {"model/layer": array or path}, or the path of an .npz or a .pt file with such names. Paths to .npy are memory-mapped;
    .pt files are read with weights_only. A name without "/" is a layer of the model "model". Arrays are (n, ...).
    """
    if isinstance(arrays, (str, Path)):
        arrays = _read_file(Path(arrays))
        if not isinstance(arrays, Mapping):
            raise ValueError("a single array has no name: pass {'model/layer': path} instead of the path alone")
    if not arrays:
        raise ValueError("there are no arrays in it: pass {'model/layer': array, ...}")
    found = {}
    for name, value in arrays.items():
        model, slash, layer = name.rpartition("/") if isinstance(name, str) else ("", "", "")
        key = Key(*name) if isinstance(name, tuple) else Key(model if slash else "model", layer)
        value = _read_file(Path(value)) if isinstance(value, (str, Path)) else value
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            value = np.asarray(value)
        if value.ndim < 2:
            raise ValueError(f"activations are (samples, ...); '{key}' has shape {tuple(value.shape)}")
        found[key] = value
    return Activations(found, facts)


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
