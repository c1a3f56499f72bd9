"""Ids of samples and groups of rows in a store: one file for all recordings with the same ones, named by its hash."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.ids import check_ids, ids_fingerprint
from repsim_nb.support.row_groups import groups_fingerprint, runs_of, stored_groups
from repsim_nb.support.validation import check_labels

NAME = r"(?P<ids>samples\.[0-9a-f]{32}\.ids|rows\.[0-9a-f]{32}\.groups)"


def ids_path(folder: Path, fingerprint: str) -> Path:
    """Where the ids with this fingerprint are."""
    return folder / f"samples.{fingerprint}.ids"


def groups_path(folder: Path, fingerprint: str) -> Path:
    """Where the groups of rows with this fingerprint are."""
    return folder / f"rows.{fingerprint}.groups"


def write_ids(folder: Path, ids: np.ndarray) -> None:
    """Have the file in this folder, whole or not at all. One that is there and right stays."""
    _write(ids_path(folder, ids_fingerprint(ids)), ids.tolist())


def write_groups(folder: Path, groups: np.ndarray) -> None:
    """Have the file in this folder, whole or not at all: a label and a number of rows for each run of rows with one
    label.
    """
    labels, rows = runs_of(groups)
    _write(groups_path(folder, groups_fingerprint(groups)), {"labels": labels.tolist(), "rows": rows.tolist()})


def _write(path: Path, content: Any) -> None:
    with contextlib.suppress(DamagedFile):
        read_ids(path)
        return
    with replace_atomically(path) as temporary, open(temporary, "w") as file:
        file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())


def read_ids(path: Path) -> np.ndarray:
    """The ids (or the groups) in a file, read once as long as it stays the same; DamagedFile if it is gone or not as it
    was written.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        reason = "is gone"
    except (OSError, ValueError) as error:
        reason = f"is damaged ({error})"
    what = "groups of rows" if path.suffix == ".groups" else "ids of samples"
    its = what.partition(" ")[0]
    raise DamagedFile(
        f"{path}, which holds the {what}, {reason}. Recordings on these samples are read without {its}; record one"
        " again to have them back"
    )


@functools.lru_cache(maxsize=32)
def _read(path: Path, *_stamp: int) -> np.ndarray:
    found = json.loads(path.read_text())
    if path.suffix == ".groups":
        return _groups(path, found)
    ids = check_ids(found, len(found)) if isinstance(found, list) else None
    if ids is None or ids_path(path.parent, ids_fingerprint(ids)).name != path.name:
        raise ValueError("it holds other values than were written")
    return ids


def _groups(path: Path, found: Any) -> np.ndarray:
    try:
        rows = [int(number) for number in found["rows"]]
        groups = stored_groups(np.repeat(check_labels(found["labels"], len(rows), "groups"), rows))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no labels are in it: {error}") from error
    if groups_path(path.parent, groups_fingerprint(groups)).name != path.name:
        raise ValueError("it holds other values than were written")
    return groups
