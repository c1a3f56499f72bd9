"""Calls from a thread into the kernel that runs the notebook."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable


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
