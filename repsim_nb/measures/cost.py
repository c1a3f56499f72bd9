"""Time and memory that a table will take: time by what this machine multiplies in a second, memory by what exists at
once.
"""

from __future__ import annotations

import functools
import math
import shutil
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil

from repsim_nb.support.workers import single_threaded_blas

if TYPE_CHECKING:
    from repsim_nb.support.containers import Array

    from .base import Measure

MATRIX_BYTES = 2**29  # bytes of prepared matrices that a table may keep in memory where it can also do without
MUCH_TIME, MUCH_MEMORY = 30.0, 2**30  # seconds and bytes that are worth a sentence


class Cost(NamedTuple):
    """What one table takes in addition to its inputs.

    NaN stands where a measure does not say.

    flops: counted as the multiplications and additions of matrix products (a decomposition counts more, as it is
    slower).  table_bytes: those of prepared values, until the table is done; `scratch` moves them to a disk.
    worker_bytes: those in use at once in addition, for each worker.
    """

    flops: float
    table_bytes: float
    worker_bytes: float = 0.0

    def seconds(self, workers: int = 1) -> float:
        """About how long it takes on this machine; NaN where that is not known."""
        return self.flops / (rate() * workers)

    def sentence(self, workers: int = 1, scratch: bool = False) -> str:
        """Time and memory in words; empty where neither is much."""
        seconds, memory = self.seconds(workers), (0 if scratch else self.table_bytes) + workers * self.worker_bytes
        parts = [f"about {_span(seconds)}"] if seconds > MUCH_TIME else []
        parts += [f"{size(memory)} of memory"] if memory > MUCH_MEMORY else []
        parts += [f"{size(self.table_bytes)} on disk"] if scratch and self.table_bytes > MUCH_MEMORY else []
        return " and ".join(parts)

    def elsewhere(self) -> Cost:
        """The same if every worker prepares what it needs: this process has nothing in memory, theirs is not known."""
        return self._replace(table_bytes=0.0, worker_bytes=0.0)

    def with_moments(self, n: int, number: int, itemsize: int) -> Cost:
        """The same with the sums of so many n × n matrices, at most.

        Each is computed, and its cube; all stay in memory if they fit.
        """
        matrix = float(itemsize) * n * n
        return Cost(
            self.flops + number * (float(n) ** 3 + 20.0 * n * n),
            max(self.table_bytes, min(number * matrix, MATRIX_BYTES)),
            self.worker_bytes + 3 * matrix,
        )

    def affordable(self, scratch: Path | None) -> int:
        """How many workers there is memory for.

        MemoryError where there is not even room for one, OSError where the disk has none.
        """
        memory = 0 if scratch or math.isnan(self.table_bytes) else self.table_bytes
        free, prepared = psutil.virtual_memory().available, size(self.table_bytes)
        if memory + self.worker_bytes > free:
            stored = (
                f", {prepared} of them for what is prepared once and kept: scratch='a folder' keeps that on disk"
                if not scratch and self.worker_bytes < free
                else ""
            )
            raise MemoryError(
                f"this table takes {size(memory + self.worker_bytes)} of memory, and {size(free)} are free{stored}."
                " Fewer samples or fewer representations at a time take less"
            )
        if scratch and self.table_bytes > shutil.disk_usage(scratch).free:
            raise OSError(
                f"this table keeps {prepared} in {scratch}, where {size(shutil.disk_usage(scratch).free)} are free"
            )
        return max(1, int((free - memory) // max(self.worker_bytes, 1)))


def estimate_cost(
    measure: Measure, xs: Mapping[Any, Array], ys: Mapping[Any, Array] | None = None, *, moments: bool = False
) -> Cost | None:
    """What `measure.table(xs, ys)` will take, with `moments` or without; None if the arrays cannot be compared."""
    arrays = [*xs.values(), *(ys or {}).values()]
    if not arrays or not all(hasattr(x, "dtype") and len(x.shape) > 1 and math.prod(x.shape) for x in arrays):
        return None
    widths = [math.prod(x.shape[1:]) for x in arrays]
    finest = max(max(x.dtype.itemsize, 4) if "float" in str(x.dtype) else 8 for x in arrays)
    cost = measure.cost(arrays[0].shape[0], widths[: len(xs)], None if ys is None else widths[len(xs) :], finest)
    return cost.with_moments(arrays[0].shape[0], len(arrays), finest) if moments else cost


def flops_by_features(n: int, left: Sequence[int], right: Sequence[int] | None) -> float:
    """Of all inner products of linear kernels from products of features; widths of both sides."""
    if right is None:
        return n * float(sum(left)) ** 2
    return 2 * n * float(sum(left)) * sum(right) + n * float(sum(p * p for p in (*left, *right)))


def flops_by_tiles(n: int, left: Sequence[int], right: Sequence[int] | None) -> float:
    """Of the same from tiles of the sample-by-sample matrices."""
    rows, columns = len(left), len(right or ())
    return float(n) ** 2 * (sum(left) + sum(right or ()) + (rows * columns if right else rows * rows))


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def size(number: float) -> str:
    """Bytes in words."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


@functools.cache
def rate() -> float:
    """Floating-point operations a second of one core in float32 matrix products, measured once (a few milliseconds)."""
    a = np.ones((384, 384), np.float32)
    with single_threaded_blas():
        a @ a
        return 2 * 384**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=3))


def columns_within(number: float, rows: int, itemsize: int, p: int = 0) -> int:
    """How many columns keep `number` blocks of this many rows, and the p features of those columns twice, within 64 MB
    each; at least 64.
    """
    return max(64, math.floor(2**26 / (max(number * rows, 2 * p) * itemsize)))
