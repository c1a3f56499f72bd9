"""`StoredActivations`: the recordings in a folder, as `record` finds, reads and writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, warn_user
from repsim_nb.support.ids import check_ids, ids_fingerprint
from repsim_nb.support.labels import Key, check_step
from repsim_nb.support.row_groups import groups_fingerprint, stored_groups
from repsim_nb.support.validation import check_labels

from .activations import Activations
from .arrayfile import ArrayFile, file_stem, name_pass
from .entries import merge_facts
from .folder import StoreFolder
from .idsfile import read_ids, to_json, write_json
from .writer import Writer

PRECISIONS = ("float16", "float32", "float64")
RENAME = {  # what to rename if a recording with the same key was made from something else
    "weights": "the model another name or step",
    "inputs": "the data another name",
    "ids": "the data another name",
    "pool": "the pool function another name",
    "axis": "the model another name, or the axis that it was recorded with",
}


class StoredActivations(Activations):
    """The recordings in a folder; `Store` adds what people do with a folder.

    Parameters
    ----------
    path : str or Path
        The folder.
    dtype : {"float16", "float32", "float64"}, optional
        The precision in which floating activations are written.
    """

    def __init__(self, path: str | Path, *, dtype: Any = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"The path of a store must be a str or a Path; got {path!r}.")
        self.folder = StoreFolder(Path(path).expanduser())
        nearest = next((place for place in (self.path, *self.path.parents) if place.exists()), self.path)
        if nearest.exists() and not nearest.is_dir():
            raise ValueError(f"The path of a store must be a folder; {nearest} is a file.")
        try:
            self.dtype = None if dtype is None else np.dtype(dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if self.dtype is not None and self.dtype.name not in PRECISIONS:
            raise ValueError(
                f"dtype must be one of {list(PRECISIONS)}, or None to write activations as they come; got {dtype!r}."
            )

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def facts(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        """What is known about the models, {model: {field: value}}, without fields that differ between recordings."""
        return merge_facts((key.model, entry.record["facts"]) for key, entry in self._entries().items())

    def _entries(self) -> dict[Key, ArrayFile]:
        """Return all finished recordings: models in the order of recording, their layers in forward order."""
        records = list(self.folder.records(".json"))
        began: dict[str, int] = {}  # the time at which the first layer of each pass was recorded
        for record in records:
            began[name_pass(record)] = min(began.get(name_pass(record), record["order"]), record["order"])
        records.sort(key=lambda record: (began[name_pass(record)], name_pass(record), record["place"], record["order"]))
        return {Key(*record["key"]): self.folder.file_of(record) for record in records}

    def find(self, key: Key) -> ArrayFile | None:
        """Find one recording without reading the records of all others.

        Parameters
        ----------
        key : Key
            The whole key.

        Returns
        -------
        ArrayFile or None
            The file of the recording, not yet opened; None if there is no recording with this key.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> store, key = rs.Store(tempfile.mkdtemp()), rs.Key("net", "fc")
        >>> with store.alone(key):
        ...     writer = store.writer(key, (2, 3), float, {"weights": "f3a1"}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.commit()
        >>> store.find(key).shape
        (2, 3)
        >>> store.find(rs.Key("net", "conv")) is None
        True
        """
        record = self.folder.record(f"{file_stem(key)}.json")
        return None if record is None else self.folder.file_of(record)

    def __getitem__(self, key: Key | str) -> np.ndarray:
        """Map the array of a recording into memory, by its key or a name that fits only one."""
        if isinstance(key, Key) and (found := self.find(key)) is not None:
            return self._labeled(key, found)
        return super().__getitem__(key)

    def holds(self, key: Key, origin: Mapping[str, str]) -> bool:
        """Check whether a recording is in the store, with every byte as it was written.

        The whole file is read the first time in a process, and again only if it changes.

        Parameters
        ----------
        key : Key
            The key of the recording.
        origin : {str: str}
            Fingerprints of what it is made from, {"weights": ..., "inputs": ..., ...}. The fingerprint of "ids" counts
            only if both are known, since earlier versions wrote none.

        Returns
        -------
        bool
            False if there is none, or if it is damaged, which a warning reports.

        Raises
        ------
        ValueError
            If a recording with this key was made from something else.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> store, key = rs.Store(tempfile.mkdtemp()), rs.Key("net", "fc")
        >>> with store.alone(key):
        ...     writer = store.writer(key, (2, 3), float, {"weights": "f3a1"}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.commit()
        >>> store.holds(key, {"weights": "f3a1"}), store.holds(rs.Key("net", "conv"), {"weights": "f3a1"})
        (True, False)
        """
        entry = self.find(key)
        if entry is None:
            return False
        recorded = entry.record["origin"]
        for what, fingerprint in origin.items():
            unknown = what == "ids" and not (fingerprint and recorded.get(what))
            if recorded.get(what, "") != fingerprint and not unknown:
                rename = RENAME.get(what, "the model another name")
                raise ValueError(self._describe_conflict(key, f"recorded with other {what}", rename))
        try:
            entry.check()
            if entry.ids_path is not None and origin.get("ids"):
                read_ids(entry.ids_path)
            if entry.groups_path is not None:
                read_ids(entry.groups_path)
        except DamagedFile as error:
            warn_user(str(error).replace("Record it again", "It is recorded again"))
            return False
        return True

    def _describe_conflict(self, key: Key, how: str, give: str) -> str:
        """Return the error: a recording that differs (how) has this key already; give: what to give another name."""
        fields = ", ".join(f"{field}={value!r}" for field, value in key._asdict().items())
        return (
            f"The store {self.path} already has '{key}', {how}. Give {give}, or remove the old one:"
            f" rs.Store({str(self.path)!r}).remove({fields})"
        )

    def _add_answers(self, key: Key, answers: Mapping[str, Any]) -> None:
        """Note next to a recording which layers a request such as layers="auto" stands for, inside `alone`.

        answers: {fingerprint of the request: the layers that were recorded and those that were left out}. Nothing is
        written into a read-only folder.
        """
        name = f"{file_stem(key)}.json"
        record = self.folder.record(name)
        if record is None or self.folder.is_read_only() or answers.keys() <= record.get("answers", {}).keys():
            return
        write_json(self.path / name, {**record, "answers": {**record.get("answers", {}), **answers}})

    # -- writing

    @contextmanager
    def alone(self, key: Key) -> Iterator[None]:
        """Keep other processes from recording this model on this data set into this store, while the context is open.

        If another process is recording it, a warning says so and the call waits. A read-only folder is not locked: its
        recordings can be read, and the first `writer` raises.

        Parameters
        ----------
        key : Key
            Any key of the model, data set, step and pool; the layer does not count.

        Yields
        ------
        None
            Nothing; the recording is locked inside the context.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> store, key = rs.Store(tempfile.mkdtemp()), rs.Key("net", "fc")
        >>> with store.alone(key):
        ...     writer = store.writer(key, (2, 3), float, {"weights": "f3a1"}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.commit()
        >>> len(store)
        1
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
        """Begin to record an array, or continue an unfinished recording of it, inside `alone`.

        Parameters
        ----------
        key : Key
            Its key.
        shape : tuple of int
            (rows, ...).
        dtype : dtype
            The type of the values; a floating type gives way to the `dtype` of the store.
        origin : {str: str}
            Fingerprints of what it is made from, as in `holds`.
        facts : {str: value}
            What is known about the model.
        place : int
            The place of the layer in forward order.
        ids : array of str or int (rows,), optional
            The ids of the samples. Ignored if each token is a row.
        groups : array (rows,), optional
            A label for each row, such as the sample that a token is from.

        Returns
        -------
        Writer
            Its `rows` are written already; `write` adds rows and `commit` finishes.

        Raises
        ------
        OSError
            If the folder cannot be written to, or the disk has no room for the array.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> store, key = rs.Store(tempfile.mkdtemp()), rs.Key("net", "fc")
        >>> with store.alone(key):
        ...     writer = store.writer(key, (2, 3), float, {"weights": "f3a1"}, {}, place=0)
        ...     writer.write(0, np.ones((2, 3)))
        ...     writer.commit()
        >>> store["net/fc"].tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
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
            return Writer(self.path / file_stem(key), about, {"facts": to_json(facts), "place": place}, known, labels)
