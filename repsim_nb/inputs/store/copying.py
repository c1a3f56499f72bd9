"""Arrays from elsewhere are copied into a store, some rows at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from repsim_nb.inputs.formats import LazyArray
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM

from .activations import Activations
from .row_blocks import dtype_of, pieces
from .store import Store


def copy_into(found: Activations, into: Store | str | Path) -> Activations:
    """Write arrays into a store by rows, and return them memory-mapped.

    An array that is there already, from the same file or with the same numbers, is found again; a copy that was
    interrupted continues.
    """
    store = into if isinstance(into, Store) else Store(into)
    for place, (key, entry) in enumerate(found._entries().items()):
        if isinstance(entry, RDM):
            raise ValueError(f"A store has arrays (samples, features); '{key}' is an RDM. Leave out into=.")
        ids, groups = found._ids_of(key, entry), found._groups_of(key, entry)
        with store.alone(key):
            origin = {"source": _fingerprint(entry)}
            if store.holds(key, origin):
                continue
            facts = found.facts.get(key.model, {})
            dtype = dtype_of(entry)
            writer = store.writer(key, tuple(entry.shape), dtype, origin, facts, place=place, ids=ids, groups=groups)
            try:
                for start, rows in pieces(entry, writer.rows):
                    writer.write(start, rows)
            except BaseException:
                writer.save_progress()  # the next copy continues here
                raise
            writer.commit()
    return store.only(Key(*key) for key in found)


def _fingerprint(entry: Any) -> str:
    """Return a hash of the place, size and time of a file, or of the numbers of an array in memory."""
    digest = hashlib.blake2b(repr((tuple(entry.shape), str(entry.dtype))).encode(), digest_size=16)
    path = Path(entry.path) if isinstance(entry, LazyArray) else None
    if isinstance(entry, LazyArray) and path is not None and path.is_file():
        stat = path.stat()
        digest.update(repr((str(path.resolve()), entry.name, entry.order, stat.st_size, stat.st_mtime_ns)).encode())
    else:
        for _, rows in pieces(entry):
            digest.update(rows.data.cast("B"))
    return digest.hexdigest()
