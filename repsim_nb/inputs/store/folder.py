"""`StoreFolder`: the files of a store, the recordings in them, and the locks that keep writers apart."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import DamagedFile, warn_user
from repsim_nb.support.labels import Key

from .arrayfile import ArrayFile, file_stem, read_sidecar
from .idsfile import NAME, groups_path, ids_path

_OURS = re.compile(
    r"(?P<stem>.+\.[0-9a-f]{12})(\.part)?\.(npy|json)|\..+\.[0-9a-f]{12}(\.part)?\.json\.[0-9a-f]{8}\.tmp|"
    rf"\..+\.[0-9a-f]{{12}}\.lock|{NAME}|"
    r"\.(samples\.[0-9a-f]{32}\.ids|rows\.[0-9a-f]{32}\.groups)\.[0-9a-f]{8}\.tmp"
)
YOUNG = 60  # seconds; a younger temporary file may belong to a running process
ENDINGS = (".json", ".npy", ".part.json", ".part.npy")  # of the files of a key; the first makes it a recording


class StoreFolder:
    """A folder with recordings. Each record is parsed once as long as it is the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[str, tuple[tuple[int, ...], dict[str, Any] | None]] = {}

    # -- records

    def names(self) -> list[tuple[str, re.Match[str]]]:
        """Return the files that a store wrote: (name, its parts)."""
        found = sorted(os.listdir(self.path)) if self.path.is_dir() else []
        return [(name, match) for name in found if (match := _OURS.fullmatch(name))]

    def records(self, ending: str) -> Iterator[dict[str, Any]]:
        """Return the records in the files with this ending, ".json" or ".part.json"."""
        for entry in os.scandir(self.path) if self.path.is_dir() else ():
            match = _OURS.fullmatch(entry.name)
            if match and match["stem"] and entry.name == match["stem"] + ending:
                record = self.record(entry.name)
                if record is not None:
                    yield record

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the record in a file; None if it is missing or damaged."""
        path = self.path / name
        try:
            stat = path.stat()
        except FileNotFoundError:  # missing, or deleted in the meantime
            return None
        stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
        if name not in self._seen or self._seen[name][0] != stamp:
            self._seen[name] = stamp, read_sidecar(path)
        return self._seen[name][1]

    def file_of(self, record: Mapping[str, Any]) -> ArrayFile:
        """Return the array file that a record describes."""
        return ArrayFile(self.path / f"{file_stem(Key(*record['key']))}.npy", record)

    def labels_in_use(self, without: Collection[str] = ()) -> set[str]:
        """Return the files of ids and groups that recordings use, finished or not. without: files to ignore."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged record names no file
            names = [name for name, match in self.names() if match["stem"] and name.endswith(".json")]
            records = [record for name in names if name not in without and (record := self.record(name)) is not None]
        return {
            path(self.path, record[field]).name
            for record in records
            for field, path in (("ids", ids_path), ("groups", groups_path))
            if record.get(field)
        }

    def orphans(self) -> list[str]:
        """Return the arrays without a record, finished or in progress.

        Records are looked for in the order in which a writer creates the one and deletes the other.
        """
        arrays = [(name, match["stem"]) for name, match in self.names() if name == f"{match['stem']}.npy"]
        return [
            name
            for name, its in arrays
            if age(self.path / name) > YOUNG
            and not any((self.path / f"{its}{ending}").exists() for ending in (".part.json", ".json"))
        ]

    def useless_files(self, name: str, unfinished: bool) -> list[Path]:
        """Return the files of one key that are neither a whole recording nor part of one to continue."""
        sidecar, data, progress, part = (self.path / f"{name}{ending}" for ending in ENDINGS)
        record, begun = self.record(sidecar.name), self.record(progress.name)
        whole = record is not None
        try:
            if record is not None:
                self.file_of(record).check()
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

    def is_read_only(self) -> bool:
        """Return whether this process may not write to the folder."""
        return self.path.is_dir() and not os.access(self.path, os.W_OK | os.X_OK)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Reword errors as: this folder cannot be written to."""
        try:
            yield
        except OSError as error:
            refused = isinstance(error, (PermissionError, NotADirectoryError, FileExistsError))
            if not refused and error.errno != errno.EROFS:
                raise
            kind = type(error) if refused else OSError
            raise kind(error.errno, f"The store {self.path} cannot be written to: {error.strerror}.") from error

    @contextmanager
    def locked(self, key: Key, *, wait: bool, stays: bool = False) -> Iterator[bool]:
        """Hold the lock of a model on some data; yield False if another process has it and `wait` is False."""
        path = self.path / f".{file_stem(key._replace(layer=''))}.lock"
        what = f"Another process is recording '{key.model}' into {self.path}; waiting for it."
        with self.holding(path, wait=wait, stays=stays, what=what) as mine:
            yield mine

    @contextmanager
    def holding(self, path: Path, *, wait: bool, stays: bool = False, what: str = "") -> Iterator[bool]:
        """Hold a lock file; it is deleted with the lock, unless it existed before and `stays`."""
        if stays and self.is_read_only():
            yield True
            return
        stays = stays and path.exists()
        while True:
            with self.writing():
                lock = open(path, "w")  # noqa: SIM115  # open as long as the lock is held
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    lock.close()
                    yield False
                    return
                warn_user(what)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                lock.close()
                path.unlink(missing_ok=True)
                raise OSError(
                    error.errno,
                    f"The disk of the store {self.path} does not support locks (flock: {error.strerror}), which keep"
                    " processes from writing the same recording. Mount it with locks (Lustre: -o flock), or record into"
                    " a folder on another disk.",
                ) from error
            try:
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    break
            except FileNotFoundError:
                pass
            lock.close()  # the previous owner deleted the file, so other processes lock a new one
        try:
            yield True
        finally:
            if not stays:
                path.unlink(missing_ok=True)
            lock.close()


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:  # deleted in the meantime
        return 0


def age(path: Path) -> float:
    """Return the seconds since a file was changed; 0 if it is missing."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
