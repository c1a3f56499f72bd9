"""Where work is done: threads of this process, one BLAS thread each; or whatever an executor reaches, other machines
included.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
import platform
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from repsim_nb.support.errors import Stopped
from repsim_nb.support.progress import Tick, show_progress


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workers:
    """`workers(f, items)` yields f(item) in the order of the items. number: how many work at once. separate_memory: they share no
    memory with us.

    executor: who they are; None works here and now. idle() is called several times a second while a result is waited
    for; it may raise. An exception, ours or a worker's, takes back all that has not begun. What a worker warns of is
    warned of here, each sentence once.
    """

    executor: Executor | None = None
    number: int = 1
    separate_memory: bool = False

    def __call__(
        self, f: Callable[..., Any], *items: Iterable[Any], idle: Callable[[], None] = lambda: None
    ) -> Iterator[Any]:
        if self.executor is None:
            yield from map(f, *items)
            return
        if self.separate_memory:
            f, items = functools.partial(_alone, f), tuple(map(pack, some) for some in items)
        stop, told = threading.Event(), set()
        work = f if self.separate_memory else functools.partial(_stoppable, stop, f)
        options = (
            {"pure": False} if hasattr(self.executor, "_client") else {}
        )  # Dask: a file's numbers are not known by its name
        futures = [self.executor.submit(work, *some, **options) for some in zip(*items, strict=True)]
        try:
            for place, future in enumerate(futures):
                while True:
                    try:
                        result = future.result(timeout=0.25)
                        break
                    except TimeoutError:
                        if future.done():  # with an error of its own, or just now
                            result = future.result()
                            break
                        idle()
                futures[place] = None  # type: ignore[call-overload]  # whoever takes the result decides how long it is kept
                if self.separate_memory:
                    result, said = unpack(result[0]), [one for one in result[1] if one not in told]
                    told.update(said)
                    for kind, sentence in said:
                        warnings.warn(sentence, kind, stacklevel=2)
                yield result
        finally:
            stop.set()
            for future in futures:
                if future is not None:
                    future.cancel()

    def bundles(self, items: list[Any], size: int = 1) -> list[list[Any]]:
        """Items in bundles, one a call: of this size where memory is shared, else few large ones, since each call
        carries its data along.
        """
        size = max(1, math.ceil(len(items) / (4 * self.number)) if self.separate_memory else size)
        return [items[i : i + size] for i in range(0, len(items), size)]


SERIAL = Workers()
_mine = threading.local()


def _stoppable(stop: threading.Event, f: Callable[..., Any], *items: Any) -> Any:
    _mine.stop = stop
    return f(*items)


def check_stopped() -> None:
    """To be called in long loops: ends the work of a thread whose result nobody waits for any more."""
    stop = getattr(_mine, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def has_separate_memory(executor: Executor | None) -> bool:
    """Do its workers share no memory with us?"""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


@contextmanager
def workers(executor: Executor | None = None, at_most: int = 2**16) -> Iterator[Workers]:
    """The workers of an executor; without one, a thread a core (`at_most` so many).

    BLAS keeps to one thread in each, so that they do not fight.
    """
    if has_separate_memory(executor):
        cluster = getattr(executor, "_client", None)  # Dask's
        yield Workers(
            executor,
            getattr(executor, "_max_workers", None) or (cluster and sum(cluster.nthreads().values())) or cores(),
            separate_memory=True,
        )
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
            pool.shutdown(
                wait=False, cancel_futures=True
            )  # whoever stops gets the prompt back at once; a piece that runs ends unseen


def map_with_progress(
    f: Callable[..., Any], *items: Iterable[Any], progress: bool | Tick, what: str, unit: str
) -> list[Any]:
    """f of every item, in their order, by a thread for every core.  progress, what, unit: as `ticking` takes them; a
    progress function may raise to stop.
    """
    items = tuple(map(list, items))
    total, found = len(items[0]), []
    with workers() as run, show_progress(progress, what, unit) as tick:
        tick(0, total)
        for value in run(f, *items, idle=lambda: tick(len(found), total)):
            found.append(value)
            tick(len(found), total)
    return found


def _alone(f: Callable[..., Any], *items: Any) -> tuple[Any, set[tuple[type[Warning], str]]]:
    """-> what f says, files as addresses; and what it warned of."""
    with single_threaded_blas(), _heard as said:
        result = pack(f(*map(unpack, items)))
        return result, {(one.category, str(one.message)) for one in said}


class SharedContext:
    """Of a context that is one for the whole process: of several users at a time the first enters it, the last leaves
    it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.lock, self.users = make, threading.Lock(), 0

    def __enter__(self) -> Any:
        with self.lock:
            if not self.users:
                self.context = self.make()
                self.value = self.context.__enter__()
            self.users += 1
            return self.value

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                self.context.__exit__(*error)


