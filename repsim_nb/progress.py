"""One way to show how far long work is: a bar, silence, or a function that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

Tick = Callable[[int, int], None]  # tick(done, total); it may raise to stop the work


@contextmanager
def ticking(progress: bool | Tick, what: str, unit: str) -> Iterator[Tick]:
    """Yield a `tick(done, total)`: a bar for True, nothing for False, the function itself where one is given."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        with tqdm(desc=what, unit=unit, leave=False, dynamic_ncols=True) as bar:
            def tick(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)
            yield tick
