"""`Store`: activations in a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, join_names
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.ids import check_ids, ids_fingerprint
from repsim_nb.support.labels import Key, check_step, select
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.row_groups import groups_fingerprint, stored_groups
from repsim_nb.support.validation import check_labels

from .activations import Activations, agreed
from .arrayfile import ArrayFile, group, read_sidecar, stem, written_whole
from .idsfile import NAME, groups_path, ids_path, read_ids
from .writer import Writer

_OURS = re.compile(
    r"(?P<stem>.+\.[0-9a-f]{12})(\.part)?\.(npy|json)|\..+\.[0-9a-f]{12}(\.part)?\.json\.[0-9a-f]{8}\.tmp|"
    rf"\..+\.[0-9a-f]{{12}}\.lock|{NAME}|\.(samples\.[0-9a-f]{{32}}\.ids|rows\.[0-9a-f]{{32}}\.groups)\.[0-9a-f]{{8}}\.tmp"
)
_YOUNG = 60  # seconds; a temporary file of this age may belong to someone who is at work
PRECISIONS = ("float16", "float32", "float64")


class Store(Activations):
    """Activations in a folder: memory-mapped to read, written batch by batch, safe to interrupt or kill at any moment,
    shared by processes.

    dtype: the precision in which floating activations are written: "float16" (half the disk; values keep 11 bits, fewer
    below 6e-5, and those beyond 65504 are an error), "float32" or "float64"; None writes them as they come. It rules
    what this Store writes: what the folder holds already counts as held, in whatever precision it has (`table` says
    which).

    An unfinished recording is invisible to readers (`unfinished` lists them); asked for again it goes on where it
    stopped. Files are held against the checksums (CRC-32) of what was written; one that differs is named, not read, and
    recorded anew. At an opening that means size, shape, type and, once a process, the first and the last 64 MiB, hence
    all of a file up to 128 MiB; `record`, looking for
    what is there, and `verify` read every byte: 1 to 4 GB a second from the system's cache, else as fast as the disk
    gives them. The ids of samples, where a data set has some, are in one small file a data set, which goes with the
    last recording on these samples; so are the groups of rows that are tokens. Locks are flock's: Linux and macOS; a
    shared disk must know them.
    """

    def __init__(self, path: str | Path, *, dtype: Any = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"a store is a folder, and is given by its path; got {path!r}")
        self.path = Path(path).expanduser()
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
        self._seen: dict[str, tuple[tuple[int, ...], dict[str, Any] | None]] = {}

    @property
    def facts(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        return agreed((key.model, entry.record["facts"]) for key, entry in self._entries().items())

    # -- what is there
    # -----------------------------------------------------------------------------------------------------

    def _entries(self) -> dict[Key, ArrayFile]:
        """Every committed recording: models in the order in which they came, their layers in forward order.

        Each sidecar is parsed once.
        """
        records = [record for record in self._sidecars(".json") if record is not None]
        began: dict[str, int] = {}  # when the first layer of each pass was recorded
        for record in records:
            began[group(record)] = min(began.get(group(record), record["order"]), record["order"])
        records.sort(key=lambda record: (began[group(record)], group(record), record["place"], record["order"]))
        return {Key(*record["key"]): self._file(record) for record in records}

    def _sidecars(self, ending: str) -> Iterator[dict[str, Any] | None]:
        for entry in os.scandir(self.path) if self.path.is_dir() else ():
            match = _OURS.fullmatch(entry.name)
            if match and match["stem"] and entry.name == match["stem"] + ending:
                yield self._record(entry.name)

    def _record(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        try:
            stat = path.stat()
        except FileNotFoundError:  # not there, or removed while we look
            return None
        stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
        if self._seen.get(name, (None,))[0] != stamp:
            self._seen[name] = stamp, read_sidecar(path)
        return self._seen[name][1]

    def _file(self, record: Mapping[str, Any]) -> ArrayFile:
        return ArrayFile(self.path / f"{stem(Key(*record['key']))}.npy", record)

    def find(self, key: Key) -> ArrayFile | None:
        """One recording, not yet opened, without looking at all the others; None where it is not there."""
        record = self._record(f"{stem(key)}.json")
        return None if record is None else self._file(record)

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
                    self.already_held(key, f"recorded with other {what}", rename.get(what, "the model another name"))
                )
        try:
            entry.check()
            if entry.ids_path is not None and origin.get("ids"):
                read_ids(entry.ids_path)
            if entry.groups_path is not None:
                read_ids(entry.groups_path)
        except DamagedFile as error:
            warnings.warn(str(error).replace("record it again", "it is recorded again"), stacklevel=3)
            return False
        return True

    def already_held(self, key: Key, how: str, give: str) -> str:
        """The sentence of an error: another recording has this key; how it is another one, and what to give another
        name.
        """
        fields = ", ".join(f"{field}={value!r}" for field, value in key._asdict().items())
        return (
            f"the store {self.path} already holds '{key}', {how}. Give {give}, or remove the old one:"
            f" rs.Store({str(self.path)!r}).remove({fields})"
        )

    def add_answers(self, key: Key, answers: Mapping[str, Any]) -> None:
        """Note beside a recording (inside `alone`) which layers a question stands for; nothing happens in a folder that
        we may not write to.
        """
        record = self._record(f"{stem(key)}.json")
        if record is None or self._read_only() or answers.keys() <= record.get("answers", {}).keys():
            return
        with replace_atomically(self.path / f"{stem(key)}.json") as path:
            written_whole(path, json.dumps({**record, "answers": {**record.get("answers", {}), **answers}}))

    def unfinished(self) -> dict[Key, tuple[int, int]]:
        """Recordings that were begun and not ended, by someone at work now or by one that was stopped: {key: (samples
        done, samples in all)}.

        Recorded again they go on. Of one at work the number is at most a second old.
        """
        begun = {
            Key(*record["key"]): (record["rows"], record["shape"][0])
            for record in self._sidecars(".part.json")
            if record is not None
        }
        return {key: rows for key, rows in begun.items() if self.find(key) is None}

    @property
    def size(self) -> int:
        """Bytes that everything in the folder takes: recordings, those that are unfinished (all their room is taken at
        once), leftovers.
        """
        return sum(_size(Path(entry)) for entry in os.scandir(self.path)) if self.path.is_dir() else 0

    def verify(self, *, progress: bool | Tick = True) -> dict[Key | str, str]:
        """Read every byte of every recording -> {key: what is wrong} of the damaged ones; `record` makes those anew,
        `prune` removes them.

        If the file that says the key is damaged, its name stands for the key, and so does that of a file with ids of
        samples or groups of rows. Arrays that have lost theirs are named in a warning.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged sidecars are said below
            entries, done = self._entries(), 0
        wrong: dict[Key | str, str] = {}
        for name, match in self._names():
            if name == match["stem"] + ".json" and self._record(name) is None and (self.path / name).exists():
                wrong[name] = (
                    f"{self.path / name}, which says what {match['stem']}.npy is, is damaged. It was not read; record"
                    " it again"
                )
        for path in {path for entry in entries.values() for path in (entry.ids_path, entry.groups_path)} - {None}:
            try:
                read_ids(path)
            except DamagedFile as error:
                wrong[path.name] = str(error)
        if orphans := self._orphans():
            warnings.warn(
                f"in {self.path} nothing says what {join_names(orphans, 4)} {'are' if len(orphans) > 1 else 'is'}: the"
                f" .json beside {'them' if len(orphans) > 1 else 'it'} is gone. Record again what is missing; prune()"
                " takes away what is left over",
                stacklevel=2,
            )
        total = sum(entry.record["bytes"] for entry in entries.values())
        with show_progress(progress, f"verifying {self.path.name}", "MB") as tick:
            for key, entry in entries.items():
                try:
                    entry.check(lambda some, before=done: tick((before + some) // 10**6, total // 10**6), again=True)
                except DamagedFile as error:
                    wrong[key] = str(error)
                done += entry.record["bytes"]
        return wrong

    def _names(self) -> list[tuple[str, re.Match[str]]]:
        """The files of recordings, finished or not: (name, its parts)."""
        found = [(name, _OURS.fullmatch(name)) for name in sorted(os.listdir(self.path))] if self.path.is_dir() else []
        return [(name, match) for name, match in found if match and match["stem"]]

    def _orphans(self) -> list[str]:
        """Arrays that no sidecar speaks of, nor the progress of one who is at work; asked in the order in which a
        writer makes the one and drops the other.
        """
        arrays = [(name, match["stem"]) for name, match in self._names() if name == match["stem"] + ".npy"]
        return [
            name
            for name, its in arrays
            if _age(self.path / name) > _YOUNG
            and not any((self.path / f"{its}{ending}").exists() for ending in (".part.json", ".json"))
        ]

    # -- taking away
    # -------------------------------------------------------------------------------------------------------

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
        used = self._ids_in_use()
        for key in doomed:
            with self._locked(key, wait=False) as mine:
                if not mine:
                    raise ValueError(
                        f"'{key}' was not removed: another process is recording '{key.model}' into {self.path}. Stop"
                        " it, or wait for it, then remove it again"
                    )
                for suffix in (
                    ".json",
                    ".npy",
                    ".part.json",
                    ".part.npy",
                ):  # the sidecar first: then it no longer exists for readers
                    path = self.path / f"{stem(key)}{suffix}"
                    if not path.is_dir():  # no Store made that
                        path.unlink(missing_ok=True)
        for name in used - self._ids_in_use():
            (self.path / name).unlink(missing_ok=True)
        return len(doomed)

    def _ids_in_use(self, without: Collection[str] = ()) -> set[str]:
        """The files of ids and of groups of which a recording speaks, finished or not; without what these files say."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged sidecar speaks of none
            names = [name for name, match in self._names() if name.endswith(".json") and name not in without]
            records = [record for name in names if (record := self._record(name)) is not None]
        return {
            path(self.path, record[field]).name
            for record in records
            for field, path in (("ids", ids_path), ("groups", groups_path))
            if record.get(field)
        }

    def prune(self, *, unfinished: bool = True, dry_run: bool = False) -> dict[str, int]:
        """Delete what is of no use -> {file: bytes} of what went away (of what would go, in a dry run).

        These are recordings that are damaged (every byte is read, once a process), unfinished ones (`unfinished=False`
        keeps those, to go on from), files that belong to none and temporary ones older than a minute, damaged ids and
        groups, and locks that nobody holds. What a process is recording now stays, and so do files that no Store made.
        """
        gone: dict[str, int] = {}

        def drop(path: Path) -> None:
            if path.exists() and not path.is_dir():
                gone[path.name] = _size(path)
                if not dry_run:
                    with self._writing():
                        path.unlink(missing_ok=True)

        names = (
            [(name, match) for name in sorted(os.listdir(self.path)) if (match := _OURS.fullmatch(name))]
            if self.path.is_dir()
            else []
        )
        for path in (self.path / name for name, _ in names):
            if path.suffix == ".tmp" and _age(path) > _YOUNG:
                drop(path)
            if path.suffix == ".lock":
                with self._holding(path, wait=False, stays=dry_run) as mine:  # which takes it away
                    if mine:
                        gone[path.name] = _size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged sidecar need not be named: it goes
            for name in dict.fromkeys(match["stem"] for _, match in names if match["stem"]):
                record = self._record(f"{name}.json") or self._record(f"{name}.part.json")
                if record is None:
                    for path in self._useless(name, unfinished):
                        if _age(path) > _YOUNG:
                            drop(path)
                elif self._useless(name, unfinished):
                    with self._locked(Key(*record["key"]), wait=False, stays=dry_run) as mine:
                        for path in self._useless(name, unfinished) if mine else ():  # it may have been ended since
                            drop(path)
        used = self._ids_in_use(without=gone)
        for path in (self.path / name for name, match in names if match["ids"]):
            if (path.name not in used and _age(path) > _YOUNG) or not self._is_right(path):
                drop(path)
        return gone

    @staticmethod
    def _is_right(ids: Path) -> bool:
        try:
            read_ids(ids)
        except DamagedFile:
            return False
        return True

    def _useless(self, name: str, unfinished: bool) -> list[Path]:
        """Of the files of one key, those that are no whole recording and no part of one to go on from."""
        sidecar, data, progress, part = (
            self.path / f"{name}{suffix}" for suffix in (".json", ".npy", ".part.json", ".part.npy")
        )
        record, begun = self._record(sidecar.name), self._record(progress.name)
        try:
            if record is not None:
                self._file(record).check()
            whole = record is not None
        except DamagedFile:
            whole = False
        if record is None and begun is not None and not part.exists():
            part = data  # stopped in the last step, from part to whole
        useless = [] if whole else [sidecar, data]
        if whole or unfinished or begun is None or not part.exists():
            useless += [progress, part]
        elif part == data:
            useless = []
        return [path for path in dict.fromkeys(useless) if path.exists()]

    # -- writing
    # -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def alone(self, key: Key) -> Iterator[None]:
        """While open, no other process records this model on these data into this store; one that does is waited for.

        A folder that we may not write to is left unlocked: what it holds can be read, and the first `writer` says why
        there is no more.
        """
        if self._read_only():
            yield
            return
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
        with self._locked(key, wait=True):
            yield

    def _read_only(self) -> bool:
        return self.path.is_dir() and not os.access(self.path, os.W_OK | os.X_OK)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise type(error)(error.errno, f"the store {self.path} cannot be written to: {error.strerror}") from error
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            raise OSError(error.errno, f"the store {self.path} cannot be written to: {error.strerror}") from error

    @contextmanager
    def _locked(self, key: Key, *, wait: bool, stays: bool = False) -> Iterator[bool]:
        """Hold the lock of a model on some data; False where another has it and is not waited for."""
        path = self.path / f".{stem(key._replace(layer=''))}.lock"
        with self._holding(
            path, wait=wait, stays=stays, what=f"another process records '{key.model}' into {self.path}; waiting for it"
        ) as mine:
            yield mine

    @contextmanager
    def _holding(self, path: Path, *, wait: bool, stays: bool = False, what: str = "") -> Iterator[bool]:
        """The file goes away with the lock, unless it `stays` as it was found."""
        if stays and self._read_only():
            yield True
            return
        stays = stays and path.exists()
        while True:
            with self._writing():
                lock = open(path, "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    lock.close()
                    yield False
                    return
                warnings.warn(what, stacklevel=7)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                lock.close()
                path.unlink(missing_ok=True)
                raise OSError(
                    error.errno,
                    f"the disk of the store {self.path} knows no locks (flock: {error.strerror}), by which processes"
                    " keep out of each other's way: have it mounted with them (Lustre: -o flock), or record into a"
                    " folder on another disk",
                ) from error
            try:
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    break
            except FileNotFoundError:
                pass
            lock.close()  # who had it took the file away: whoever comes now locks another
        try:
            yield True
        finally:
            if not stays:
                path.unlink(missing_ok=True)
            lock.close()

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
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            return Writer(self.path / stem(key), about, {"facts": _plain(facts), "place": place}, known, labels)

    def __repr__(self) -> str:
        begun, size = len(self.unfinished()), self.size
        said = [
            f"{len(self)} recordings of {len(self.facts)} models",
            *([f"{begun} unfinished"] if begun else []),
            f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB",
        ]
        return f"Store('{self.path}', {', '.join(said)})" + (
            "" if self.path.is_dir() else " (there is no such folder yet)"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # gone since
        return 0


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _plain(facts: Any) -> Any:
    """As JSON can hold it: NumPy scalars as Python's, anything else that JSON does not know as it prints."""
    return json.loads(
        json.dumps(
            dict(facts), default=lambda v: v.item() if hasattr(v, "item") and getattr(v, "size", 0) == 1 else str(v)
        )
    )
