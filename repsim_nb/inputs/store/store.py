"""`Store`: activations in a folder."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import DamagedFile, join_names, warn_user
from repsim_nb.support.labels import Key, select
from repsim_nb.support.progress import Tick, show_progress

from .cleaning import find_fault, prune, remove_recordings
from .entries import count_recordings
from .folder import size_of
from .stored import StoredActivations


class Store(StoredActivations):
    """Activations in a folder: memory-mapped, written batch by batch, safe to interrupt, shared by processes.

    A store has all methods of `rs.Activations`. Opening one reads no array; ``store[key]`` maps a file into memory.

    Parameters
    ----------
    path : str or Path
        The folder. It is created, with missing parent folders, when something is first recorded into it.
    dtype : {"float16", "float32", "float64"}, optional
        The precision in which floating activations are written; None writes them as they come. "float16" takes half
        the disk: values have 11 bits, fewer below 6e-5, and values beyond 65504 are an error. Recordings that are
        already in the folder stay valid, whatever their precision (`table` shows it).

    Attributes
    ----------
    path : Path
        The folder.
    dtype : numpy.dtype or None
        As given.
    facts : dict
        {model: {field: value}}, what is known about the models.

    Raises
    ------
    TypeError
        If `path` is not a path.
    ValueError
        If the path is a file, or the precision is unknown.

    Notes
    -----
    Readers do not see an unfinished recording (`unfinished` lists them). If it is recorded again, it continues at the
    batch at which it stopped.

    Files are compared with the checksums (CRC-32) of what was written. A file that differs is reported, not read, and
    recorded again. Opening a file checks its size, shape and type and, once in a process, its first and last 64 MiB,
    which is all of a file up to 128 MiB. `record` and `verify` read every byte: 1 to 4 GB per second from the system's
    cache, else as fast as the disk.

    The ids of samples are in one small file for each data set, which is deleted with the last recording on these
    samples; so are the groups of rows that are tokens. Locks use flock, on Linux and macOS; a shared disk must support
    it.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> from torch import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = rs.Store(folder)
    ...     x = rs.record(nn.Linear(3, 2), np.ones((4, 3), "float32"), into=store, progress=False)
    ...     print([str(key) for key in store], store["output"].shape)
    ['Linear/output (inputs)'] (4, 2)
    """

    def _emptiness(self) -> str:
        """Return why there is no recording, for errors."""
        if not self.path.is_dir():
            return f"there is no folder {self.path}"
        begun = len(self.unfinished())
        unfinished = f", only {begun} unfinished" if begun else ""
        return f"the store {self.path} has no recordings{unfinished}"

    def unfinished(self) -> dict[Key, tuple[int, int]]:
        """List the recordings that were begun and not finished.

        Either a process is recording them now, or it was stopped; recorded again, they continue.

        Returns
        -------
        {Key: (int, int)}
            The number of rows that are written, at most a second old, and the number of all rows.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = rs.Store(folder).writer(rs.Key("net", "fc"), (4, 3), float, {}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.save_progress()
        ...     {str(key): rows for key, rows in rs.Store(folder).unfinished().items()}
        {'net/fc': (2, 4)}
        """
        begun = self.folder.records(".part.json")
        found = {Key(*record["key"]): (record["rows"], record["shape"][0]) for record in begun}
        return {key: rows for key, rows in found.items() if self.find(key) is None}

    @property
    def size(self) -> int:
        """The size of the folder in bytes.

        It includes unfinished recordings, which take their whole size at once, and leftover files.
        """
        return sum(size_of(Path(entry)) for entry in os.scandir(self.path)) if self.path.is_dir() else 0

    def verify(self, *, progress: bool | Tick = True) -> dict[Key | str, str]:
        """Read every byte of every recording and report what is damaged.

        `record` records damaged recordings again; `prune` removes them.

        Parameters
        ----------
        progress : bool or function(done, total)
            Show a bar, or call a function with megabytes; it may raise to stop.

        Returns
        -------
        {Key or str: str}
            What is wrong, for each damaged recording. If the damaged file is the one that contains the key, or contains
            ids or groups, its file name stands in place of the key. Empty if all files are as they were written.

        Warns
        -----
        UserWarning
            If there are arrays whose record is missing.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> from torch import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = rs.record(nn.Linear(3, 2), np.ones((4, 3), "float32"), into=folder, progress=False)
        ...     rs.Store(folder).verify(progress=False)
        {}
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged records are reported below
            entries, done = self._entries(), 0
        wrong: dict[Key | str, str] = {}
        for name, match in self.folder.names():
            if name == f"{match['stem']}.json" and self.folder.record(name) is None and (self.path / name).exists():
                wrong[name] = (
                    f"{self.path / name}, which describes {match['stem']}.npy, is damaged. It was not read. Record it"
                    " again."
                )
        for path in {path for entry in entries.values() for path in (entry.ids_path, entry.groups_path)}:
            if path is not None and (fault := find_fault(path)):
                wrong[path.name] = fault
        if orphans := self.folder.orphans():
            which, files = ("these arrays", "files are") if len(orphans) > 1 else ("this array", "file is")
            warn_user(
                f"In {self.path} the .json {files} missing for {which}: {join_names(orphans, 4)}. Record again what is"
                " missing; prune() deletes leftover files."
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

    # -- removing

    def remove(self, **fields: Any) -> int:
        """Delete the recordings, finished or not, whose keys have these fields.

        Parameters
        ----------
        **fields
            As in `where`: values, patterns or lists. At least one is required; model="*" means all.

        Returns
        -------
        int
            The number of deleted recordings.

        Raises
        ------
        ValueError
            If no field is given, if nothing fits, or if another process is recording one of them.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> from torch import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = rs.record(nn.Linear(3, 2), np.ones((4, 3), "float32"), into=folder, progress=False)
        ...     rs.Store(folder).remove(model="Linear")
        1
        """
        if not fields:
            raise ValueError(
                'remove needs at least one field, such as remove(model="mnist-cnn-0", layer="fc"); remove(model="*")'
                " deletes all recordings."
            )
        keys = list(dict.fromkeys([*self._entries(), *self.unfinished()]))
        if not keys:
            raise ValueError(f"There is nothing to remove: {self._emptiness()}.")
        doomed = [key for key, good in zip(keys, select(keys, Key._fields, fields), strict=True) if good]
        remove_recordings(self.folder, doomed)
        return len(doomed)

    def prune(self, *, unfinished: bool = True, dry_run: bool = False) -> dict[str, int]:
        """Delete files that are of no use: damaged and unfinished recordings, and leftover files.

        Deleted are recordings that are damaged (every byte is read, once in a process), unfinished recordings, files
        that belong to no recording and temporary files, both if older than a minute, damaged ids and groups, and locks
        that no process holds. What a process is recording now stays, and so do files that no Store wrote.

        Parameters
        ----------
        unfinished : bool
            Delete unfinished recordings too; False keeps them, to continue them later.
        dry_run : bool
            Only report what would be deleted.

        Returns
        -------
        {str: int}
            The size in bytes of each deleted file, by its name.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> from torch import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = rs.record(nn.Linear(3, 2), np.ones((4, 3), "float32"), into=folder, progress=False)
        ...     rs.Store(folder).prune(dry_run=True)
        {}
        """
        return prune(self.folder, unfinished=unfinished, dry_run=dry_run)

    def __repr__(self) -> str:
        """Show the folder, the number of recordings and the size."""
        begun, size = len(self.unfinished()), self.size
        parts = [
            count_recordings(self, self.facts),
            *([f"{begun} unfinished"] if begun else []),
            f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB",
        ]
        return f"Store('{self.path}', {', '.join(parts)})" + ("" if self.path.is_dir() else " (no such folder yet)")
