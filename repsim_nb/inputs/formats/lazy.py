"""`LazyArray`: an array in a file, which is read when it is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MAPPED = 2**26  # bytes; a smaller array is read, so that a program may write the file again


class OnDisk:
    """An entry of `Activations` that is opened when it is read. It has a shape and a dtype, samples first."""

    shape: Any
    dtype: Any

    def open(self) -> np.ndarray:
        """Return the array, memory-mapped if possible."""
        raise NotImplementedError

    def ids(self) -> np.ndarray | None:
        """Return the ids of the samples that the file itself has for this entry."""
        return None

    def groups(self) -> np.ndarray | None:
        """Return the groups of the rows that the file itself has for this entry."""
        return None


class LazyArray(OnDisk):
    """An array in a file of another library.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The name of the array in it.
    shape : tuple of int
        The lengths of the axes, in the order of the file.
    dtype : dtype
        The type of the values that `read` returns.
    read : function(tuple of slices) -> array
        Opens the file and reads a part, one slice for each stored axis.
    offset : int, optional
        Where the numbers begin, if the file has them in one piece, in C order, without compression.
    order : tuple of int, optional
        The stored axes in the order in which they are returned; the first one is the samples.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        shape: tuple[int, ...],
        dtype: Any,
        read: Callable[[tuple[slice, ...]], Any],
        offset: int | None = None,
        order: tuple[int, ...] | None = None,
    ) -> None:
        self.path, self.name, self.stored, self.dtype = path, name, tuple(map(int, shape)), np.dtype(dtype)
        self._read, self.offset = read, offset if self.dtype.isnative else None
        self.order = tuple(range(len(shape))) if order is None else order
        self._array: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, samples first."""
        return tuple(self.stored[axis] for axis in self.order)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.stored)

    @property
    def nbytes(self) -> int:
        """The bytes of the whole array in memory."""
        return math.prod(self.stored) * self.dtype.itemsize

    def with_first(self, axis: int) -> LazyArray:
        """Return the same array with one of its axes, numbered as in `shape`, before all others."""
        order = (self.order[axis], *(its for i, its in enumerate(self.order) if i != axis))
        return LazyArray(self.path, self.name, self.stored, self.dtype, self._read, self.offset, order)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read some samples, and not the others."""
        index = [slice(None)] * self.ndim
        index[self.order[0]] = slice(start, stop)
        return self._arrange(self._read(tuple(index)))

    def _arrange(self, part: Any) -> np.ndarray:
        return np.ascontiguousarray(np.asarray(part).transpose(self.order), dtype=self.dtype.newbyteorder("="))

    def open(self) -> np.ndarray:
        """Return the array: memory-mapped if it is large and in one piece, else read once."""
        if self._array is not None:
            return self._array
        if self.offset is not None and self.nbytes >= MAPPED:
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.stored)
            self._array = mapped.transpose(self.order)
            return self._array
        if self.nbytes > (free := psutil.virtual_memory().available):
            raise MemoryError(
                f"{self.path} stores '{self.name}', of shape {self.shape}, in pieces, so it is read into memory as a"
                f" whole, which takes {self.nbytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free. Copy it by rows"
                " into a store: from_arrays(path, into='folder')."
            )
        self._array = self._arrange(self._read((slice(None),) * self.ndim))
        return self._array
