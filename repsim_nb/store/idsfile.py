"""The ids of a data set's samples in a store: one small file for all recordings on the same samples, named by a hash of what is in it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from pathlib import Path

import numpy as np

from ..errors import DamagedFile
from ..files import replacing
from ..ids import checked_ids, ids_fingerprint

NAME = r"samples\.(?P<ids>[0-9a-f]{32})\.ids"


def ids_path(folder: Path, fingerprint: str) -> Path:
    """Where the ids with this fingerprint are."""
    return folder / f"samples.{fingerprint}.ids"


def write_ids(folder: Path, ids: np.ndarray) -> None:
    """Have the file in this folder, whole or not at all. One that is there and right stays."""
    path = ids_path(folder, ids_fingerprint(ids))
    with contextlib.suppress(DamagedFile):
        read_ids(path)
        return
    with replacing(path) as temporary, open(temporary, "w") as file:
        file.write(json.dumps(ids.tolist()))
        file.flush()
        os.fsync(file.fileno())


def read_ids(path: Path) -> np.ndarray:
    """The ids in a file, read once as long as it stays the same; DamagedFile if it is gone or not as it was written."""
    try:
        stat = path.stat()
        return _read(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError:
        reason = "is gone"
    except (OSError, ValueError) as error:
        reason = f"is damaged ({error})"
    raise DamagedFile(
        f"{path}, which holds the ids of samples, {reason}. Recordings on these samples are read without ids; record one again to have "
        "them back"
    )


@functools.lru_cache(maxsize=32)
def _read(path: Path, *_stamp: int) -> np.ndarray:
    found = json.loads(path.read_text())
    ids = checked_ids(found, len(found)) if isinstance(found, list) else None
    if ids is None or ids_path(path.parent, ids_fingerprint(ids)).name != path.name:
        raise ValueError("it holds other values than were written")
    return ids
