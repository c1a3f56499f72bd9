"""Groups of rows: which rows of an array depend on each other, as the tokens of a sentence do; and arrays that carry the labels of their rows' groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

WHAT = "groups has one label a row, strings or integers, such as the sentence that each token is from"


def checked_groups(groups: Any, n: int) -> np.ndarray:
    """Labels of n rows as a read-only array (n,) of str or of int64. ValueError unless there is one a row, and all are strings or all are integers."""
    if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
        raise ValueError(f"{WHAT}; got {groups!r}")  # noqa: TRY004 (about data)
    groups = groups.detach().cpu().numpy() if hasattr(groups, "detach") else groups
    array = groups if isinstance(groups, np.ndarray) else np.asarray(list(groups) if getattr(groups, "ndim", 1) == 1 else groups, dtype=_kind(groups))
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or len(array) != n:
        raise ValueError(f"{WHAT}; there are {n} rows, and " + (f"{len(array)} labels" if array.ndim == 1 else f"labels of shape {tuple(array.shape)}"))
    if array.dtype.kind == "O":
        kinds = {str if isinstance(item, str) else int if isinstance(item, (int, np.integer)) else type(item) for item in array.tolist()}
        if len(kinds) > 1 or not kinds <= {str, int}:
            raise ValueError(f"{WHAT}; these are of the types {sorted(kind.__name__ for kind in kinds)}. Make them strings, [str(label) for label in groups]")
        array = array.astype(np.str_ if kinds == {str} else np.int64)
    whole = array.dtype.kind == "f" and bool(np.all(array == np.round(array)))  # a column of numbers is read as floats where one is missing; NaN is not whole
    if array.dtype.kind not in "iubU" and not whole:
        raise ValueError(f"{WHAT}; these are {array.dtype}, such as {array[0]}. Make them strings, [str(label) for label in groups]")
    if array.dtype.kind in "uf" and n and not -(2.0**63) <= float(array.min()) <= float(array.max()) < 2.0**63:
        raise ValueError("groups that are integers fit into 64 bits; make these strings, [str(label) for label in groups]")
    array = np.array(array) if array.dtype.kind == "U" else np.array(array, dtype=np.int64)
    array.flags.writeable = False
    return array


def _kind(groups: Any) -> Any:
    """Mixed labels must not become text unseen, as NumPy makes them."""
    return object if getattr(groups, "ndim", 1) == 1 else None


def runs_of(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(label, number of rows) of each run of rows that follow one another with one label."""
    first = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else np.empty(0, int)
    return groups[first], np.diff(np.append(first, len(groups)))


