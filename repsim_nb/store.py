"""Activations and their addresses: `Key`, the mapping `Activations` (in memory), and `Store` (on disk, memory-mapped).

On disk a recording is two files, STEM.npy and STEM.json. The second is written last and by rename, so a recording without it does
not exist for a reader. While a recording runs its rows are in STEM.part.npy, and STEM.part.json says how many of them are good.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import html
import json
import math
import os
import re
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .errors import DamagedFile, MissingRecording, listed, unknown
from .fields import chosen
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
        self._arrays = dict(arrays)  # an array, or a _File that is opened when it is asked for
        self.facts = {model: dict(known) for model, known in (facts or {}).items()}

    def _entries(self) -> dict[Key, Any]:
        return self._arrays

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, key: object) -> bool:
        try:
            return bool(_resolve(key, self._entries()))
        except KeyError:
            return False

    def __getitem__(self, key: Key | str) -> Any:
        entries = self._entries()
        entry = entries[_resolve(key, entries)]
        return entry.open() if isinstance(entry, _File) else entry

    def where(self, **fields: Any) -> Activations:
        """Those whose key has the given fields: a value, a pattern with * and ?, or a list of either.

        ValueError names the nearest values where nothing fits.
        """
        entries, facts = self._entries(), self.facts
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
        more = other._entries() if isinstance(other, Activations) else dict(other.items())
        return Activations({**self._entries(), **more}, {**self.facts, **getattr(other, "facts", {})})

    def __repr__(self) -> str:
        keys = list(self)
        models = dict.fromkeys(key.model for key in keys)
        return f"{type(self).__name__}({len(keys)} recordings of {len(models)} models: {listed(models, 4)})"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.table().iloc[:, :9].to_html(index=False, max_rows=20)}"


def _resolve(key: object, keys: Mapping[Key, Any]) -> Key:
    if isinstance(key, tuple):
        if key in keys:
            return Key(*key)
        raise MissingRecording(f"no recording has the key {tuple(key)}; there are {listed(keys)}")
    fits = [k for k in keys if key in (k.layer, f"{k.model}/{k.layer}", str(k))]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise MissingRecording(str(unknown("recording", key, dict.fromkeys([*(k.layer for k in keys), *(str(k) for k in keys)]))))
    raise MissingRecording(f"'{key}' fits {len(fits)} recordings: {listed(fits)}. Say which: x['model/layer'] or x.where(model=...)")


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


# -- on disk ---------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _File:
    """A committed recording: its array file and its record."""

    path: Path
    record: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.record["shape"])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.record["dtype"])

    def open(self) -> np.ndarray:
        """Memory-mapped, read-only; DamagedFile names a file that is gone, cut short or not as recorded."""
        key, written = Key(*self.record["key"]), self.record["bytes"]
        again = "It was not read; record it again"
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise DamagedFile(f"{self.path} ('{key}') is gone. {again}") from None
        if size != written:
            raise DamagedFile(f"{self.path} ('{key}') is damaged: {size} bytes where {written} were written. {again}")
        try:
            array = np.lib.format.open_memmap(self.path, mode="r")
        except (ValueError, EOFError, SyntaxError) as error:  # an OSError is the machine's trouble, not the file's: it passes
            raise DamagedFile(f"{self.path} ('{key}') is damaged ({error}). {again}") from error
        if array.shape != self.shape or array.dtype != self.dtype:
            raise DamagedFile(f"{self.path} ('{key}') is damaged: it holds {array.dtype} {array.shape}, and {self.dtype} {self.shape} was written. {again}")
        return array


class Store(Activations):
    """Activations in a folder: memory-mapped to read, written batch by batch, safe to interrupt or kill at any moment.

    An unfinished recording is invisible to readers; asked for again it goes on where it stopped. At every opening a file's size, shape and
    type are held against its record; its contents are taken as the disk gives them.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"a store is a folder; {self.path} is a file")
        self._seen: dict[str, tuple[int, dict[str, Any] | None]] = {}

    @property
    def facts(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        return {key.model: entry.record["facts"] for key, entry in self._entries().items()}

    def _entries(self) -> dict[Key, _File]:
        """Every committed recording: models in the order in which they came, their layers in forward order. Each sidecar is parsed once."""
        records = [record for path, record in self._sidecars(".json") if record is not None]
        began: dict[str, int] = {}  # when the first layer of each pass was recorded
        for record in records:
            began[_group(record)] = min(began.get(_group(record), record["order"]), record["order"])
        records.sort(key=lambda record: (began[_group(record)], _group(record), record["place"], record["order"]))
        return {Key(*record["key"]): _File(self.path / f"{_stem(Key(*record['key']))}.npy", record) for record in records}

    def _sidecars(self, ending: str) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        for entry in os.scandir(self.path) if self.path.is_dir() else ():
            if entry.name.startswith(".") or not entry.name.endswith(ending) or (ending == ".json" and entry.name.endswith(".part.json")):
                continue
            try:
                stamp = entry.stat().st_mtime_ns
            except FileNotFoundError:  # removed while we look
                continue
            if self._seen.get(entry.name, (None,))[0] != stamp:
                self._seen[entry.name] = stamp, _read_sidecar(Path(entry.path))
            yield Path(entry.path), self._seen[entry.name][1]

    def holds(self, key: Key, origin: Mapping[str, str]) -> bool:
        """Is this very recording there, whole? ValueError if another one has its key.

        origin: fingerprints of what it is made from, {"weights": ..., "inputs": ..., ...}.
        """
        entry = self._entries().get(key)
        if entry is None:
            return False
        for what, fingerprint in origin.items():
            if entry.record["origin"].get(what) != fingerprint:
                rename = {"weights": "the model another name or step", "inputs": "the data another name", "pool": "the pool function another name"}
                fields = ", ".join(f"{field}={value!r}" for field, value in key._asdict().items())
                raise ValueError(f"the store {self.path} already holds '{key}', recorded with other {what}. Give {rename.get(what, 'the model another name')}, "
                                 f"or remove the old one: rs.Store({str(self.path)!r}).remove({fields})")
        try:
            entry.open()
        except DamagedFile as error:
            warnings.warn(str(error).replace("record it again", "it is recorded again"), stacklevel=3)
            return False
        return True

    def unfinished(self) -> list[Key]:
        """The keys of recordings that were begun and not ended; recorded again, they go on."""
        done = self._entries()
        begun = [Key(*record["key"]) for _, record in self._sidecars(".part.json") if record is not None]
        return [key for key in begun if key not in done]

    def remove(self, **fields: Any) -> int:
        """Delete the recordings, finished or not, whose keys have these fields (as in `where`); their number."""
        keys = list(dict.fromkeys([*self._entries(), *self.unfinished()]))
        doomed = [key for key, good in zip(keys, chosen(keys, Key._fields, fields), strict=True) if good]
        for key in doomed:
            for suffix in (".json", ".npy", ".part.json", ".part.npy"):  # the sidecar first: then it no longer exists for readers
                (self.path / f"{_stem(key)}{suffix}").unlink(missing_ok=True)
        return len(doomed)

    @contextmanager
    def alone(self, key: Key) -> Iterator[None]:
        """While open, no other process records this model on these data into this store; one that does is waited for."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / f".{_stem(key._replace(layer=''))}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                warnings.warn(f"another process records '{key.model}' into {self.path}; waiting for it", stacklevel=3)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def writer(self, key: Key, shape: tuple[int, ...], dtype: Any, origin: Mapping[str, str], facts: Mapping[str, Any], *, place: int) -> Writer:
        """Begin, or take up again, the recording of an array of this shape (inside `alone`). place: where the layer stands in forward order."""
        self.path.mkdir(parents=True, exist_ok=True)
        about = {"key": list(key), "shape": list(shape), "dtype": str(np.dtype(dtype)), "origin": dict(origin)}
        return Writer(self.path / _stem(key), about, {"facts": _plain(facts), "place": place})

    def __repr__(self) -> str:
        begun = f", {len(self.unfinished())} unfinished" if self.unfinished() else ""
        return f"Store('{self.path}', {len(self)} recordings of {len(self.facts)} models{begun})" + ("" if self.path.is_dir() else " (there is no such folder yet)")


class Writer:
    """One recording being written. `rows` are there already; `write` adds; `commit` makes it visible, in one step."""

    interval = 1.0  # seconds between two notes of the progress

    def __init__(self, stem: Path, about: dict[str, Any], besides: dict[str, Any]) -> None:
        self._about, self._besides = about, besides
        self._data, self._sidecar = Path(f"{stem}.npy"), Path(f"{stem}.json")
        self._part, self._progress = Path(f"{stem}.part.npy"), Path(f"{stem}.part.json")
        json.dumps([about, besides])  # better now than after the last batch
        self.rows = self._found()
        self._map = np.load(self._part, mmap_mode="r+", allow_pickle=False) if self.rows else self._fresh()
        self.keep()

    def _found(self) -> int:
        """How many rows an earlier attempt at this very recording left."""
        try:
            progress = json.loads(self._progress.read_text())
            there = np.load(self._part, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return 0
        same = all(progress.get(k) == v for k, v in self._about.items()) and list(there.shape) == self._about["shape"] and str(there.dtype) == self._about["dtype"]
        return int(progress["rows"]) if same else 0

    def _fresh(self) -> np.memmap:
        """An empty file with all its room on the disk taken, so that a full disk is an error here and not a crash later."""
        self._progress.unlink(missing_ok=True)
        shape, dtype = tuple(self._about["shape"]), np.dtype(self._about["dtype"])
        array = np.lib.format.open_memmap(self._part, mode="w+", dtype=dtype, shape=shape)
        try:
            with open(self._part, "r+b") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self._part.stat().st_size)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(error.errno, f"no room on the disk for '{Key(*self._about['key'])}': it takes {math.prod(shape) * dtype.itemsize / 1e6:.0f} MB in {self._part.parent}") from error
        return array

    def write(self, start: int, values: np.ndarray) -> None:
        """Put rows start, start + 1, ... in place; now and then the progress is noted."""
        self._map[start : start + len(values)] = values
        self.rows = max(self.rows, start + len(values))
        if time.monotonic() - self._saved > self.interval:
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
        size = self._part.stat().st_size
        os.replace(self._part, self._data)
        with replacing(self._sidecar) as path:
            path.write_text(json.dumps({**self._about, "bytes": size, "order": time.time_ns(), **self._besides}))
        self._progress.unlink(missing_ok=True)


def _plain(facts: Any) -> Any:
    """As JSON can hold it: NumPy scalars as Python's, anything else that JSON does not know as it prints."""
    return json.loads(json.dumps(dict(facts), default=lambda v: v.item() if hasattr(v, "item") and getattr(v, "size", 0) == 1 else str(v)))


def _stem(key: Key) -> str:
    """A file name that a person can read and that no two keys share."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{key.model}.{key.layer}")[:80]
    return f"{readable}.{hashlib.blake2b(json.dumps(list(key)).encode(), digest_size=6).hexdigest()}"


def _group(record: Mapping[str, Any]) -> str:
    """All but the layer of a recording's key."""
    model, _, *rest = record["key"]
    return json.dumps([model, *rest])


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    needed = {"key", "shape", "dtype", "origin"} | ({"rows"} if path.name.endswith(".part.json") else {"bytes", "order", "place", "facts"})
    try:
        record = json.loads(path.read_text())
        if needed <= record.keys() and len(record["key"]) == len(Key._fields):
            return record
        reason = "fields are missing"
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError) as error:
        reason = str(error)
    warnings.warn(f"{path} is damaged ({reason}): this recording is passed over; delete the file, then record it again", stacklevel=4)
    return None
