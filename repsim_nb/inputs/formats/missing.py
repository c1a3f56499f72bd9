"""Libraries that read one format: imported when a file of it is read."""

from __future__ import annotations

import importlib
from typing import Any


def import_for(library: str, path: Any, what: str = "reading") -> Any:
    """Import a library; ModuleNotFoundError says how to install it."""
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != library.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"{what} {path} needs {library.partition('.')[0]}, which is not installed: pip install 'repsim_nb[files]'",
            name=error.name,
        ) from error
