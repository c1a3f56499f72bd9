"""Large arrays of a computation in files of a scratch folder instead of in memory."""

from __future__ import annotations

import functools
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np

from repsim_nb.support.transport import map_items
from repsim_nb.support.workers import check_stopped


@contextmanager
def open_scratch(folder: Path | None, min_bytes: int = 2**20) -> Iterator[Callable[[Any], Any]]:
    """Yield a function that moves the large arrays of a value to files, which are deleted at the end.

    folder: where a folder for these files is created; None leaves values as they are.  min_bytes: smaller arrays stay
    in memory.
    """
    if folder is None:
        yield _leave
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="repsim_nb-", ignore_cleanup_errors=True) as inside:
        yield functools.partial(_store, Path(inside), min_bytes)


def _leave(value: Any) -> Any:
    """Return the value itself."""
    return value


def _store(folder: Path, min_bytes: int, value: Any) -> Any:
    """Move the large arrays of a value to files."""
    check_stopped()  # the folder of a stopped table is deleted
    store = functools.partial(_store, folder, min_bytes)
    if isinstance(value, (tuple, list)):
        return map_items(store, value)
    if hasattr(value, "store_arrays"):
        return value.store_arrays(store)
    tensor = array_api_compat.is_torch_array(value) and value.device.type == "cpu"
    if not (tensor or isinstance(value, np.ndarray)) or value.nbytes < min_bytes or isinstance(value, np.memmap):
        return value
    path = folder / f"{uuid.uuid4().hex}.npy"
    np.save(path, value)
    if not tensor:
        return np.load(path, mmap_mode="r")
    import torch

    return torch.from_numpy(np.load(path, mmap_mode="c"))  # torch needs writable memory; nothing writes
