"""Where work is done: threads of this process, one BLAS thread each; or whatever an executor reaches, other machines
included.
"""

from __future__ import annotations

import functools
import math
import os
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
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workers:
    """`workers(f, items)` yields f(item) in the order of the items.

    executor: who works; None is this thread. number: how many work at once. separate_memory: whether they are other
    processes. idle() is called several times a second while a result is waited for; it may raise. An exception cancels
    all that has not begun. A warning of another process is issued here, each sentence once.
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
        # Dask: the name of a file does not say which numbers are in it
        options = {"pure": False} if hasattr(self.executor, "_client") else {}
        futures = deque(self.executor.submit(work, *some, **options) for some in zip(*items, strict=True))
        try:
            while futures:
                result = _wait(futures[0], idle)
                futures.popleft()  # who takes the result decides how long it lives
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
        """Items in bundles, one a call: of this size where memory is shared, else few large ones, since each call
        sends its data.
        """
        size = max(1, math.ceil(len(items) / (4 * self.number)) if self.separate_memory else size)
        return [items[i : i + size] for i in range(0, len(items), size)]


SERIAL = Workers()
_thread = threading.local()


def _wait(future: Future[Any], idle: Callable[[], None]) -> Any:
    while True:
        try:
            return future.result(timeout=0.25)
        except TimeoutError:
            if future.done():  # with a TimeoutError of its own, or just now
                return future.result()
            idle()


def _stoppable(stop: threading.Event, f: Callable[..., Any], *items: Any) -> Any:
    _thread.stop = stop
    return f(*items)


def check_stopped() -> None:
    """End the work of a thread whose result is no longer waited for; long loops call it."""
    stop = getattr(_thread, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def has_separate_memory(executor: Executor | None) -> bool:
    """Whether the workers of an executor are other processes."""
    return executor is not None and not isinstance(executor, ThreadPoolExecutor)


@contextmanager
def open_workers(executor: Executor | None = None, at_most: int = 2**16) -> Iterator[Workers]:
    """The workers of an executor; without one, a thread a core (`at_most` so many).

    BLAS keeps to one thread in each, so that they do not compete.
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
            # after a stop the prompt comes back at once; a piece that runs ends unseen
            pool.shutdown(wait=False, cancel_futures=True)


def map_with_progress(
    f: Callable[..., Any], *items: Iterable[Any], progress: bool | Tick, what: str, unit: str
) -> list[Any]:
    """f of every item, in their order, by a thread for every core.

    progress, what, unit: as `show_progress` takes them; a progress function may raise to stop.
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
    """-> the result, files as addresses; and the warnings it issued."""
    with single_threaded_blas(), _recorded_warnings as issued:
        result = pack(f(*map(unpack, items)))
        return result, {(one.category, str(one.message)) for one in issued}


class SharedContext:
    """A context of the whole process: of several users at a time the first enters it, the last leaves it."""

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


_recorded_warnings = SharedContext(_record_warnings)
_blas = SharedContext(lambda: ThreadpoolController().limit(limits=1, user_api="blas"))


def single_threaded_blas() -> Any:
    """A context in which BLAS has one thread. Its number of threads is one for the whole process, so the first of
    several tables at a time sets it and the last resets it.
    """
    return _blas
