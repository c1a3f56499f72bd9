"""The ids of samples and the groups of rows in a store: one file for all recordings with the same ones."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, as_clause
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.ids import check_ids, ids_fingerprint
from repsim_nb.support.row_groups import groups_fingerprint, runs_of, stored_groups
from repsim_nb.support.validation import check_labels

NAME = r"(?P<ids>samples\.[0-9a-f]{32}\.ids|rows\.[0-9a-f]{32}\.groups)"


def write_json(path: Path, content: Any) -> None:
    """Write a small file, whole or not at all, and wait until it is on the disk."""
    with replace_atomically(path) as temporary, open(temporary, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def to_json(facts: Any) -> Any:
    """Return facts as JSON has them: NumPy scalars become Python's, and what JSON does not have becomes its text."""
    return json.loads(
        json.dumps(
            dict(facts), default=lambda v: v.item() if hasattr(v, "item") and getattr(v, "size", 0) == 1 else str(v)
        )
    )


def ids_path(folder: Path, fingerprint: str) -> Path:
    """Return the path of the ids with this fingerprint."""
    return folder / f"samples.{fingerprint}.ids"


def groups_path(folder: Path, fingerprint: str) -> Path:
    """Return the path of the groups of rows with this fingerprint."""
    return folder / f"rows.{fingerprint}.groups"


def write_ids(folder: Path, ids: np.ndarray) -> None:
    """Write the file of these ids, unless it is there and right."""
    _write(ids_path(folder, ids_fingerprint(ids)), ids.tolist())


def write_groups(folder: Path, groups: np.ndarray) -> None:
    """Write the file of these groups: a label and a number of rows for each run of rows with one label."""
    labels, rows = runs_of(groups)
    _write(groups_path(folder, groups_fingerprint(groups)), {"labels": labels.tolist(), "rows": rows.tolist()})


def _write(path: Path, content: Any) -> None:
    """Write a file of ids or groups, unless it is there and right."""
    with contextlib.suppress(DamagedFile):
        read_ids(path)
        return
    write_json(path, content)


def read_ids(path: Path) -> np.ndarray:
    """Return the ids (or the groups) in a file, which is read once as long as it stays the same.

    DamagedFile if it is missing or not as it was written.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        reason = "is missing"
    except (OSError, ValueError) as error:
        reason = f"is damaged ({as_clause(error)})"
    what = "groups of rows" if path.suffix == ".groups" else "ids of samples"
    its = what.partition(" ")[0]
    raise DamagedFile(
        f"{path}, which contains the {what}, {reason}. Recordings on these samples are read without {its}. Record one"
        " of them again to restore it."
    )


@functools.lru_cache(maxsize=32)
def _read(path: Path, *_stamp: int) -> np.ndarray:
    """Read and check a file; its time and size are part of the address in the cache."""
    found = json.loads(path.read_text())
    if path.suffix == ".groups":
        return _groups(path, found)
    ids = check_ids(found, len(found)) if isinstance(found, list) else None
    if ids is None or ids_path(path.parent, ids_fingerprint(ids)).name != path.name:
        raise ValueError("it contains other values than were written")
    return ids


def _groups(path: Path, found: Any) -> np.ndarray:
    """Return the group of each row from the labels and lengths of runs."""
    try:
        rows = [int(number) for number in found["rows"]]
        groups = stored_groups(np.repeat(check_labels(found["labels"], len(rows), "groups"), rows))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"it contains no labels: {error}") from error
    if groups_path(path.parent, groups_fingerprint(groups)).name != path.name:
        raise ValueError("it contains other values than were written")
    return groups
