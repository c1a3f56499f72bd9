"""One recording on disk: the array file, and its record with checksums."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.inputs.formats import OnDisk
from repsim_nb.support.errors import DamagedFile, as_clause, warn_user
from repsim_nb.support.labels import Key, check_step

from .idsfile import groups_path, ids_path, read_ids

# bytes of one checksum, a CRC-32: it finds decay, not forgery, and is five times as fast as a cryptographic hash
BLOCK = 2**26
_PIECE = 2**22  # bytes read at once
# blocks that this process has found right, while the file is the same
_right: dict[Path, tuple[tuple[int, ...], set[int]]] = {}


class Checksums:
    """The checksums of the blocks of a file, from bytes that come in order."""

    def __init__(self, sums: Iterable[int] = (), size: int = 0) -> None:
        self.sums, self.size = list(sums), size

    def add(self, data: memoryview) -> None:
        """Add the next bytes."""
        while len(data):
            room = BLOCK - self.size % BLOCK
            if room == BLOCK:
                self.sums.append(0)
            now, data = data[:room], data[room:]
            self.sums[-1] = zlib.crc32(now, self.sums[-1])
            self.size += len(now)


def compute_sums(path: Path, blocks: Iterable[int], size: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield (number, checksum on the disk) for these blocks of the first `size` bytes.

    Only a piece of the file is in memory at a time.
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
class ArrayFile(OnDisk):
    """A finished recording: its array file and its record."""

    path: Path
    record: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(self.record["shape"])

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return np.dtype(self.record["dtype"])

    @property
    def ids_path(self) -> Path | None:
        """The file with the ids of the samples; None if they are unknown."""
        return ids_path(self.path.parent, self.record["ids"]) if self.record.get("ids") else None

    @property
    def groups_path(self) -> Path | None:
        """The file with the groups of the rows; None if each row is a sample."""
        return groups_path(self.path.parent, self.record["groups"]) if self.record.get("groups") else None

    def ids(self) -> np.ndarray | None:
        """Return the ids of the samples; None, with a warning, if their file is missing or damaged."""
        return self._read(self.ids_path)

    def groups(self) -> np.ndarray | None:
        """Return the group of each row; None, with a warning, if their file is missing or damaged."""
        return self._read(self.groups_path)

    def _read(self, path: Path | None) -> np.ndarray | None:
        try:
            return None if path is None else read_ids(path)
        except DamagedFile as error:
            warn_user(str(error))
            return None

    def open(self) -> np.ndarray:
        """Return the array, memory-mapped and read-only, without the ids and groups of its rows.

        DamagedFile if the file is missing, has another size, or differs from what was written in its first or last
        block.
        """
        array = self._map_file()
        count = len(self.record.get("crc32", ()))
        self._check_blocks({0, count - 1} if count else ())
        return array

    def check(self, tick: Callable[[int], None] = lambda done: None, *, again: bool = False) -> None:
        """Read every byte; DamagedFile if something is not as it was written.

        Blocks that this process has found right before are skipped, unless `again`. tick(bytes so far).
        """
        if again:
            _right.pop(self.path, None)
        self._map_file()
        self._check_blocks(range(len(self.record.get("crc32", ()))), tick)  # a recording of an earlier version has none

    def _damaged(self, what: str) -> DamagedFile:
        """Return the error about this file."""
        return DamagedFile(f"{self.path} ('{Key(*self.record['key'])}') is {what}. It was not read. Record it again.")

    def _map_file(self) -> np.ndarray:
        """Map the file into memory, if its size, shape and type are right."""
        written = self.record["bytes"]
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise self._damaged("missing") from None
        if self.path.is_dir():
            raise self._damaged("damaged: a folder is in place of the file")
        if size != written:
            raise self._damaged(f"damaged: it has {size} bytes, and {written} were written")
        try:
            array = np.lib.format.open_memmap(self.path, mode="r")
        except (ValueError, EOFError, SyntaxError) as error:  # an OSError is a fault of the machine, not of the file
            raise self._damaged(f"damaged ({as_clause(error)})") from error
        if array.shape != self.shape or array.dtype != self.dtype:
            raise self._damaged(
                f"damaged: it contains {array.dtype} {array.shape}, and {self.dtype} {self.shape} was written"
            )
        return array

    def _check_blocks(self, blocks: Iterable[int], tick: Callable[[int], None] = lambda done: None) -> None:
        """Compare blocks with their checksums, once in a process as long as the file is the same."""
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
                    f"damaged: some of its bytes {number * block} to {min((number + 1) * block, size)} are not as they"
                    " were written"
                )
            right.add(number)
            tick(min((number + 1) * block, size))


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Return the record in a .json file; None, with a warning, if it is damaged."""
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
        f"{path} is damaged ({reason}). This recording is ignored. Record it again, or delete it by"
        " rs.Store(...).prune()."
    )
    return None


def file_stem(key: Key) -> str:
    """Return a file name that a person can read and that no two keys share."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{key.model}.{key.layer}")[:80]
    whole = json.dumps(list(key._replace(step=check_step(key.step))), default=repr)
    return f"{readable}.{hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()}"


def name_pass(record: Mapping[str, Any]) -> str:
    """Return the key of a recording without its layer."""
    model, _, *rest = record["key"]
    return json.dumps([model, *rest])
