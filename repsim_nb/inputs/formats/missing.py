"""Libraries that read one format: imported when a file of it is read."""

from __future__ import annotations

import importlib
from typing import Any

from repsim_nb.support.errors import name_extra


def import_for(library: str, path: Any, what: str = "reading") -> Any:
    """Import a library; ModuleNotFoundError says how to install it."""
    with name_extra(f"{what} {path}"):
        return importlib.import_module(library)
