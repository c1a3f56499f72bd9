"""`Writer`: one recording while it is written."""

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

from .arrayfile import BLOCK, Checksums, compute_sums
from .idsfile import write_groups, write_ids, write_json


class Writer:
    """One recording while it is written, row by row; `Store.writer` returns it.

    `write` adds rows, `commit` makes the recording visible in one step. A row that was written is safe from the end of
    this process. After a power cut, the rows whose checksums are still right are found at the next attempt, and the
    others are written again.

    Parameters
    ----------
    stem : Path
        The path of the files, without their endings.
    about : dict
        What identifies the recording: key, shape, dtype, origin.
    besides : dict
        More fields of the record: facts, place.
    ids : array of str or int (n,), optional
        The ids of the samples.
    groups : array of str or int (n,), optional
        The group of each row.

    Attributes
    ----------
    rows : int
        The number of rows that are written.

    Raises
    ------
    OSError
        If the disk has no room for the whole array.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store, key = rs.Store(folder), rs.Key("net", "fc")
    ...     with store.alone(key):
    ...         writer = store.writer(key, (4, 3), np.float32, {"weights": "1"}, {}, place=0)
    ...         writer.write(0, np.ones((4, 3)))
    ...         writer.commit()
    ...     print(store["fc"].shape)
    (4, 3)
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
        json.dumps([about, besides])  # an error here is better than after the last batch
        self._key, self._shape, self._dtype = Key(*about["key"]), tuple(about["shape"]), np.dtype(about["dtype"])
        if self._data.is_dir():
            raise IsADirectoryError(
                errno.EISDIR,
                f"{self._data} is a folder, and the array of '{self._key}' belongs there. Move the folder, then record"
                " again.",
            )
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": self._dtype.str, "fortran_order": False, "shape": self._shape}
        )
        self._head = head.getvalue()
        self._row = math.prod(self._shape[1:]) * self._dtype.itemsize
        self.rows, self._sums = self._found()
        self.save_progress()  # before the file exists, so that each file in the folder belongs to a record
        self._keep_ids()  # after the record, so that no other process deletes ids that no record refers to
        if not self.rows:
            self._begin()

    def _end(self, rows: int) -> int:
        return len(self._head) + rows * self._row

    def _found(self) -> tuple[int, Checksums]:
        """Return the rows that an earlier attempt at the same recording left, and their checksums.

        They end at the first block that is damaged.
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
        """Create the file in its whole size, so that a full disk is an error here and not later."""
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
                f"The disk has no room for '{self._key}', which takes {size / 1e6:.0f} MB in {self._part.parent}.",
            ) from error
        self._sums.add(memoryview(self._head))

    def write(self, start: int, values: np.ndarray) -> None:
        """Write rows from `start` on; rows that are written already stay as they are.

        Parameters
        ----------
        start : int
            The number of the first row; at most `rows`.
        values : array (k, ...)
            The rows.

        Raises
        ------
        ValueError
            If rows would be left out, the shape is another, or a value is too large for the precision that is written.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.rows
        2
        """
        values = np.asarray(values)
        stop = start + len(values)
        if values.shape[1:] != self._shape[1:] or start > self.rows or stop > self._shape[0]:
            raise ValueError(
                f"'{self._key}' must be written in order, as {self._shape}, from row {self.rows} on; got rows"
                f" {start} to {stop}, as {values.shape}."
            )
        values = self._cast(values[self.rows - start :]) if stop > self.rows else values[:0]
        if not values.size:
            return
        data, place = memoryview(values.reshape(-1).view(np.uint8).data), self._end(self.rows)
        # no memory map: pages that wait to be written would count as memory of this process
        file = os.open(self._part, os.O_WRONLY)
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
                    f"'{self._key}' has values up to {worst:.6g} (samples {some}); the largest {self._dtype} is"
                    f" {float(np.finfo(self._dtype).max):.6g}. Record this layer into a Store of the same folder"
                    " without dtype."
                )
        return cast

    def save_progress(self) -> None:
        """Note how many rows are written, so that a later attempt continues there.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.save_progress()
        ...     list(rs.Store(folder).unfinished().values())
        [(2, 4)]
        """
        with replace_atomically(self._progress) as path:
            path.write_text(json.dumps({**self._about, "rows": self.rows, "crc32": self._sums.sums}))
        self._saved = time.monotonic()

    def written(self) -> np.ndarray:
        """Return the rows that are written.

        Returns
        -------
        array (rows, ...)
            Memory-mapped and read-only.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.written().shape
        (2, 3)
        """
        return np.load(self._part, mmap_mode="r")[: self.rows]

    def restart(self) -> None:
        """Start again at the first row, if the rows that are written turn out to be of a different recording.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.restart()
        ...     writer.rows
        0
        """
        self.rows, self._sums = 0, Checksums()
        self.save_progress()
        self._begin()

    def discard(self) -> None:
        """Delete what was written.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.discard()
        ...     rs.Store(folder).unfinished()
        {}
        """
        self._progress.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def commit(self, **more: Any) -> None:
        """Make the rows a recording, once all are written and on the disk.

        Parameters
        ----------
        **more
            More fields of the record.

        Raises
        ------
        ValueError
            If rows are missing.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((4, 3)))
        ...     writer.commit()
        ...     [str(key) for key in rs.Store(folder)]
        ['net/fc']
        """
        if self.rows < self._shape[0]:
            raise ValueError(f"'{self._key}' is not complete: {self.rows} of {self._shape[0]} rows are written.")
        with open(self._part, "rb") as file:
            os.fsync(file.fileno())
        # of a damaged recording that this one replaces: it must not describe the new rows
        self._sidecar.unlink(missing_ok=True)
        os.replace(self._part, self._data)
        self._keep_ids()
        sums = {"crc32": self._sums.sums, "bytes": self._sums.size, "order": time.time_ns()}
        write_json(self._sidecar, {**self._about, **sums, **self._besides, **more})
        folder = os.open(self._data.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._progress.unlink(missing_ok=True)
