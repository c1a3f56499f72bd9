"""One recording being written."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.files import replace_atomically
from repsim_nb.support.labels import Key

from .arrayfile import BLOCK, Checksums, compute_sums, write_synced
from .idsfile import write_groups, write_ids


class Writer:
    """One recording being written, from its first row to its last.

    `rows` are there already; `write` adds; `commit` makes it visible, in one step.

    A row that was written is safe from the end of this process. Safe from a power cut are what was committed and, of
    the rest, the rows
    whose checksums are still right: those that are not are found at the next attempt, and written again.
    """

    interval = 1.0  # seconds between two notes of the progress

    def __init__(
        self,
        stem: Path,
        about: dict[str, Any],
        besides: dict[str, Any],
        ids: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        self._about, self._besides, self._ids, self._groups = {**about, "block": BLOCK}, besides, ids, groups
        self._data, self._sidecar = Path(f"{stem}.npy"), Path(f"{stem}.json")
        self._part, self._progress = Path(f"{stem}.part.npy"), Path(f"{stem}.part.json")
        json.dumps([about, besides])  # better now than after the last batch
        self._key, self._shape, self._dtype = Key(*about["key"]), tuple(about["shape"]), np.dtype(about["dtype"])
        if self._data.is_dir():
            raise IsADirectoryError(
                errno.EISDIR,
                f"{self._data} is a folder where the array of '{self._key}' belongs. Move it away, then record again",
            )
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": self._dtype.str, "fortran_order": False, "shape": self._shape}
        )
        self._head = head.getvalue()
        self._row = math.prod(self._shape[1:]) * self._dtype.itemsize
        self.rows, self._sums = self._found()
        self.save_progress()  # before there is a file: whatever lies in the folder then says whose it is
        self._keep_ids()  # after it, so that nobody finds ids of which no recording speaks, and takes them away
        if not self.rows:
            self._begin()

    def _end(self, rows: int) -> int:
        return len(self._head) + rows * self._row

    def _found(self) -> tuple[int, Checksums]:
        """How many rows an earlier attempt at this very recording left: those up to the first block that is not as it
        was written.
        """
        try:
            progress = json.loads(self._progress.read_text())
            if not self._part.exists() and not self._sidecar.exists():
                os.replace(self._data, self._part)  # it was stopped in the last step, from part to whole
            with open(self._part, "rb") as file:
                same = file.read(len(self._head)) == self._head and os.fstat(file.fileno()).st_size == self._end(
                    self._shape[0]
                )
            usual = {field: self._about.get(field) for field in ("ids", "groups")}  # an earlier version wrote none
            if not same or any(progress.get(k, usual.get(k)) != v for k, v in self._about.items()):
                return 0, Checksums()
            rows, wanted = int(progress["rows"]), progress["crc32"]
            for number, found in compute_sums(self._part, range(len(wanted)), self._end(rows), BLOCK):
                if found != wanted[number]:
                    rows = max(number * BLOCK - len(self._head), 0) // self._row
                    break
            end = self._end(rows)
            whole = end // BLOCK
            tail = [found for _, found in compute_sums(self._part, [whole], end, BLOCK)] if end % BLOCK else []
            return (rows, Checksums([*wanted[:whole], *tail], end)) if rows else (0, Checksums())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0, Checksums()

    def _keep_ids(self) -> None:
        if self._ids is not None:
            write_ids(self._data.parent, self._ids)
        if self._groups is not None:
            write_groups(self._data.parent, self._groups)

    def _begin(self) -> None:
        """An empty file with all its room on the disk taken, so that a full disk is an error here and not later."""
        size = self._end(self._shape[0])
        try:
            with open(self._part, "wb") as file:
                file.write(self._head)
                file.truncate(size)
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            self._progress.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f"no room on the disk for '{self._key}': it takes {size / 1e6:.0f} MB in {self._part.parent}",
            ) from error
        self._sums.add(memoryview(self._head))

    def write(self, start: int, values: np.ndarray) -> None:
        """Put rows start, start + 1, ... in place; those that are there already stay as they are.

        Now and then the progress is noted.

        ValueError where rows would be left out, or a value is too large for the precision that is written.
        """
        values = np.asarray(values)
        stop = start + len(values)
        if values.shape[1:] != self._shape[1:] or start > self.rows or stop > self._shape[0]:
            raise ValueError(
                f"'{self._key}' is written in order, as {self._shape}, and sample {self.rows} is next; samples {start}"
                f" to {stop} came, as {values.shape}"
            )
        values = self._cast(values[self.rows - start :]) if stop > self.rows else values[:0]
        if not values.size:
            return
        data, place = memoryview(values.reshape(-1).view(np.uint8).data), self._end(self.rows)
        file = os.open(
            self._part, os.O_WRONLY
        )  # not a memory map: pages that wait to be written would count as this process's memory
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(file, data[done:], place + done)
        finally:
            os.close(file)
        self._sums.add(data)
        self.rows = stop
        if time.monotonic() - self._saved > self.interval:
            self.save_progress()

    def _cast(self, values: np.ndarray) -> np.ndarray:
        if values.dtype == self._dtype:
            return np.ascontiguousarray(values)
        with np.errstate(over="ignore"):
            cast = values.astype(self._dtype, order="C")
        if np.issubdtype(self._dtype, np.floating) and np.isinf(cast).any():
            lost = (np.isinf(cast) & np.isfinite(values)).reshape(len(values), -1)
            if lost.any():
                worst, rows = (
                    np.abs(values.reshape(len(values), -1)[lost]).max(),
                    self.rows + np.flatnonzero(lost.any(1)),
                )
                some = ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
                raise ValueError(
                    f"'{self._key}' holds values up to {worst:.6g} (samples {some}), and {self._dtype} ends at"
                    f" {float(np.finfo(self._dtype).max):.6g}. Record this layer into a Store of the same folder"
                    " without dtype"
                )
        return cast

    def save_progress(self) -> None:
        """Note how far it is."""
        with replace_atomically(self._progress) as path:
            path.write_text(json.dumps({**self._about, "rows": self.rows, "crc32": self._sums.sums}))
        self._saved = time.monotonic()

    def written(self) -> np.ndarray:
        """The rows that are there, memory-mapped, read-only."""
        return np.load(self._part, mmap_mode="r")[: self.rows]

    def restart(self) -> None:
        """Begin again at the first row: those that are there turned out to be of another recording."""
        self.rows, self._sums = 0, Checksums()
        self.save_progress()
        self._begin()

    def discard(self) -> None:
        """Give up this recording: nothing of it is kept."""
        self._progress.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def commit(self, **more: Any) -> None:
        """Every row is there (else ValueError): see that all are on the disk, and make them a recording. more: fields
        that its sidecar holds besides.
        """
        if self.rows < self._shape[0]:
            raise ValueError(f"'{self._key}' is not whole: {self.rows} of {self._shape[0]} samples were written")
        with open(self._part, "rb") as file:
            os.fsync(file.fileno())
        self._sidecar.unlink(
            missing_ok=True
        )  # of a damaged recording that this one replaces: nobody may hold it against the new rows
        os.replace(self._part, self._data)
        self._keep_ids()
        with replace_atomically(self._sidecar) as path:
            write_synced(
                path,
                json.dumps(
                    {
                        **self._about,
                        "crc32": self._sums.sums,
                        "bytes": self._sums.size,
                        "order": time.time_ns(),
                        **self._besides,
                        **more,
                    }
                ),
            )
        folder = os.open(self._data.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._progress.unlink(missing_ok=True)
