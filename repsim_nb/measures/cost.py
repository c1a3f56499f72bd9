"""Time and memory of a table: time by the speed of matrix products on this machine, memory by what is kept at once."""

from __future__ import annotations

import functools
import math
import shutil
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import psutil

from repsim_nb.support.workers import single_threaded_blas

if TYPE_CHECKING:
    from repsim_nb.support.containers import Array

    from .base import Measure

MATRIX_BYTES = 2**29  # bytes of prepared matrices that a table may keep in memory where it can also do without
MUCH_TIME, MUCH_MEMORY = 30.0, 2**30  # seconds and bytes from which on they are announced


class Cost(NamedTuple):
    """Time and memory of one table, in addition to its inputs. NaN if a measure does not estimate it.

    Attributes
    ----------
    flops : float
        Multiplications and additions of matrix products that take as long.
    table_bytes : float
        Memory of prepared values until the table is done; `scratch` moves them to a disk.
    worker_bytes : float
        Further memory in use at once, for each worker.
    """

    flops: float
    table_bytes: float
    worker_bytes: float = 0.0

    def seconds(self, workers: int = 1) -> float:
        """Estimate the seconds on this machine; NaN if the flops are not known."""
        return self.flops / (rate() * workers)

    def sentence(self, workers: int = 1, scratch: bool = False) -> str:
        """Describe time and memory in words; empty if neither is large."""
        seconds, memory = self.seconds(workers), (0 if scratch else self.table_bytes) + workers * self.worker_bytes
        parts = [f"about {_span(seconds)}"] if seconds > MUCH_TIME else []
        parts += [f"{size(memory)} of memory"] if memory > MUCH_MEMORY else []
        parts += [f"{size(self.table_bytes)} on disk"] if scratch and self.table_bytes > MUCH_MEMORY else []
        return " and ".join(parts)

    def elsewhere(self) -> Cost:
        """Return the same for workers that prepare what they need: this process then keeps nothing."""
        return self._replace(table_bytes=0.0, worker_bytes=0.0)

    def with_moments(self, n: int, number: int, itemsize: int) -> Cost:
        """Add the sums of `number` n × n matrices: each and its cube are computed, and all are kept if they fit."""
        matrix = float(itemsize) * n * n
        return Cost(
            self.flops + number * (float(n) ** 3 + 20.0 * n * n),
            max(self.table_bytes, min(number * matrix, MATRIX_BYTES)),
            self.worker_bytes + 3 * matrix,
        )

    def affordable(self, scratch: Path | None) -> int:
        """Return how many workers fit into memory; MemoryError if none does, OSError if the disk is too small."""
        memory = 0 if scratch or math.isnan(self.table_bytes) else self.table_bytes
        free, prepared = psutil.virtual_memory().available, size(self.table_bytes)
        if memory + self.worker_bytes > free:
            stored = (
                f", {prepared} of them for prepared values: scratch='a folder' keeps these on a disk"
                if not scratch and self.worker_bytes < free
                else ""
            )
            raise MemoryError(
                f"this table takes {size(memory + self.worker_bytes)} of memory, and {size(free)} are free{stored}."
                " Use fewer samples, or fewer representations at a time."
            )
        if scratch and self.table_bytes > shutil.disk_usage(scratch).free:
            raise OSError(
                f"this table needs {prepared} in {scratch}, where {size(shutil.disk_usage(scratch).free)} are free. Use"
                " another folder, or fewer representations at a time."
            )
        return max(1, int((free - memory) // max(self.worker_bytes, 1)))


class CostEstimates:
    """The part of a measure that estimates the cost of a table; NaN for what a subclass does not estimate."""

    symmetric: ClassVar[bool] = True

    def prepare_flops(self, n: int, p: int) -> float:
        """Estimate the work of `prepare`, as the flops of a matrix product that takes as long.

        Parameters
        ----------
        n, p : int
            The numbers of samples and of features.

        Returns
        -------
        float
            NaN if the measure has no estimate.

        Examples
        --------
        >>> rs.measures.get("procrustes").prepare_flops(100, 10)
        10000.0
        """
        return math.nan

    def pair_flops(self, n: int, p: int, q: int) -> float:
        """Estimate the work of `pair`, as the flops of a matrix product that takes as long.

        Parameters
        ----------
        n : int
            The number of samples.
        p, q : int
            The numbers of features of both sides.

        Returns
        -------
        float
            NaN if the measure has no estimate.

        Examples
        --------
        >>> rs.measures.get("procrustes").pair_flops(100, 10, 10)
        70000.0
        """
        return math.nan

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        """Estimate the memory of one prepared representation.

        Parameters
        ----------
        n, p : int
            The numbers of samples and of features.
        itemsize : int
            Bytes of one number of the representation.

        Returns
        -------
        float
            Bytes; NaN if the measure has no estimate.

        Examples
        --------
        >>> rs.measures.get("procrustes").prepared_bytes(100, 10, 4)
        8000.0
        """
        return math.nan

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> Cost:
        """Estimate time and memory of a table.

        Parameters
        ----------
        n : int
            The number of samples.
        ps, qs : sequence of int
            The widths of the representations of both sides; without qs, of ps with itself.
        itemsize : int
            Bytes of one number.

        Returns
        -------
        Cost
            With NaN for what the measure does not estimate.

        Examples
        --------
        >>> rs.measures.get("procrustes").cost(100, [10, 20]).table_bytes
        24000.0
        """
        both = [*ps, *(qs or ())]
        pairs = [
            (p, q)
            for i, p in enumerate(ps)
            for q in (ps[i:] if qs is None and self.symmetric else ps if qs is None else qs)
        ]
        flops = sum(self.prepare_flops(n, p) for p in both) + sum(self.pair_flops(n, p, q) for p, q in pairs)
        return Cost(flops, sum(self.prepared_bytes(n, p, itemsize) for p in both), 16.0 * n * max(both))


def estimate_cost(
    measure: Measure, xs: Mapping[Any, Array], ys: Mapping[Any, Array] | None = None, *, moments: bool = False
) -> Cost | None:
    """Estimate time and memory of a table.

    Parameters
    ----------
    measure : Measure
        The measure of the table.
    xs, ys : {label: array}
        The representations; without ys, the table is of xs with itself.
    moments : bool
        Whether the moments of permuted samples are computed, too.

    Returns
    -------
    Cost or None
        None if these arrays cannot be compared.

    Examples
    --------
    >>> xs = {"a": np.zeros((1000, 50)), "b": np.zeros((1000, 80))}
    >>> rs.measures.estimate_cost(rs.measures.get("cka"), xs).flops
    16900000.0
    """
    arrays = [*xs.values(), *(ys or {}).values()]
    if not arrays or not all(hasattr(x, "dtype") and len(x.shape) > 1 and math.prod(x.shape) for x in arrays):
        return None
    widths = [math.prod(x.shape[1:]) for x in arrays]
    finest = max(max(x.dtype.itemsize, 4) if "float" in str(x.dtype) else 8 for x in arrays)
    cost = measure.cost(arrays[0].shape[0], widths[: len(xs)], None if ys is None else widths[len(xs) :], finest)
    return cost.with_moments(arrays[0].shape[0], len(arrays), finest) if moments else cost


def flops_by_features(n: int, left: Sequence[int], right: Sequence[int] | None) -> float:
    """Return the flops of all inner products of linear kernels by products of features; left, right: widths."""
    if right is None:
        return n * float(sum(left)) ** 2
    return 2 * n * float(sum(left)) * sum(right) + n * float(sum(p * p for p in (*left, *right)))


def flops_by_tiles(n: int, left: Sequence[int], right: Sequence[int] | None) -> float:
    """Return the flops of the same by tiles of the sample-by-sample matrices."""
    rows, columns = len(left), len(right or ())
    return float(n) ** 2 * (sum(left) + sum(right or ()) + (rows * columns if right else rows * rows))


def _span(seconds: float) -> str:
    """Write a time in words."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def size(number: float) -> str:
    """Write a number of bytes in words."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


@functools.cache
def rate() -> float:
    """Measure the flops a second of one core in float32 matrix products, once (a few milliseconds)."""
    a = np.ones((384, 384), np.float32)
    with single_threaded_blas():
        a @ a
        return 2 * 384**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=3))


def columns_within(number: float, rows: int, itemsize: int, p: int = 0) -> int:
    """Return how many columns keep `number` blocks of so many rows within 64 MB each, at least 64.

    The p features of these columns are counted twice.
    """
    return max(64, math.floor(2**26 / (max(number * rows, 2 * p) * itemsize)))
