"""A thread that runs the last job that was submitted and can be stopped, and calls from it into the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from repsim_nb.support.errors import Stopped
from repsim_nb.support.progress import ProgressReport, Tick

Deliver = Callable[[Any, BaseException | None], None]


class Worker:
    """Run the last job that was submitted in a thread; a job that is replaced or stopped delivers nothing."""

    def __init__(self, report: Callable[[int, int, str], None]) -> None:
        self._report = report
        self._changed = threading.Condition()
        self._newest = 0
        self._pending: tuple[int, Callable[[Tick], Any], Deliver] | None = None
        self._thread: threading.Thread | None = None
        self._has_part = False  # whether the last job that was submitted has shown a part of its result
        self._running = threading.local()  # the number of the job of each thread

    def submit(self, job: Callable[[Tick], Any], deliver: Deliver, before: Callable[[], None] = lambda: None) -> None:
        """Run this job instead of any job that is waiting or running.

        `before` is called when no older job can deliver any more, and deliver(result, error) with the outcome. If
        `deliver` fails, it is called again with its own error.
        """
        with self._changed:
            self._newest += 1
            self._has_part = False
            before()
            self._pending = self._newest, job, deliver
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="repsim_nb explorer")
                self._thread.start()

    def stop(self, after: Callable[[], None] = lambda: None) -> None:
        """Drop the job that is running: it ends when it next calls its tick, and its result is not delivered.

        If no job is waiting or running, nothing happens.
        """
        with self._changed:
            if self._thread is None:  # the job has ended in the meantime
                return
            self._newest += 1
            self._pending = self._thread = None
            after()
            self._changed.notify_all()

    def call_from_job(self, call: Callable[[], Any]) -> None:
        """Call from a job, like `call_locked`, to show a part of its result; raise Stopped if nothing waits for it."""
        with self._changed:
            if self._running.number != self._newest:
                raise Stopped
            call()
            self._has_part = True
            self._changed.notify_all()

    def call_locked(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns; no job delivers or reports in that time.

        For code that reads what a delivery sets.
        """
        with self._changed:
            return call()

    def join(self, timeout: float | None = None) -> None:
        """Return when no job is waiting or running; raise TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"The explorer is still working after {timeout} s. Wait again, or call stop().")

    def wait_for_part(self, timeout: float) -> None:
        """Return when no job is waiting or running, when a part of a result is shown, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None or self._has_part, timeout)

    def _work(self) -> None:
        try:
            self._work_on()
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                self._changed.notify_all()

    def _work_on(self) -> None:
        while True:
            with self._changed:
                if self._thread is not threading.current_thread():
                    return
                if self._pending is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
                number, job, deliver = self._pending
                self._pending = None
                self._running.number = number

            def tick(done: int, total: int, text: str, number: int = number) -> None:
                with self._changed:  # a report after a stop would stay there
                    if number != self._newest:
                        raise Stopped
                    self._report(done, total, text)

            try:
                result, error = job(ProgressReport(tick)), None
            except Stopped:
                continue
            except BaseException as problem:
                result, error = None, problem
            with self._changed:  # no newer job can be submitted between this check and the delivery
                if number != self._newest:
                    continue
                try:
                    deliver(result, error)
                except Exception as problem:
                    deliver(None, problem)
                if self._pending is None:  # under the same lock: from now on there is nothing to stop
                    self._thread = None
                    return


def call_later(call: Callable[[], None]) -> Callable[[], None] | None:
    """Return a function for any thread that lets the kernel run `call` as a part of this cell.

    It is None if the kernel runs nothing but the cell: without a kernel, and if the notebook runs unattended. papermill
    and nbconvert do not allow input, which shows that nobody is there.
    """
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    except (ImportError, AttributeError, RuntimeError):  # no IPython, no kernel, no loop
        return None
    if not parent.get("content", {}).get("allow_stdin"):
        return None

    def soon() -> None:
        with contextlib.suppress(RuntimeError):  # the kernel is shutting down
            loop.call_soon_threadsafe(call, context=context)

    return soon
