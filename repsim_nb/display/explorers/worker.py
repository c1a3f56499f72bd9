"""A thread that does the last thing asked for, and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from repsim_nb.support.errors import Stopped
from repsim_nb.support.progress import ProgressReport, Tick

Deliver = Callable[[Any, BaseException | None], None]


class Worker:
    """Runs the last job asked for in a thread of its own; a job that is overtaken or stopped delivers nothing."""

    def __init__(self, report: Callable[[int, int, str], None]) -> None:
        self._report = report
        self._changed = threading.Condition()
        self._newest = 0
        self._pending: tuple[int, Callable[[Tick], Any], Deliver] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[Tick], Any], deliver: Deliver, before: Callable[[], None] = lambda: None) -> None:
        """Do this job instead of whatever is waiting or running.

        `before` is called when nothing older can deliver any more; deliver(result, error) with the outcome. If it fails
        it is called again, with its own error.
        """
        with self._changed:
            self._newest += 1
            before()
            self._pending = self._newest, job, deliver
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="repsim_nb explorer")
                self._thread.start()

    def stop(self, after: Callable[[], None] = lambda: None) -> None:
        """Forget the running job; a job that calls its tick ends there, the result of any other is dropped.

        Nothing happens if nothing waits or runs.
        """
        with self._changed:
            if self._thread is None:  # the job that it was meant for has ended meanwhile
                return
            self._newest += 1
            self._pending = self._thread = None
            after()
            self._changed.notify_all()

    def call_locked(self, call: Callable[[], Any]) -> Any:
        """Return what `call` returns; nothing is delivered or reported meanwhile.

        For code that reads, or answers to, what a delivery sets.
        """
        with self._changed:
            return call()

    def join(self, timeout: float | None = None) -> None:
        """Return when nothing waits or runs; TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"the explorer is still working after {timeout} s")

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

            def tick(done: int, total: int, text: str, number: int = number) -> None:
                with self._changed:  # a report that came after a stop would stand there for good
                    if number != self._newest:
                        raise Stopped
                    self._report(done, total, text)

            try:
                result, error = job(ProgressReport(tick)), None
            except Stopped:
                continue
            except BaseException as problem:
                result, error = None, problem
            with self._changed:  # nobody can ask for something newer between the look and the delivery
                if number != self._newest:
                    continue
                try:
                    deliver(result, error)
                except Exception as problem:
                    deliver(None, problem)
                if self._pending is None:  # in the same breath: a stop that comes from now on has nothing to stop
                    self._thread = None
                    return
