"""Delete recordings, and what is of no use, in a store."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from repsim_nb.support.errors import DamagedFile
from repsim_nb.support.labels import Key

from .arrayfile import file_stem
from .folder import ENDINGS, YOUNG, StoreFolder, age, size_of
from .idsfile import read_ids


def remove_recordings(folder: StoreFolder, keys: Iterable[Key]) -> None:
    """Delete recordings, finished or not, and the ids and groups that no other recording uses.

    ValueError if another process is recording one of them.
    """
    used = folder.labels_in_use()
    for key in keys:
        with folder.locked(key, wait=False) as mine:
            if not mine:
                raise ValueError(
                    f"'{key}' was not removed: another process is recording '{key.model}' into {folder.path}. Stop"
                    " it, or wait for it, then call remove again."
                )
            for ending in ENDINGS:
                path = folder.path / f"{file_stem(key)}{ending}"
                if not path.is_dir():  # no Store created that
                    path.unlink(missing_ok=True)
    for name in used - folder.labels_in_use():
        (folder.path / name).unlink(missing_ok=True)


def prune(folder: StoreFolder, *, unfinished: bool, dry_run: bool) -> dict[str, int]:
    """Delete what is of no use; see `Store.prune`."""
    gone: dict[str, int] = {}

    def drop(path: Path) -> None:
        if path.exists() and not path.is_dir():
            gone[path.name] = size_of(path)
            if not dry_run:
                with folder.writing():
                    path.unlink(missing_ok=True)

    names = folder.names()
    for path in (folder.path / name for name, _ in names):
        if path.suffix == ".tmp" and age(path) > YOUNG:
            drop(path)
        if path.suffix == ".lock":
            with folder.holding(path, wait=False, stays=dry_run) as mine:  # at the end, this deletes the file
                if mine:
                    gone[path.name] = size_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged records need no warning: they are deleted
        for name in dict.fromkeys(match["stem"] for _, match in names if match["stem"]):
            record = folder.record(f"{name}.json") or folder.record(f"{name}.part.json")
            if record is None:
                for path in folder.useless_files(name, unfinished):
                    if age(path) > YOUNG:
                        drop(path)
            elif folder.useless_files(name, unfinished):
                with folder.locked(Key(*record["key"]), wait=False, stays=dry_run) as mine:
                    # it may have been finished in the meantime
                    for path in folder.useless_files(name, unfinished) if mine else ():
                        drop(path)
    used = folder.labels_in_use(without=gone)
    for path in (folder.path / name for name, match in names if match["ids"]):
        if (path.name not in used and age(path) > YOUNG) or find_fault(path):
            drop(path)
    return gone


def find_fault(path: Path) -> str:
    """Return what is wrong with a file of ids or groups; "" if nothing is."""
    try:
        read_ids(path)
    except DamagedFile as error:
        return str(error)
    return ""
