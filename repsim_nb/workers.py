"""Where work is done: threads of this process, one BLAS thread each; or whatever an executor reaches, other machines included."""

from __future__ import annotations

import functools
import math
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from .errors import Stopped


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workers:
    """`workers(f, items)` yields f(item) in the order of the items. number: how many work at once. apart: they share no memory with us.

    executor: who they are; None works here and now. idle() is called several times a second while a result is waited for; it may
    raise. An exception, ours or a worker's, takes back all that has not begun.
    """

    executor: Executor | None = None
    number: int = 1
    apart: bool = False

    def __call__(self, f: Callable[..., Any], *items: Iterable[Any], idle: Callable[[], None] = lambda: None) -> Iterator[Any]:
        if self.executor is None:
            yield from map(f, *items)
            return
        if self.apart:
            f, items = functools.partial(_alone, f), tuple(map(departing, some) for some in items)
        stop = threading.Event()
        work = f if self.apart else functools.partial(_stoppable, stop, f)
        futures = [self.executor.submit(work, *some) for some in zip(*items, strict=True)]
        try:
            for place, future in enumerate(futures):
                while True:
                    try:
                        result = future.result(timeout=0.25)
                        break
                    except TimeoutError:
                        if future.done():
                            raise  # its own
                        idle()
                futures[place] = None  # type: ignore[call-overload]  # whoever takes the result decides how long it is kept
                yield result
        finally:
            stop.set()
            for future in futures:
                if future is not None:
                    future.cancel()

    def bundles(self, items: list[Any], size: int = 1) -> list[list[Any]]:
        """Items in bundles, one a call: of this size where memory is shared, else few large ones, since each call carries its data along."""
        size = max(1, math.ceil(len(items) / (4 * self.number)) if self.apart else size)
        return [items[i : i + size] for i in range(0, len(items), size)]


HERE = Workers()
_mine = threading.local()


def _stoppable(stop: threading.Event, f: Callable[..., Any], *items: Any) -> Any:
    _mine.stop = stop
    return f(*items)


def checkpoint() -> None:
    """To be called in long loops: ends the work of a thread whose result nobody waits for any more."""
    stop = getattr(_mine, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


@contextmanager
def workers(executor: Executor | None = None, at_most: int = 2**16) -> Iterator[Workers]:
    """The workers of an executor; without one, a thread a core (`at_most` so many). BLAS keeps to one thread in each, so that they do not fight."""
    if executor is not None and not isinstance(executor, ThreadPoolExecutor):
        yield Workers(executor, getattr(executor, "_max_workers", None) or cores(), apart=True)
        return
    with single_threaded_blas():
        if executor is not None:
            yield Workers(executor, executor._max_workers)
            return
        number = min(cores(), at_most)
        pool = ThreadPoolExecutor(number, thread_name_prefix="repsim_nb")
        try:
            yield Workers(pool, number)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # whoever stops gets the prompt back at once; a piece that runs ends unseen


def _alone(f: Callable[..., Any], *items: Any) -> Any:
    with single_threaded_blas():
        return f(*map(arrived, items))


_blas = threading.Lock()
_blas_users, _blas_limit = 0, None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """BLAS has one number of threads for the whole process, so the first of several tables at a time sets it and the last gives it back."""
    global _blas_users, _blas_limit
    with _blas:
        if _blas_users == 0:
            _blas_limit = ThreadpoolController().limit(limits=1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas:
            _blas_users -= 1
            if _blas_users == 0:
                _blas_limit.restore_original_limits()


# -- how arrays travel -----------------------------------------------------------------------------------------------------

class Address(NamedTuple):
    """A memory-mapped array as it travels: where its numbers lie, not the numbers. transposed: columns lie together, not rows."""

    path: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    transposed: bool = False


def departing(x: Any) -> Any:
    """A memory-mapped array (or a contiguous part of one) as its address, also inside lists and tuples; anything else as it is."""
    if isinstance(x, (list, tuple)):
        return each(departing, x)
    if not isinstance(x, np.memmap) or not x.filename or x._mmap is None or x.mode == "c":  # a private copy differs from its file
        return x
    if not x.flags.c_contiguous:
        return departing(x.T)._replace(transposed=True) if x.flags.f_contiguous else x
    start = x.offset - x.offset % mmap.ALLOCATIONGRANULARITY  # where the map begins in the file; a slice keeps its parent's offset
    base = np.frombuffer(x._mmap, np.uint8).__array_interface__["data"][0]
    return Address(os.fspath(x.filename), start + x.__array_interface__["data"][0] - base, x.dtype, x.shape)


def arrived(x: Any) -> Any:
    """What `departing` sent away, opened where it came to."""
    if isinstance(x, Address):
        there = np.memmap(x.path, mode="r", dtype=x.dtype, shape=x.shape, offset=x.offset)
        return there.T if x.transposed else there
    return each(arrived, x) if isinstance(x, (list, tuple)) else x


def each(f: Callable[[Any], Any], x: Any) -> Any:
    """f of every item of a list or a (named) tuple, as one of its kind."""
    return type(x)(*map(f, x)) if hasattr(x, "_fields") else type(x)(map(f, x))
