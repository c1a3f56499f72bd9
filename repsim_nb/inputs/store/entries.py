"""The entries of `Activations`: read by rows, labels checked, two entries compared, facts about models merged."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.inputs.formats import LazyArray
from repsim_nb.support.errors import add_context
from repsim_nb.support.ids import how_ids_differ, same_ids
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM
from repsim_nb.support.row_groups import how_groups_differ, same_groups, stored_groups
from repsim_nb.support.summaries import count_of
from repsim_nb.support.validation import check_labels, to_numpy

from .arrayfile import ArrayFile

PIECE = 2**26  # bytes of an array that are in memory at once


def count_recordings(recordings: Sized, models: Sized) -> str:
    """Return how many there are, in words for a repr."""
    return f"{count_of(len(recordings), 'recording')} of {count_of(len(models), 'model')}"


def join_labels(key: Key, what: str, one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
    """Return the ids or groups of a recording that both sides have; ValueError if they differ.

    what: "ids" or "groups".
    """
    if one is None or two is None:
        return two if one is None else one
    if not (same_ids(one, two) if what == "ids" else same_groups(one, two)):
        how = how_ids_differ(one, two)[0] if what == "ids" else how_groups_differ(one, two)
        raise ValueError(
            f"Both sides of | have a recording '{Key(*key)}', with different {what}: {how}. Record one of them with"
            " another model name or step."
        )
    return one


def check_each(
    arrays: Mapping[Key, Any], given: Mapping[Key, Any], check: Callable[[Any, int], np.ndarray]
) -> dict[Key, np.ndarray]:
    """Check the labels of the rows of each array; an object that is given for several arrays is checked once."""
    done: dict[tuple[int, int], np.ndarray] = {}
    found = {}
    for key, its in given.items():
        if its is None or key not in arrays:
            continue
        which = id(its), arrays[key].shape[0]
        if which not in done:
            with add_context(f"'{Key(*key)}'", ValueError):
                done[which] = check(its, which[1])
        found[key] = done[which]
    return found


def make_group_check() -> Callable[[Any, int], np.ndarray]:
    """Return a check of groups that gives one object for equal groups, so that many layers are compared at once."""
    seen: list[np.ndarray] = []

    def check(given: Any, n: int) -> np.ndarray:
        labels = stored_groups(check_labels(given, n, "groups"))
        seen.append(labels)
        return next(one for one in seen if one.dtype.kind == labels.dtype.kind and np.array_equal(one, labels))

    return check


def merge_facts(known: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Merge (model, facts) pairs into {model: facts}.

    Parameters
    ----------
    known : iterable of (str, dict)
        A model may occur several times, as at several steps of training.

    Returns
    -------
    dict
        For each model the facts that are equal in all of its pairs: an accuracy that differs from step to step is left
        out.

    Examples
    --------
    >>> merge_facts([("net", {"layers": 3, "accuracy": 0.1}), ("net", {"layers": 3, "accuracy": 0.9})])
    {'net': {'layers': 3}}
    """
    found: dict[str, dict[str, Any]] = {}
    for model, facts in known:
        before = found.get(model, facts)
        found[model] = {fact: value for fact, value in before.items() if fact in facts and _equal(value, facts[fact])}
    return found


def _equal(a: Any, b: Any) -> bool:
    """Return whether two facts are equal; arrays if all their values are."""
    same = a == b
    return same if isinstance(same, bool) else bool(np.array_equal(a, b))


def is_same(a: Any, b: Any) -> bool:
    """Return whether two entries are one array, one file, or have equal values."""
    if isinstance(a, RDM) or isinstance(b, RDM):
        return bool(a == b)
    if a is b or (find_file(a) is not None and find_file(a) == find_file(b)):
        return True
    if tuple(a.shape) != tuple(b.shape) or str(a.dtype).removeprefix("torch.") != str(b.dtype).removeprefix("torch."):
        return False
    return all(
        np.array_equal(one, two, equal_nan="int" not in str(a.dtype))
        for (_, one), (_, two) in zip(pieces(a), pieces(b), strict=True)
    )


def find_file(array: Any) -> Path | None:
    """Return the file that contains all of an array, or None."""
    if (
        isinstance(array, np.memmap)
        and isinstance(array.base, np.memmap)
        and (array.shape, array.strides) == (array.base.shape, array.base.strides)
    ):
        array = array.base  # a view of the whole array that has groups
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename:
        return Path(array.filename).resolve()
    return array.path.resolve() if isinstance(array, ArrayFile) else None


def pieces(entry: Any, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows) of an array of any kind, from row `start` on."""
    n, width = entry.shape[0], math.prod(entry.shape[1:]) * dtype_of(entry).itemsize
    step = max(1, PIECE // max(1, width))
    array = entry.open() if isinstance(entry, ArrayFile) else entry
    for row in range(start, n, step):
        stop = min(row + step, n)
        part = array.rows(row, stop) if isinstance(array, LazyArray) else to_numpy(array[row:stop])
        yield row, np.ascontiguousarray(part, dtype=dtype_of(entry))


def dtype_of(entry: Any) -> np.dtype:
    """Return the type in which NumPy has the values; bfloat16 of torch becomes float32."""
    name = str(entry.dtype).removeprefix("torch.")
    return np.dtype("float32" if name == "bfloat16" else name).newbyteorder("=")