def groups_fingerprint(groups: np.ndarray | None) -> str:
    """32 hex digits: a hash of labels that `checked_groups` returned; "" for None."""
    if groups is None:
        return ""
    labels, rows = runs_of(groups)
    digest = hashlib.blake2b(f"groups {groups.dtype.kind} {len(rows)}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    if groups.dtype.kind == "i":
        digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    else:
        for label in labels.tolist():
            raw = label.encode(errors="surrogatepass")
            digest.update(b"%d " % len(raw) + raw)
    return digest.hexdigest()


def _codes(groups: np.ndarray) -> np.ndarray:
    """Each label by its place among the first appearances."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def same_groups(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether row i is of the same group in both, for all i.

    Where the labels of one are ids in words, and those of the other only count the samples, as if no ids were known, only the cuts can be held against each other.
    """
    if a is b or (a.dtype.kind == b.dtype.kind and np.array_equal(a, b)):
        return True
    if a.dtype.kind == b.dtype.kind or len(a) != len(b):
        return False
    codes = [_codes(groups) for groups in (a, b)]
    counted = any(groups.dtype.kind == "i" and np.array_equal(groups, its) for groups, its in zip((a, b), codes, strict=True))
    return counted and np.array_equal(*codes)


def how_groups_differ(a: np.ndarray, b: np.ndarray) -> str:
    """In words where two lists of labels, of as many rows, differ first."""
    if a.dtype.kind == b.dtype.kind:
        row = int(np.flatnonzero(a != b)[0])
    else:
        different = np.flatnonzero(_codes(a) != _codes(b))
        row = int(different[0]) if len(different) else 0
    return f"row {row} is of the group {a[row].item()!r} in one and {b[row].item()!r} in the other"


def check_groups(sides: Mapping[str, Mapping[Any, Any]], labels: Collection[Any] | None = None, named: Callable[[Any], str] = str) -> None:
    """Row i is of the same group in all representations (with these labels), as far as their groups are known; ValueError names the first row that differs.

    Ids decide where both know them. Unlike numbers of rows are another error.
    """
    known = []
    for xs in sides.values():
        found, ids = getattr(xs, "groups", None), getattr(xs, "ids", None)
        if not isinstance(found, Mapping):
            found = {label: groups for label, x in xs.items() if (groups := groups_of(x)) is not None} if isinstance(xs, dict) else {}
        ids = ids if isinstance(ids, Mapping) else {}
        known += [(label, groups, label in ids) for label, groups in found.items() if labels is None or label in labels]
    for label, groups, has_ids in known[1:]:
        other, its, its_ids = known[0]
        if (has_ids and its_ids) or len(its) != len(groups) or same_groups(its, groups):
            continue
        raise ValueError(f"the same rows are needed in every representation, in one order, and those of '{named(other)}' and '{named(label)}' are of other groups: "
                         f"{how_groups_differ(its, groups)}. Record both on one data set with one cut into tokens (all layers of one model have it), or pooled, one row a "
                         "sample: record(..., pool='mean')")


# -- arrays that carry them --------------------------------------------------------------------------------------------------

class _Carrying:
    """An array whose attribute `groups` has one label a row, or is None. Results carry it only where row i is known to come from row i, or rows are chosen."""

    __array_priority__ = 1.0  # that of a memory map is lower than an array's
    groups: np.ndarray | None = None  # __array_finalize__ hands nothing on: it cannot know whether rows are the same

    def copy(self, order: Any = "C") -> Any:
        return _carried(super().copy(order), self.groups)  # type: ignore[misc]

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return _carried(super().astype(*args, **kwargs), self.groups)  # type: ignore[misc]

    def reshape(self, *args: Any, **kwargs: Any) -> Any:
        return _carried(super().reshape(*args, **kwargs), self.groups)  # type: ignore[misc]

    def sort(self, *args: Any, **kwargs: Any) -> None:
        self.groups = None  # rows change their places, or their numbers do
        super().sort(*args, **kwargs)  # type: ignore[misc]

    def partition(self, *args: Any, **kwargs: Any) -> None:
        self.groups = None
        super().partition(*args, **kwargs)  # type: ignore[misc]

    def __getitem__(self, index: Any) -> Any:
        result = super().__getitem__(index)  # type: ignore[misc]
        if self.groups is None or not isinstance(result, np.ndarray):
            return result
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice) and sum(not isinstance(part, slice) for part in rest) <= 1:  # several lists would change the order of axes
            return _carried(result, self.groups[first])
        one_list = isinstance(first, (list, np.ndarray)) and np.ndim(first) == 1 and all(isinstance(part, slice) for part in rest)
        return _carried(result, self.groups[first]) if one_list else result

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        if array is self:
            return array
        plain = array.view(np.ndarray)
        if return_scalar:
            return plain[()]
        if self.groups is None or context is None or context[0].signature is not None or plain.ndim != self.ndim:  # type: ignore[attr-defined]
            return plain
        others = [groups for value in context[1] if (groups := groups_of(value)) is not None]
        agree = all(same_groups(self.groups, groups) for groups in others)
        return _carried(plain.view(GroupedArray), self.groups) if agree and len(plain) == len(self.groups) else plain

    def __reduce__(self) -> Any:
        made, given, state = super().__reduce__()
        return made, given, (state, self.groups)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])  # type: ignore[misc]
        self.groups = state[1]


class GroupedArray(_Carrying, np.ndarray):
    """An array in memory that carries its rows' groups."""


class GroupedMap(_Carrying, np.memmap):
    """A memory-mapped array that carries its rows' groups."""


def _carried(array: Any, groups: np.ndarray | None) -> Any:
    if groups is not None and isinstance(array, _Carrying) and array.ndim and len(array) == len(groups):
        array.groups = groups
    return array


def groups_of(array: Any) -> np.ndarray | None:
    """The labels that an array carries; None if it carries none. A table may have a column of the name `groups`, which is something else."""
    groups = getattr(array, "groups", None)
    return groups if isinstance(groups, np.ndarray) else None


def carrying(array: Any, groups: np.ndarray | None) -> Any:
    """The same numbers as an array whose `groups` are these; an array that cannot carry any, or groups=None: the array as it is."""
    if groups is None:
        return array
    if isinstance(array, np.memmap):
        return _carried(array.view(GroupedMap), groups)
    if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray):
        return _carried(array.view(GroupedArray), groups)
    if hasattr(array, "detach"):  # a torch tensor: another view of it, since attributes of the user's own are not ours to set
        array = array[:]
        array.groups = groups
    return array
