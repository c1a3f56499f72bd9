"""What is sent between processes: files as addresses, and values that each process computes for itself."""

from __future__ import annotations

import mmap
import os
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np


class Address(NamedTuple):
    """Where the numbers of a memory-mapped array are; transposed: columns are contiguous, not rows."""

    path: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    transposed: bool = False


def pack(x: Any) -> Any:
    """Replace memory-mapped arrays (or contiguous parts of them) by addresses, also inside lists and tuples."""
    if isinstance(x, (list, tuple)):
        return map_items(pack, x)
    if not isinstance(x, np.memmap) or not x.filename or x.mode == "c":  # a private copy differs from its file
        return x
    mapping: mmap.mmap | None = getattr(x, "_mmap", None)
    if mapping is None:
        return x
    if not x.flags.c_contiguous:
        return pack(x.T)._replace(transposed=True) if x.flags.f_contiguous else x
    # where the map begins in the file; a slice has the offset of its parent
    start = x.offset - x.offset % mmap.ALLOCATIONGRANULARITY
    base = np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
    return Address(os.fspath(x.filename), start + x.__array_interface__["data"][0] - base, x.dtype, x.shape)


def unpack(x: Any) -> Any:
    """Undo `pack`: open files at their addresses."""
    if isinstance(x, Address):
        try:
            array = np.memmap(x.path, mode="r", dtype=x.dtype, shape=x.shape, offset=x.offset)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{platform.node() or 'a worker'} has no file {x.path}: workers on other machines get the path of an"
                " array, not its numbers. Put the files on a disk that all machines have under the same path."
            ) from error
        return array.T if x.transposed else array
    return map_items(unpack, x) if isinstance(x, (list, tuple)) else x


def has_address(x: Any) -> bool:
    """Return whether `pack` replaces it by an address."""
    return isinstance(pack(x), Address)


def map_items(f: Callable[[Any], Any], x: Any) -> Any:
    """Apply f to every item of a list or a (named) tuple, and return the same type."""
    return type(x)(*map(f, x)) if hasattr(x, "_fields") else type(x)(map(f, x))


def _size_in_bytes(x: Any) -> int:
    """Return the bytes of the arrays in a value, without files."""
    if isinstance(x, (list, tuple)):
        return sum(map(_size_in_bytes, x))
    return 0 if isinstance(x, np.memmap) else getattr(x, "nbytes", 0)


CACHE_BYTES = 2**29  # of deferred values that a process keeps for later tasks


class Deferred:
    """f(x), computed once in each process that needs it, and cached there (least recently used first out).

    key: the same wherever this value is needed, and different for all others. x is sent as `pack` returns it.
    """

    def __init__(self, f: Callable[[Any], Any], x: Any, key: Hashable) -> None:
        self.f, self.x, self.key = f, pack(x), key

    def value(self) -> Any:
        with _lock:
            entry = CACHE.setdefault(self.key, _Entry())
            CACHE.move_to_end(self.key)  # the last is the most recent
        with entry.lock:  # other threads that need it wait
            if entry.value is None:
                entry.value = self.f(unpack(self.x))
                entry.size = _size_in_bytes(entry.value)
            value = entry.value
        with _lock:
            while len(CACHE) > 1 and sum(entry.size for entry in CACHE.values()) > CACHE_BYTES:
                CACHE.popitem(last=False)
        return value


class _Entry:
    def __init__(self) -> None:
        self.lock, self.value, self.size = threading.Lock(), None, 0


CACHE: OrderedDict[Hashable, _Entry] = OrderedDict()
_lock = threading.Lock()