@contextmanager
def _hearing() -> Iterator[list[Any]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield said


_heard = SharedContext(_hearing)
_blas = SharedContext(lambda: ThreadpoolController().limit(limits=1, user_api="blas"))


def single_threaded_blas() -> Any:
    """BLAS has one number of threads for the whole process, so the first of several tables at a time sets it and the
    last gives it back.
    """
    return _blas


# -- how arrays travel
# -----------------------------------------------------------------------------------------------------


class Address(NamedTuple):
    """A memory-mapped array as it travels: where its numbers lie, not the numbers. transposed: columns lie together,
    not rows.
    """

    path: str
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    transposed: bool = False


def pack(x: Any) -> Any:
    """A memory-mapped array (or a contiguous part of one) as its address, also inside lists and tuples; anything else
    as it is.
    """
    if isinstance(x, (list, tuple)):
        return map_items(pack, x)
    if (
        not isinstance(x, np.memmap) or not x.filename or x._mmap is None or x.mode == "c"
    ):  # a private copy differs from its file
        return x
    if not x.flags.c_contiguous:
        return pack(x.T)._replace(transposed=True) if x.flags.f_contiguous else x
    start = (
        x.offset - x.offset % mmap.ALLOCATIONGRANULARITY
    )  # where the map begins in the file; a slice keeps its parent's offset
    base = np.frombuffer(x._mmap, np.uint8).__array_interface__["data"][0]
    return Address(os.fspath(x.filename), start + x.__array_interface__["data"][0] - base, x.dtype, x.shape)


def unpack(x: Any) -> Any:
    """What `departing` sent away, opened where it came to."""
    if isinstance(x, Address):
        try:
            there = np.memmap(x.path, mode="r", dtype=x.dtype, shape=x.shape, offset=x.offset)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{platform.node() or 'a worker'} has no file {x.path}: workers on other machines are told where"
                " numbers lie, not the numbers, so files must be on a disk that all of them have under the same path"
            ) from error
        return there.T if x.transposed else there
    return map_items(unpack, x) if isinstance(x, (list, tuple)) else x


def map_items(f: Callable[[Any], Any], x: Any) -> Any:
    """f of every item of a list or a (named) tuple, as one of its kind."""
    return type(x)(*map(f, x)) if hasattr(x, "_fields") else type(x)(map(f, x))


# -- what is made where it is needed
# ---------------------------------------------------------------------------------------

CACHE_BYTES = 2**29  # bytes of such values that a process keeps for the tasks to come


class Deferred:
    """make(x), made where it is needed: `value()` makes it once a process and keeps it there, what was used least
    recently going first.

    key: the same wherever this value is asked for, and different for all others. It travels as x does: a memory-mapped
    array as its address.
    """

    def __init__(self, make: Callable[[Any], Any], x: Any, key: Hashable) -> None:
        self.make, self.x, self.key = make, pack(x), key

    def value(self) -> Any:
        with _making:
            place = _made.pop(self.key, None) or _Place()
            _made[self.key] = place  # the last is the most recent
        with place.lock:  # whoever else wants it waits
            if place.value is None:
                place.value = self.make(unpack(self.x))
                place.size = size_in_bytes(place.value)
            value = place.value
        with _making:
            while len(_made) > 1 and sum(place.size for place in _made.values()) > CACHE_BYTES:
                _made.popitem(last=False)
        return value


class _Place:
    def __init__(self) -> None:
        self.lock, self.value, self.size = threading.Lock(), None, 0


_made: OrderedDict[Hashable, _Place] = OrderedDict()
_making = threading.Lock()


def size_in_bytes(x: Any) -> int:
    """Bytes of the arrays in a value, files not counted."""
    if isinstance(x, (list, tuple)):
        return sum(map(size_in_bytes, x))
    return 0 if isinstance(x, np.memmap) else getattr(x, "nbytes", 0)


def has_address(x: Any) -> bool:
    """Has this array an address?"""
    return isinstance(pack(x), Address)
