"""What a thread asks of the kernel that runs the notebook."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable


def call_later(call: Callable[[], None]) -> Callable[[], None] | None:
    """Return what any thread may call to have `call` called by the kernel as a part of this cell.

    It is None if the kernel works on nothing but the cell. Whoever runs a notebook unattended (papermill, nbconvert)
    tells the kernel that nobody can be asked for input.
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
        with contextlib.suppress(RuntimeError):  # the kernel is going
            loop.call_soon_threadsafe(call, context=context)

    return soon
