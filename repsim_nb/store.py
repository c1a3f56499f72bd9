"""Activations and their addresses: `Key`, the mapping `Activations` (in memory), and `Store` (on disk, memory-mapped).

On disk a recording is two files, STEM.npy and STEM.json. The second is written last and by rename, so a recording without it does
not exist for a reader. While a recording runs its rows are in STEM.part.npy, and STEM.part.json says how many of them are good.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .errors import MissingRecording, listed, unknown
from .files import replacing


class Key(NamedTuple):
    """The address of a recording: which model, which layer, on which data, at which step of training, pooled how."""

    model: str
    layer: str
    dataset: str = ""
    step: int | str = 0
    pool: str = "flatten"

    def __str__(self) -> str:
        rest = [str(value) for value, usual in zip(self[2:], ("", 0, "flatten"), strict=True) if value != usual]
        return f"{self.model}/{self.layer}" + (f" ({', '.join(rest)})" if rest else "")


class Activations(Mapping[Key, Any]):
    """Recorded activations: Key -> array (n, p), models and layers in the order in which they were recorded.

    x["conv1"] or x["mnist-cnn-0/conv1"] works where exactly one key fits; `a | b` joins two.
    facts: {model: what else is known of it}, shown by `table`.
    """

    def __init__(self, arrays: Mapping[Key, Any], facts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._arrays = dict(arrays)
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}

    def _keys(self) -> Iterable[Key]:
        return self._arrays

    def _open(self, key: Key) -> Any:
        return self._arrays[key]

    def _shape(self, key: Key) -> tuple[tuple[int, ...], str]:
        array = self._arrays[key]
        return tuple(array.shape), str(array.dtype)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys())

    def __len__(self) -> int:
        return sum(1 for _ in self._keys())

    def __getitem__(self, key: Key | str) -> Any:
        return self._open(self._resolve(key))

    def _resolve(self, key: Key | str) -> Key:
        keys = list(self._keys())
        if isinstance(key, tuple):
            if Key(*key) in keys:
                return Key(*key)
            raise MissingRecording(f"no recording has the key {Key(*key)}; there are {listed(keys)}")
        fits = [k for k in keys if key in (k.layer, f"{k.model}/{k.layer}", str(k))]
        if len(fits) == 1:
            return fits[0]
        if not fits:
            raise MissingRecording(str(unknown("recording", key, dict.fromkeys([*(k.layer for k in keys), *(str(k) for k in keys)]))))
        raise MissingRecording(f"'{key}' fits {len(fits)} recordings: {listed(fits)}. Say which: x['model/layer'] or x.where(model=...)")

    def where(self, **fields: Any) -> Activations:
        """Those whose key has the given fields: a value, a pattern with * and ?, or a list of either.

        ValueError names the nearest values where nothing fits.
        """
        keys = matching(list(self._keys()), fields)
        models = {key.model for key in keys}
        return Activations({key: self._open(key) for key in keys}, {m: known for m, known in self.facts.items() if m in models})

    def table(self) -> pd.DataFrame:
        """A row a recording: the fields of its key, samples n, features p, dtype, megabytes, and what is known of its model."""
        rows = []
        for key in self._keys():
            shape, dtype = self._shape(key)
            size = int(np.prod(shape)) * np.dtype(dtype.removeprefix("torch.")).itemsize / 1e6
            known = {f: v for f, v in self.facts.get(key.model, {}).items() if f not in key._fields and not isinstance(v, (list, dict))}
            rows.append({**key._asdict(), "n": shape[0], "p": int(np.prod(shape[1:])), "dtype": dtype, "MB": round(size, 3), **known})
        return pd.DataFrame(rows)

    def __or__(self, other: Mapping[Key, Any]) -> Activations:
        both = {**{k: self._open(k) for k in self._keys()}, **dict(other.items())}
        return Activations(both, {**self.facts, **getattr(other, "facts", {})})

    def __repr__(self) -> str:
        keys = list(self._keys())
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {listed(models, 4)})"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.table().iloc[:, :9].to_html(index=False, max_rows=20)}"


def matching(keys: list[Key], fields: Mapping[str, Any]) -> list[Key]:
    """The keys whose fields have the given values (or fit the given patterns)."""
    for name, wanted in fields.items():
        if name not in Key._fields:
            raise unknown("field of a key", name, Key._fields)
        patterns = [wanted] if isinstance(wanted, (str, int)) else list(wanted)
        values = list(dict.fromkeys(getattr(key, name) for key in keys))
        for pattern in patterns:
            if not any(_fits(value, pattern) for value in values):
                raise unknown(name, pattern, values)
        keys = [key for key in keys if any(_fits(getattr(key, name), pattern) for pattern in patterns)]
        if not keys:
            raise ValueError(f"no recording has {', '.join(f'{f}={v!r}' for f, v in fields.items())}")
    return keys


def _fits(value: Any, pattern: Any) -> bool:
    return value == pattern or (isinstance(pattern, str) and fnmatchcase(str(value), pattern))


def from_arrays(arrays: Mapping[str | Key, Any] | str | Path, **facts: Mapping[str, Any]) -> Activations:
    """Activations that were recorded elsewhere.

    arrays: {"model/layer": array or path}, or the path of an .npz or a .pt file with such names. Paths to .npy are memory-mapped;
    .pt files are read with weights_only. A name without "/" is a layer of the model "model". Arrays are (n, ...).
    """
    if isinstance(arrays, (str, Path)):
        arrays = _read_file(Path(arrays))
        if not isinstance(arrays, Mapping):
            raise ValueError("a single array has no name: pass {'model/layer': path} instead of the path alone")
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


def _read_file(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    if path.suffix in (".pt", ".pth"):
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    raise ValueError(f"activations are read from .npy, .npz and .pt files; got {path}")


# -- on disk ---------------------------------------------------------------------------------------------------------------

class DamagedFile(ValueError):
    """A file of a store is not what its record says; it was not read."""


class Store(Activations):
    """Activations in a folder: memory-mapped to read, written batch by batch, safe to interrupt or kill at any moment.

    An unfinished recording is invisible to readers; asked for again it goes on where it stopped.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"a store is a folder; {self.path} is a file")
        self.path.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, tuple[int, dict[str, Any] | None]] = {}

    @property
    def facts(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        return {key.model: record["facts"] for key, record in self._records().items()}

    def _records(self) -> dict[Key, dict[str, Any]]:
        """Every committed recording's sidecar, oldest first; each file is parsed once."""
        found = []
        for entry in os.scandir(self.path):
            if not entry.name.endswith(".json") or entry.name.endswith(".part.json") or entry.name.startswith("."):
                continue
            stamp = entry.stat().st_mtime_ns
            if self._seen.get(entry.name, (None,))[0] != stamp:
                self._seen[entry.name] = stamp, _read_sidecar(Path(entry.path))
            record = self._seen[entry.name][1]
            if record is not None:
                found.append(record)
        found.sort(key=lambda record: record["order"])
        return {Key(*record["key"]): record for record in found}

    def _keys(self) -> Iterable[Key]:
        return self._records()

    def _shape(self, key: Key) -> tuple[tuple[int, ...], str]:
        record = self._records()[key]
        return tuple(record["shape"]), record["dtype"]

    def _open(self, key: Key) -> np.ndarray:
        """The recording, memory-mapped; DamagedFile names a file that is gone, cut short or not as recorded."""
        record = self._records()[key]
        path = self.path / f"{_stem(key)}.npy"
        try:
            size = path.stat().st_size
            array = np.load(path, mmap_mode="r", allow_pickle=False) if size == record["bytes"] else None
        except (OSError, ValueError, EOFError) as error:
            raise DamagedFile(f"{path} ('{key}') cannot be read ({error}): record it again") from error
        if array is None or list(array.shape) != record["shape"] or str(array.dtype) != record["dtype"]:
            raise DamagedFile(f"{path} ('{key}') is damaged: {size} bytes where {record['bytes']} were written. It was not read; record it again")
        return array

    def holds(self, key: Key, origin: Mapping[str, str]) -> bool:
        """Is this very recording there, whole? ValueError if another one has its key.

        origin: fingerprints of what it is made from, {"weights": ..., "inputs": ...}.
        """
        record = self._records().get(key)
        if record is None:
            return False
        for what, print_ in origin.items():
            if record["origin"].get(what) != print_:
                raise ValueError(f"the store {self.path} already holds '{key}', recorded from other {what}. Give the {'model' if what == 'weights' else 'data'} "
                                 f"another name (or another step), or remove the old one: store.remove(model='{key.model}')")
        try:
            self._open(key)
        except DamagedFile as error:
            warnings.warn(str(error).replace("record it again", "it is recorded again"), stacklevel=3)
            self.remove(**key._asdict())
            return False
        return True

    def remove(self, **fields: Any) -> int:
        """Delete the recordings whose keys have these fields (as in `where`); their number."""
        keys = matching(list(self._records()), fields)
        for key in keys:
            for suffix in (".json", ".npy", ".part.json", ".part.npy"):  # the sidecar first: then it no longer exists for readers
                (self.path / f"{_stem(key)}{suffix}").unlink(missing_ok=True)
        return len(keys)

    def writer(self, key: Key, shape: tuple[int, ...], dtype: Any, origin: Mapping[str, str], facts: Mapping[str, Any]) -> Writer:
        """Begin, or take up again, the recording of an array of this shape."""
        return Writer(self.path / _stem(key), key, shape, np.dtype(dtype), dict(origin), dict(facts))

    def __repr__(self) -> str:
        return f"Store('{self.path}', {len(self)} recordings of {len(self.facts)} models)"


class Writer:
    """One recording being written. `rows` are there already; `write` adds; `commit` makes it visible, in one step."""

    def __init__(self, stem: Path, key: Key, shape: tuple[int, ...], dtype: np.dtype, origin: dict[str, str], facts: dict[str, Any]) -> None:
        self._stem, self._key, self._facts = stem, key, facts
        self._about = {"key": list(key), "shape": list(shape), "dtype": str(dtype), "origin": origin}
        self._part, self._progress = Path(f"{stem}.part.npy"), Path(f"{stem}.part.json")
        self.rows = self._found()
        if self.rows:
            self._map = np.load(self._part, mmap_mode="r+", allow_pickle=False)
        else:
            self._progress.unlink(missing_ok=True)
            self._map = np.lib.format.open_memmap(self._part, mode="w+", dtype=dtype, shape=shape)
        self._saved = time.monotonic()

    def _found(self) -> int:
        """How many rows an earlier attempt at this very recording left."""
        try:
            progress = json.loads(self._progress.read_text())
            whole = self._part.stat().st_size >= np.prod(self._about["shape"]) * np.dtype(self._about["dtype"]).itemsize
        except (OSError, ValueError):
            return 0
        return int(progress["rows"]) if whole and all(progress.get(k) == v for k, v in self._about.items()) else 0

    def write(self, start: int, values: np.ndarray) -> None:
        """Put rows start, start + 1, ... in place; about once a second the progress is noted."""
        self._map[start : start + len(values)] = values
        self.rows = max(self.rows, start + len(values))
        if time.monotonic() - self._saved > 1:
            self.keep()

    def keep(self) -> None:
        """Note how far it is, after the rows themselves."""
        self._map.flush()
        with replacing(self._progress) as path:
            path.write_text(json.dumps({**self._about, "rows": self.rows}))
        self._saved = time.monotonic()

    def commit(self) -> None:
        """Every row is there: make it a recording."""
        self._map.flush()
        del self._map
        data = Path(f"{self._stem}.npy")
        size = self._part.stat().st_size
        os.replace(self._part, data)
        with replacing(Path(f"{self._stem}.json")) as path:
            path.write_text(json.dumps({**self._about, "bytes": size, "order": time.time_ns(), "facts": self._facts}))
        self._progress.unlink(missing_ok=True)


def _stem(key: Key) -> str:
    """A file name that a person can read and that no two keys share."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{key.model}.{key.layer}")[:80]
    return f"{readable}.{hashlib.blake2b(json.dumps(list(key)).encode(), digest_size=6).hexdigest()}"


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text())
        if {"key", "shape", "dtype", "bytes", "origin", "order", "facts"} <= record.keys() and len(record["key"]) == len(Key._fields):
            return record
        reason = "fields are missing"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error)
    warnings.warn(f"{path} is damaged ({reason}): this recording is passed over; delete the file, then record it again", stacklevel=4)
    return None
