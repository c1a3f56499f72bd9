"""Workers: threads of this process with one BLAS thread each, or those of an executor, also on other machines."""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import ThreadpoolController

from repsim_nb.support.errors import Stopped, warn_user
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.transport import pack, unpack


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workers:
    """Workers that compute: `workers(f, items)` yields f(item) in the order of the items.

    An exception cancels all work that has not begun. Warnings of other processes are issued here, each text once.

    Parameters
    ----------
    executor : Executor or None
        Who computes; None is this thread.
    number : int
        How many work at the same time.
    separate_memory : bool
        Whether they are other processes.

    Examples
    --------
    >>> list(Workers()(abs, [-1, 2]))
    [1, 2]
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
        stop, heard = threading.Event(), set()
        if self.separate_memory:
            work, items = functools.partial(_in_other_process, f), tuple(map(pack, some) for some in items)
        else:
            work = functools.partial(_stoppable, stop, f)
        # Dask caches results by arguments, but a file of one name may have other numbers
        options = {"pure": False} if hasattr(self.executor, "_client") else {}
        futures = deque(self.executor.submit(work, *some, **options) for some in zip(*items, strict=True))
        try:
            while futures:
                result = _wait(futures[0], idle)
                futures.popleft()  # the caller decides how long the result stays in memory
                if self.separate_memory:
                    result, issued = unpack(result[0]), result[1]
                    for kind, sentence in issued:
                        if (kind, sentence) not in heard:
                            heard.add((kind, sentence))
                            warn_user(sentence, kind)
                yield result
        finally:
            stop.set()
            for future in futures:
                future.cancel()

    def bundles(self, items: list[Any], size: int = 1) -> list[list[Any]]:
        """Split items into bundles, one for each call: of this size, or few large ones for other processes."""
        size = max(1, math.ceil(len(items) / (4 * self.number)) if self.separate_memory else size)
        return [items[i : i + size] for i in range(0, len(items), size)]


SERIAL = Workers()
_thread = threading.local()


def _wait(future: Future[Any], idle: Callable[[], None]) -> Any:
    """Wait for a result, and call idle() several times a second."""
    while True:
        try:
            return future.result(timeout=0.25)
        except TimeoutError:
            if future.done():  # it raised a TimeoutError itself, or is just done
                return future.result()
            idle()


def _stoppable(stop: threading.Event, f: Callable[..., Any], *items: Any) -> Any:
    """Call f in a thread that `check_stopped` can end."""
    _thread.stop = stop
    return f(*items)


def check_stopped() -> None:
    """End the work of a thread if nothing waits for its result; long loops call it."""
    stop = getattr(_thread, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def has_separate_memory(executor: Executor | None) -> bool:
    """Return whether the workers of an executor are other processes."""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


@contextmanager
def open_workers(executor: Executor | None = None, at_most: int = 2**16) -> Iterator[Workers]:
    """Open the workers of an executor; without one, a thread for each core (at most `at_most`).

    BLAS uses one thread in each, so that they do not compete.
    """
    number = getattr(executor, "_max_workers", None)
    if has_separate_memory(executor):
        cluster = getattr(executor, "_client", None)  # Dask's
        number = number or (cluster and sum(cluster.nthreads().values())) or cores()
        yield Workers(executor, number, separate_memory=True)
        return
    with single_threaded_blas():
        if executor is not None:
            yield Workers(executor, number or cores())
            return
        number = min(cores(), at_most)
        pool = ThreadPoolExecutor(number, thread_name_prefix="repsim_nb")
        try:
            yield Workers(pool, number)
        finally:
            # do not wait: after a stop the prompt returns at once
            pool.shutdown(wait=False, cancel_futures=True)


def map_with_progress(
    f: Callable[..., Any], *items: Iterable[Any], progress: bool | Tick, what: str, unit: str
) -> list[Any]:
    """Apply f to every item, in their order, with a thread for each core.

    progress, what, unit: as in `show_progress`; a progress function may raise to stop.
    """
    calls = list(zip(*items, strict=True))
    found: list[Any] = []
    with open_workers() as run, show_progress(progress, what, unit) as tick:
        tick(0, len(calls))
        for value in run(lambda call: f(*call), calls, idle=lambda: tick(len(found), len(calls))):
            found.append(value)
            tick(len(found), len(calls))
    return found


def _in_other_process(f: Callable[..., Any], *items: Any) -> tuple[Any, set[tuple[type[Warning], str]]]:
    """Call f in another process; return the result, with files as addresses, and the warnings."""
    with single_threaded_blas(), _recorded_warnings as issued:
        result = pack(f(*map(unpack, items)))
        return result, {(one.category, str(one.message)) for one in issued}


class SharedContext:
    """A context of the whole process: the first of several users enters it, the last one leaves it."""

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
def _record_warnings() -> Iterator[list[Any]]:
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        yield issued


@functools.lru_cache(maxsize=1)
def _libraries(loaded: tuple[int, str]) -> ThreadpoolController:
    return ThreadpoolController()


def _limit_blas() -> Any:
    """Limit BLAS to one thread.

    To find its libraries takes longer than to compare two representations. They are loaded with modules, so those that
    were found are all there are until the next import.
    """
    return _libraries((len(sys.modules), next(reversed(sys.modules)))).limit(limits=1, user_api="blas")


_recorded_warnings = SharedContext(_record_warnings)
_blas = SharedContext(_limit_blas)


def single_threaded_blas() -> Any:
    """Return a context in which BLAS has one thread.

    The number of BLAS threads is one for the whole process, so the first of several tables sets it and the last resets
    it.
    """
    return _blas
