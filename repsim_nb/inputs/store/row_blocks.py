"""The rows of an array in memory or in a file, some at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from repsim_nb.inputs.formats import LazyArray
from repsim_nb.support.validation import to_numpy

from .arrayfile import ArrayFile

PIECE = 2**26  # bytes that are in memory at once


def pieces(entry: Any, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows) of an array of any kind, from row `start` on."""
    n, width = entry.shape[0], math.prod(entry.shape[1:]) * dtype_of(entry).itemsize
    step = max(1, PIECE // max(1, width))
    array = entry.open() if isinstance(entry, ArrayFile) else entry
    for row in range(start, n, step):
        stop = min(row + step, n)
        part = array.rows(row, stop) if isinstance(array, LazyArray) else to_numpy(array[row:stop])
        yield row, np.ascontiguousarray(part, dtype=dtype_of(entry))


def dtype_of(entry: Any) -> np.dtype:
    """Return the type in which NumPy has the values; bfloat16 of torch becomes float32."""
    name = str(entry.dtype).removeprefix("torch.")
    return np.dtype("float32" if name == "bfloat16" else name).newbyteorder("=")
