"""`Store`: activations in a folder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, join_names, warn_user
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.ids import check_ids, ids_fingerprint
from repsim_nb.support.labels import Key, check_step, select
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.row_groups import groups_fingerprint, stored_groups
from repsim_nb.support.validation import check_labels

from .activations import Activations, merge_facts
from .arrayfile import ArrayFile, file_stem, name_pass, write_synced
from .cleaning import find_fault, prune, remove_recordings
from .folder import StoreFolder, size_of
from .idsfile import read_ids
from .writer import Writer

PRECISIONS = ("float16", "float32", "float64")


class Store(Activations):
    """Activations in a folder: memory-mapped, written batch by batch, safe to interrupt or kill, shared by processes.

    Parameters
    ----------
    path : str or Path
        The folder; it is created when something is recorded into it.
    dtype : {"float16", "float32", "float64"}, optional
        The precision in which floating activations are written; None writes them as they come. "float16" takes half the
        disk: values have 11 bits, fewer below 6e-5, and those beyond 65504 are an error. Recordings that the folder has
        already stay valid, whatever their precision (`table` shows it).

    Raises
    ------
    ValueError
        If the path is a file, or for an unknown precision.

    Notes
    -----
    Readers do not see an unfinished recording (`unfinished` lists them); if it is recorded again, it goes on at the
    batch at which it stopped.

    Files are compared with the checksums (CRC-32) of what was written; one that differs is named, not read, and
    recorded again. Opening a file checks its size, shape and type and, once in a process, its first and last 64 MiB,
    which is all of a file up to 128 MiB. `record` and `verify` read every byte: 1 to 4 GB a second from the system's
    cache, else as fast as the disk.

    The ids of samples are in one small file for each data set, which is deleted with the last recording on these
    samples; so are the groups of rows that are tokens. Locks are those of flock, on Linux and macOS; a shared disk must
    know them.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = rs.Store(folder)
    ...     x = rs.record(nn.Linear(3, 2), np.ones((4, 3), "float32"), into=store, progress=False)
    ...     print([str(key) for key in store])
    ['Linear/output (inputs)']
    """

    def __init__(self, path: str | Path, *, dtype: Any = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"a store is a folder, and is given by its path; got {path!r}")
        self.folder = StoreFolder(Path(path).expanduser())
        nearest = next((place for place in (self.path, *self.path.parents) if place.exists()), self.path)
        if nearest.exists() and not nearest.is_dir():
            raise ValueError(f"a store is a folder; {nearest} is a file")
        try:
            self.dtype = None if dtype is None else np.dtype(dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if self.dtype is not None and self.dtype.name not in PRECISIONS:
            raise ValueError(
                f"a store writes activations as one of {list(PRECISIONS)}, or as they come (dtype=None); got"
                f" dtype={dtype!r}"
            )

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def facts(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        return merge_facts((key.model, entry.record["facts"]) for key, entry in self._entries().items())

    # -- what is there

    def _entries(self) -> dict[Key, ArrayFile]:
        """Every committed recording: models in the order in which they came, their layers in forward order."""
        records = list(self.folder.records(".json"))
        began: dict[str, int] = {}  # when the first layer of each pass was recorded
        for record in records:
            began[name_pass(record)] = min(began.get(name_pass(record), record["order"]), record["order"])
        records.sort(key=lambda record: (began[name_pass(record)], name_pass(record), record["place"], record["order"]))
        return {Key(*record["key"]): self.folder.file_of(record) for record in records}

    def find(self, key: Key) -> ArrayFile | None:
        """One recording, not yet opened, without looking at all the others; None where it is not there."""
        record = self.folder.record(f"{file_stem(key)}.json")
        return None if record is None else self.folder.file_of(record)

    def _emptiness(self) -> str:
        if not self.path.is_dir():
            return f"there is no folder {self.path}"
        begun = len(self.unfinished())
        return f"the store {self.path} holds no recording" + (f", but {begun} that are unfinished" if begun else "")

    def __getitem__(self, key: Key | str) -> np.ndarray:
        found = self.find(key) if isinstance(key, Key) else None
        return super().__getitem__(key) if found is None else found.open()

    def holds(self, key: Key, origin: Mapping[str, str]) -> bool:
        """Is this very recording there, every byte as it was written? ValueError if another one has its key.

        origin: fingerprints of what it is made from, {"weights": ..., "inputs": ..., ...}. A damaged one is not there,
        says a warning.
        The fingerprint of "ids" counts only where both are known: an earlier version wrote none.
        The first time in a process the whole file is read, 1 to 4 GB a second, and no more while it is the same.
        """
        entry = self.find(key)
        if entry is None:
            return False
        recorded = entry.record["origin"]
        for what, fingerprint in origin.items():
            if recorded.get(what, "") != fingerprint and not (
                what == "ids" and not (fingerprint and recorded.get(what))
            ):
                other = "the data another name"
                rename = {
                    "weights": "the model another name or step",
                    "inputs": other,
                    "ids": other,
                    "pool": "the pool function another name",
                    "axis": "the model another name, or the axis that it was recorded with",
                }
                raise ValueError(
                    self.describe_conflict(
                        key, f"recorded with other {what}", rename.get(what, "the model another name")
                    )
                )
        try:
            entry.check()
            if entry.ids_path is not None and origin.get("ids"):
                read_ids(entry.ids_path)
            if entry.groups_path is not None:
                read_ids(entry.groups_path)
        except DamagedFile as error:
            warn_user(str(error).replace("record it again", "it is recorded again"))
            return False
        return True

    def describe_conflict(self, key: Key, how: str, give: str) -> str:
        """Write the sentence of an error: another recording has this key.

        how: in what it differs.  give: what to give another name.
        """
        fields = ", ".join(f"{field}={value!r}" for field, value in key._asdict().items())
        return (
            f"the store {self.path} already holds '{key}', {how}. Give {give}, or remove the old one:"
            f" rs.Store({str(self.path)!r}).remove({fields})"
        )

    def add_answers(self, key: Key, answers: Mapping[str, Any]) -> None:
        """Write next to a recording (inside `alone`) which layers a question stands for.

        Nothing happens in a folder that we may not write to.
        """
        name = f"{file_stem(key)}.json"
        record = self.folder.record(name)
        if record is None or self.folder.is_read_only() or answers.keys() <= record.get("answers", {}).keys():
            return
        with replace_atomically(self.path / name) as path:
            write_synced(path, json.dumps({**record, "answers": {**record.get("answers", {}), **answers}}))

    def unfinished(self) -> dict[Key, tuple[int, int]]:
        """List recordings that were begun and not ended: {key: (samples done, samples in all)}.

        A process may be at work on them now, or was stopped. Recorded again, they go on. For one at work the number is
        at most a second old.
        """
        begun = self.folder.records(".part.json")
        found = {Key(*record["key"]): (record["rows"], record["shape"][0]) for record in begun}
        return {key: rows for key, rows in found.items() if self.find(key) is None}

    @property
    def size(self) -> int:
        """The bytes of everything in the folder.

        These are recordings, leftovers, and unfinished recordings, which take all their room at once.
        """
        return sum(size_of(Path(entry)) for entry in os.scandir(self.path)) if self.path.is_dir() else 0

    def verify(self, *, progress: bool | Tick = True) -> dict[Key | str, str]:
        """Read every byte of every recording and return {key: what is wrong} of the damaged ones.

        `record` records them again, `prune` removes them. If the file that says the key is damaged, its name stands for
        the key, and so does that of a file with ids of samples or groups of rows. Arrays without such a file are named
        in a warning.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged sidecars are named below
            entries, done = self._entries(), 0
        wrong: dict[Key | str, str] = {}
        for name, match in self.folder.names():
            if name == f"{match['stem']}.json" and self.folder.record(name) is None and (self.path / name).exists():
                wrong[name] = (
                    f"{self.path / name}, which says what {match['stem']}.npy is, is damaged. It was not read; record"
                    " it again"
                )
        for path in {path for entry in entries.values() for path in (entry.ids_path, entry.groups_path)}:
            if path is not None and (fault := find_fault(path)):
                wrong[path.name] = fault
        if orphans := self.folder.orphans():
            many = len(orphans) > 1
            warn_user(
                f"in {self.path} nothing says what {join_names(orphans, 4)} {'are' if many else 'is'}: the .json beside"
                f" {'them' if many else 'it'} is gone. Record again what is missing; prune() takes away what is left"
                " over"
            )
        total = sum(entry.record["bytes"] for entry in entries.values())
        with show_progress(progress, f"verifying {self.path.name}", "MB") as tick:
            for key, entry in entries.items():

                def report(some: int, before: int = done) -> None:
                    tick((before + some) // 10**6, total // 10**6)

                try:
                    entry.check(report, again=True)
                except DamagedFile as error:
                    wrong[key] = str(error)
                done += entry.record["bytes"]
        return wrong

    # -- taking away

    def remove(self, **fields: Any) -> int:
        """Delete the recordings, finished or not, whose keys have these fields (as in `where`); their number.

        ValueError where another process is recording one of them, and where no field is said: all are model="*".
        """
        if not fields:
            raise ValueError(
                'remove which recordings? Say it by their fields, remove(model="mnist-cnn-0", layer="fc"), or take away'
                ' all that are in the store: remove(model="*")'
            )
        keys = list(dict.fromkeys([*self._entries(), *self.unfinished()]))
        if not keys:
            raise ValueError(f"there is nothing to remove: {self._emptiness()}")
        doomed = [key for key, good in zip(keys, select(keys, Key._fields, fields), strict=True) if good]
        remove_recordings(self.folder, doomed)
        return len(doomed)

    def prune(self, *, unfinished: bool = True, dry_run: bool = False) -> dict[str, int]:
        """Delete what is of no use -> {file: bytes} of what went away (of what would go, in a dry run).

        These are recordings that are damaged (every byte is read, once a process), unfinished ones (`unfinished=False`
        keeps those, to go on from), files that belong to none and temporary ones older than a minute, damaged ids and
        groups, and locks that nobody holds. What a process is recording now stays, and so do files that no Store made.
        """
        return prune(self.folder, unfinished=unfinished, dry_run=dry_run)

    # -- writing

    @contextmanager
    def alone(self, key: Key) -> Iterator[None]:
        """While open, no other process records this model on these data into this store; one that does is waited for.

        A folder that we may not write to is left unlocked: what it holds can be read, and the first `writer` says why
        there is no more.
        """
        if self.folder.is_read_only():
            yield
            return
        with self.folder.writing():
            self.path.mkdir(parents=True, exist_ok=True)
        with self.folder.locked(key, wait=True):
            yield

    def writer(
        self,
        key: Key,
        shape: tuple[int, ...],
        dtype: Any,
        origin: Mapping[str, str],
        facts: Mapping[str, Any],
        *,
        place: int,
        ids: Any = None,
        groups: Any = None,
    ) -> Writer:
        """Begin, or take up again, the recording of an array of this shape (inside `alone`).

        place: where the layer stands in forward order.  ids: those of the samples, (n,), if known; not kept if every
        token is a row.
        groups: a label a row, such as the sample that a token is from, if rows have groups.
        """
        key = key._replace(step=check_step(key.step))
        dtype = self.dtype if self.dtype is not None and np.issubdtype(dtype, np.floating) else np.dtype(dtype)
        known = None if ids is None or key.by_token else check_ids(ids, shape[0])
        about = {"key": list(key), "shape": list(shape), "dtype": str(dtype), "origin": dict(origin)}
        about |= {} if known is None else {"ids": ids_fingerprint(known)}
        labels = None if groups is None else stored_groups(check_labels(groups, shape[0], "groups"))
        about |= {} if labels is None else {"groups": groups_fingerprint(labels)}
        with self.folder.writing():
            self.path.mkdir(parents=True, exist_ok=True)
            return Writer(self.path / file_stem(key), about, {"facts": _plain(facts), "place": place}, known, labels)

    def __repr__(self) -> str:
        begun, size = len(self.unfinished()), self.size
        parts = [
            f"{len(self)} recordings of {len(self.facts)} models",
            *([f"{begun} unfinished"] if begun else []),
            f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB",
        ]
        return f"Store('{self.path}', {', '.join(parts)})" + (
            "" if self.path.is_dir() else " (there is no such folder yet)"
        )


def _plain(facts: Any) -> Any:
    """As JSON can hold it: NumPy scalars as Python's, anything else that JSON does not know as it prints."""
    return json.loads(
        json.dumps(
            dict(facts), default=lambda v: v.item() if hasattr(v, "item") and getattr(v, "size", 0) == 1 else str(v)
        )
    )
