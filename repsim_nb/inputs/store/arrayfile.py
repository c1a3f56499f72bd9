"""One recording on disk: the array file, and the record of what was written into it, with its checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, warn_user
from repsim_nb.support.labels import Key, check_step
from repsim_nb.support.row_groups import attach_groups

from .idsfile import groups_path, ids_path, read_ids

# bytes under one checksum, a CRC-32: against decay, not against malice, and five times as fast as a cryptographic one
BLOCK = 2**26
_PIECE = 2**22  # bytes read at once
# blocks that this process has found right, while the file is the same
_right: dict[Path, tuple[tuple[int, ...], set[int]]] = {}


class Checksums:
    """The checksums of a file's blocks, from bytes that come in order."""

    def __init__(self, sums: Iterable[int] = (), size: int = 0) -> None:
        self.sums, self.size = list(sums), size

    def add(self, data: memoryview) -> None:
        while len(data):
            room = BLOCK - self.size % BLOCK
            if room == BLOCK:
                self.sums.append(0)
            now, data = data[:room], data[room:]
            self.sums[-1] = zlib.crc32(now, self.sums[-1])
            self.size += len(now)


def compute_sums(path: Path, blocks: Iterable[int], size: int, block: int) -> Iterator[tuple[int, int]]:
    """(number, checksum as it is on the disk) of these blocks of the first `size` bytes.

    No more than a piece of the file is in memory.
    """
    buffer = memoryview(bytearray(_PIECE))
    with open(path, "rb", buffering=0) as file:
        for number in blocks:
            place, end, found = number * block, min((number + 1) * block, size), 0
            file.seek(place)
            while place < end and (got := file.readinto(buffer[: end - place])):
                found, place = zlib.crc32(buffer[:got], found), place + got
            yield number, found


@dataclass(frozen=True)
class ArrayFile:
    """A committed recording: its array file and its record."""

    path: Path
    record: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.record["shape"])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.record["dtype"])

    @property
    def ids_path(self) -> Path | None:
        """The file with the ids of its samples; None where they are unknown."""
        return ids_path(self.path.parent, self.record["ids"]) if self.record.get("ids") else None

    @property
    def groups_path(self) -> Path | None:
        """The file with the groups of its rows; None where each row is a sample."""
        return groups_path(self.path.parent, self.record["groups"]) if self.record.get("groups") else None

    def ids(self) -> np.ndarray | None:
        """The ids of its samples; None, with a warning, if their file is gone or damaged."""
        return self._read(self.ids_path)

    def groups(self) -> np.ndarray | None:
        """The group of each row; None, with a warning, if their file is gone or damaged."""
        return self._read(self.groups_path)

    def _read(self, path: Path | None) -> np.ndarray | None:
        try:
            return None if path is None else read_ids(path)
        except DamagedFile as error:
            warn_user(str(error))
            return None

    def open(self) -> np.ndarray:
        """Memory-mapped, read-only; DamagedFile names a file that is gone, cut short or not as written in its first or
        its last block.

        The array carries the groups of its rows, as `groups`.
        """
        array = self._map_file()
        count = len(self.record.get("crc32", ()))
        self._check_blocks({0, count - 1} if count else ())
        return attach_groups(array, self.groups())

    def check(self, tick: Callable[[int], None] = lambda done: None, *, again: bool = False) -> None:
        """Read every byte, but for what this process has found right before (unless `again`): DamagedFile says what is
        wrong. tick(bytes so far).
        """
        if again:
            _right.pop(self.path, None)
        self._map_file()
        self._check_blocks(range(len(self.record.get("crc32", ()))), tick)  # a recording of an earlier version has none

    def _damaged(self, what: str) -> DamagedFile:
        return DamagedFile(f"{self.path} ('{Key(*self.record['key'])}') is {what}. It was not read; record it again")

    def _map_file(self) -> np.ndarray:
        written = self.record["bytes"]
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise self._damaged("gone") from None
        if self.path.is_dir():
            raise self._damaged("damaged: a folder, where there was a file")
        if size != written:
            raise self._damaged(f"damaged: {size} bytes where {written} were written")
        try:
            array = np.lib.format.open_memmap(self.path, mode="r")
        except (
            ValueError,
            EOFError,
            SyntaxError,
        ) as error:  # an OSError is the machine's trouble, not the file's: it passes
            raise self._damaged(f"damaged ({error})") from error
        if array.shape != self.shape or array.dtype != self.dtype:
            raise self._damaged(
                f"damaged: it holds {array.dtype} {array.shape}, and {self.dtype} {self.shape} was written"
            )
        return array

    def _check_blocks(self, blocks: Iterable[int], tick: Callable[[int], None] = lambda done: None) -> None:
        stat = self.path.stat()
        stamp = stat.st_ino, stat.st_mtime_ns, stat.st_size
        known = _right.get(self.path)
        if known is None or known[0] != stamp:
            known = _right[self.path] = stamp, set()
        right, block, size = known[1], self.record.get("block", BLOCK), self.record["bytes"]
        missing = sorted(set(blocks) - right)
        for number, found in compute_sums(self.path, missing, size, block) if missing else ():
            if found != self.record["crc32"][number]:
                raise self._damaged(
                    f"damaged: among its bytes {number * block} to {min((number + 1) * block, size)} some are not as"
                    " they were written"
                )
            right.add(number)
            tick(min((number + 1) * block, size))


def write_synced(path: Path, text: str) -> None:
    """Write a small file and see that it is on the disk."""
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """What a sidecar says; None, with a warning, where it is damaged."""
    needed = {"key", "shape", "dtype", "origin"} | (
        {"rows"} if path.name.endswith(".part.json") else {"bytes", "order", "place", "facts"}
    )
    try:
        record = json.loads(path.read_text())
        if needed <= record.keys() and len(record["key"]) == len(Key._fields):
            return record
        reason = "fields are missing"
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, TypeError, IsADirectoryError) as error:
        reason = str(error)
    warn_user(
        f"{path} is damaged ({reason}): this recording is passed over; record it again, or let rs.Store(...).prune()"
        " take it away"
    )
    return None


def file_stem(key: Key) -> str:
    """A file name that a person can read and that no two keys share."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{key.model}.{key.layer}")[:80]
    whole = json.dumps(list(key._replace(step=check_step(key.step))), default=repr)
    return f"{readable}.{hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()}"


def name_pass(record: Mapping[str, Any]) -> str:
    """All but the layer of a recording's key."""
    model, _, *rest = record["key"]
    return json.dumps([model, *rest])
