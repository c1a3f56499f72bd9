"""Progress of long work: a bar, nothing, or a function that is called."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
Tick = Callable[[int, int], None]  # tick(done, total); it may raise to stop the work


class ProgressReport:
    """A progress function with text: it calls report(done, total, "recording a: 500 of 1000 samples, 3 s left").

    `show_progress` gives the text; of other work only the numbers are known. The time left is estimated from the
    pace of the current count, and reported from one second on.

    Parameters
    ----------
    report : function(done, total, text)
        Called along the way; it may raise to stop the work.

    Examples
    --------
    >>> report = ProgressReport(lambda done, total, text: print(text))
    >>> with show_progress(report, "recording", "sample") as tick:
    ...     tick(1, 2)
    recording: 1 of 2 samples
    """

    def __init__(self, report: Callable[[int, int, str], None]) -> None:
        self._report = report
        self.start("", "")

    def start(self, what: str, unit: str) -> None:
        """Begin other work, counted in this unit."""
        self._what, self._unit = what, unit
        self._since, self._first, self._last = 0.0, 0, (math.inf, 0)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        # a new count; one that goes on from a half-finished recording does not begin at 0
        if done < self._last[0] or total != self._last[1]:
            self._since, self._first = now, done
        self._last = done, total
        text = (f"{self._what}: " if self._what else "") + f"{done} of {total}"
        if self._unit:
            text += f" {self._unit}" if total == 1 or self._unit.isupper() else f" {self._unit}s"  # MB has no plural
        if self._first < done < total and now - self._since >= 1:
            text += f", {_lasting((now - self._since) / (done - self._first) * (total - done))} left"
        self._report(done, total, text)


def _lasting(seconds: float) -> str:
    """Write a time in words."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds > 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


@contextmanager
def show_progress(progress: bool | Tick, what: str, unit: str) -> Iterator[Tick]:
    """Yield a `tick(done, total)`: a bar for True, nothing for False, or the given function itself."""
    if callable(progress):
        if isinstance(progress, ProgressReport):
            progress.start(what, unit)
        yield progress
    elif not progress:
        yield lambda done, total: None
    elif in_a_notebook():
        with _line_in_a_cell(what, unit) as tick:
            yield tick
    else:
        bar = None

        def tick(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:  # before the first count there is nothing to show; a log gets no line for short work
                bar = tqdm(desc=what, unit=f" {unit}", total=total, leave=False, dynamic_ncols=True, delay=0.2)
            bar.total = total
            bar.update(done - bar.n)

        try:
            yield tick
        finally:
            if bar is not None:
                bar.close()


def track(items: Collection[T], tick: Tick) -> Iterator[T]:
    """Yield the items, and tell `tick` how many are done."""
    for done, item in enumerate(items):
        tick(done, len(items))
        yield item
    tick(len(items), len(items))


def in_a_notebook() -> bool:
    """Return whether cells show what is displayed; a plain terminal does not, even that of IPython."""
    return "IPython" in sys.modules and getattr(sys.modules["IPython"].get_ipython(), "kernel", None) is not None


@contextmanager
def _line_in_a_cell(what: str, unit: str) -> Iterator[Tick]:
    """Show the bar as a line of text until the work is done; short work shows nothing.

    A widget would leave an error in the saved notebook.
    """
    from IPython.display import display

    start = shown = time.monotonic()
    line = None

    def tick(done: int, total: int) -> None:
        nonlocal shown, line
        now = time.monotonic()
        if now - shown < 0.2:
            return
        shown = now
        text = {"text/plain": tqdm.format_meter(done, total, now - start, ncols=100, prefix=what, unit=f" {unit}")}
        if line is None:
            line = display(text, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            line.update(text, raw=True)

    try:
        yield tick
    finally:
        if line is not None:
            line.update({"text/html": "", "text/plain": ""}, raw=True)
