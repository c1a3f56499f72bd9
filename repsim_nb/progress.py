"""One way to show how far long work is: a bar, silence, or a function that is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Tick = Callable[[int, int], None]  # tick(done, total); it may raise to stop the work


@contextmanager
def ticking(progress: bool | Tick, what: str, unit: str) -> Iterator[Tick]:
    """Yield a `tick(done, total)`: a bar for True, nothing for False, the function itself where one is given."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    elif _in_a_notebook():
        with _line_in_a_cell(what, unit) as tick:
            yield tick
    else:
        with tqdm(desc=what, unit=unit, leave=False, dynamic_ncols=True) as bar:
            def tick(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)
            yield tick


def _in_a_notebook() -> bool:
    """Whether cells show what is displayed (a plain terminal does not, even that of IPython)."""
    return "IPython" in sys.modules and getattr(sys.modules["IPython"].get_ipython(), "kernel", None) is not None


@contextmanager
def _line_in_a_cell(what: str, unit: str) -> Iterator[Tick]:
    """The bar as a line of text, gone when the work is done; work too short to wait for shows nothing.

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
        text = {"text/plain": tqdm.format_meter(done, total, now - start, ncols=100, prefix=what, unit=unit)}
        if line is None:
            line = display(text, raw=True, display_id=True)
        else:
            line.update(text, raw=True)

    try:
        yield tick
    finally:
        if line is not None:
            line.update({"text/html": "", "text/plain": ""}, raw=True)
