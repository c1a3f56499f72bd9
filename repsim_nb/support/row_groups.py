"""Groups of rows that depend on each other, as the tokens of a sentence do, and arrays that have them."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import format_label
from repsim_nb.support.ids import hash_values


def stored_groups(labels: np.ndarray) -> np.ndarray:
    """Return labels that `check_labels` returned as a read-only array of str or int64, which a file can store.

    Labels that are equal stay equal, and others stay different.
    """
    kind = labels.dtype.kind
    # a column of integers is often read as floats
    whole = kind in "uf" and bool(np.all((labels == np.round(labels)) & (np.abs(labels) < 2.0**63)))
    if kind in "ib" or whole:
        stored = labels.astype(np.int64)
    elif kind == "U":
        stored = np.array(labels)
    else:
        codes, names = pd.factorize(labels)
        texts = [name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name) for name in names]
        texts = texts if len(set(texts)) == len(texts) else [repr(name) for name in names]  # 1 and "1" stay two groups
        if len(set(texts)) < len(texts):
            twice = next(text for place, text in enumerate(texts) if text in texts[:place])
            raise ValueError(
                f"groups are stored as text, and different labels have the same text, such as {twice}. Make them"
                " strings or integers."
            )
        stored = np.array(texts, dtype=np.str_)[codes]
    stored.flags.writeable = False
    return stored


def runs_of(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (label, number of rows) of each run of consecutive rows with one label."""
    first = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else np.empty(0, int)
    return groups[first], np.diff(np.append(first, len(groups)))


def groups_fingerprint(groups: np.ndarray | None) -> str:
    """Return a hash of labels that `stored_groups` returned, 32 hex digits; "" for None."""
    if groups is None:
        return ""
    labels, rows = runs_of(groups)
    digest = hashlib.blake2b(f"groups {groups.dtype.kind} {len(rows)}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    hash_values(digest, labels)
    return digest.hexdigest()


def _codes(groups: np.ndarray) -> np.ndarray:
    """Return each label as its place in the order of first appearance."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def same_groups(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether row i is of the same group in both, for all i.

    If the labels of one are ids as text, and those of the other only count the samples (no ids were known), only the
    boundaries of the groups are compared.
    """
    if a is b or (a.dtype.kind == b.dtype.kind and np.array_equal(a, b)):
        return True
    if a.dtype.kind == b.dtype.kind or len(a) != len(b):
        return False
    codes = _codes(a), _codes(b)
    counted = any(
        groups.dtype.kind == "i" and np.array_equal(groups, its) for groups, its in zip((a, b), codes, strict=True)
    )
    return counted and np.array_equal(codes[0], codes[1])


def how_groups_differ(a: np.ndarray, b: np.ndarray) -> str:
    """Return in words where two lists of labels, of as many rows, first differ."""
    if a.dtype.kind == b.dtype.kind:
        row = int(np.flatnonzero(a != b)[0])
    else:
        different = np.flatnonzero(_codes(a) != _codes(b))
        row = int(different[0]) if len(different) else 0
    return f"row {row} is of the group {a[row].item()!r} in one and {b[row].item()!r} in the other"


def check_groups(sides: Mapping[str, Any], labels: Collection[Any] | None = None) -> None:
    """Check that row i is of the same group in all representations (with these labels), as far as groups are known.

    ValueError names the first row that differs. Ids decide if both have them. Different numbers of rows are another
    error.
    """
    known = []
    for xs in sides.values():
        found, ids = getattr(xs, "groups", None), getattr(xs, "ids", None)
        if not isinstance(found, Mapping):
            found = (
                {label: groups for label, x in xs.items() if (groups := groups_of(x)) is not None}
                if isinstance(xs, dict)
                else {}
            )
        ids = ids if isinstance(ids, Mapping) else {}
        known += [(label, groups, label in ids) for label, groups in found.items() if labels is None or label in labels]
    for label, groups, has_ids in known[1:]:
        other, its, its_ids = known[0]
        if (has_ids and its_ids) or len(its) != len(groups) or same_groups(its, groups):
            continue
        raise ValueError(
            f"every representation needs the same rows, in one order, and those of '{format_label(other)}' and"
            f" '{format_label(label)}' are of different groups: {how_groups_differ(its, groups)}. Record both on one"
            " data set with the same tokens (all layers of one model have them), or with one row for each sample,"
            " record(..., pool='mean')."
        )


# -- arrays with groups

_WRITE = {np.copyto, np.putmask, np.place}  # functions that write into their first argument


def _clearing(name: str) -> Any:
    """Make a method that clears the groups, then does what the method of the array does: rows may change places."""

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        self._clear()
        getattr(super(_WithGroups, self), name)(*args, **kwargs)

    return method


class _WithGroups:
    """An array whose attribute `groups` has one label for each row, or is None.

    A result has groups only if row i is known to come from row i, or rows are selected. Operations that may move rows
    in place (`rng.shuffle(x)`, `x[:] = x[order]`, `x.sort(axis=0)`) clear them, also through a view of this kind.
    Writing by `np.asarray(x)` or by C code (`rng.permuted(x, out=x)`) cannot be detected.
    """

    __array_priority__ = 1.0  # that of a memory map is lower than an array's
    # __array_finalize__ does not pass them on: it cannot know whether rows are the same
    groups: np.ndarray | None = None
    _viewed: tuple[weakref.ref[Any], ...] = ()  # the arrays whose memory this one is a view of

    def __array_finalize__(self, whole: Any) -> None:
        super().__array_finalize__(whole)  # type: ignore[misc]
        if isinstance(whole, _WithGroups) and self.base is not None:  # type: ignore[attr-defined]
            self._viewed = (*(one for one in whole._viewed if one() is not None), weakref.ref(whole))

    def _clear(self) -> None:
        self.groups = None
        for one in self._viewed:
            if (whole := one()) is not None:
                whole.groups = None

    def copy(self, order: Any = "C") -> Any:
        return _set_groups(super().copy(order), self.groups)  # type: ignore[misc]

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return _set_groups(super().astype(*args, **kwargs), self.groups)  # type: ignore[misc]

    def reshape(self, *args: Any, **kwargs: Any) -> Any:
        return _set_groups(super().reshape(*args, **kwargs), self.groups)  # type: ignore[misc]

    sort, partition, put, resize, setfield = map(_clearing, ("sort", "partition", "put", "resize", "setfield"))

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        if isinstance(out, _WithGroups):
            out._clear()
        return super().take(indices, axis=axis, out=out, mode=mode)  # type: ignore[misc]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        written = [kwargs.get("out"), *([kwargs.get("dst", kwargs.get("a")), *args[:1]] if function in _WRITE else [])]
        for array in written:
            if isinstance(array, _WithGroups):
                array._clear()
        return super().__array_function__(function, types, args, kwargs)  # type: ignore[misc]

    def __setitem__(self, index: Any, value: Any) -> None:
        # one number written to many places moves no rows; to one place it may
        one_number = np.ndim(value) == 0 and not isinstance(value, np.ndarray)
        if not one_number or (self.groups is not None and self.size <= len(self)):  # type: ignore[attr-defined, arg-type]
            self._clear()
        super().__setitem__(index, value)  # type: ignore[misc]

    def __getitem__(self, index: Any) -> Any:
        result = super().__getitem__(index)  # type: ignore[misc]
        if self.groups is None or not isinstance(result, np.ndarray):
            return result
        first, *rest = (
            index if isinstance(index, tuple) and index else (slice(None),) if isinstance(index, tuple) else (index,)
        )
        # several lists would change the order of axes
        if isinstance(first, slice) and sum(not isinstance(part, slice) for part in rest) <= 1:
            return _set_groups(result, self.groups[first])
        one_list = (
            isinstance(first, (list, np.ndarray))
            and np.ndim(first) == 1
            and all(isinstance(part, slice) for part in rest)
        )
        return _set_groups(result, self.groups[first]) if one_list else result

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        if array is self:  # written in place: groups stay if all operands have the same
            if (
                context is None
                or context[0].signature is not None
                or any(
                    not same_groups(self.groups, its)
                    for value in context[1]
                    if self.groups is not None and (its := groups_of(value)) is not None
                )
            ):
                self._clear()
            return array
        plain = array.view(np.ndarray)
        if return_scalar:
            return plain[()]
        if self.groups is None or context is None or context[0].signature is not None or plain.ndim != self.ndim:  # type: ignore[attr-defined]
            return plain
        others = [groups for value in context[1] if (groups := groups_of(value)) is not None]
        agree = all(same_groups(self.groups, groups) for groups in others)
        return _set_groups(plain.view(GroupedArray), self.groups) if agree and len(plain) == len(self.groups) else plain

    def __reduce__(self) -> Any:
        function, arguments, state = super().__reduce__()  # type: ignore[str-unpack]
        return function, arguments, (state, self.groups)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])  # type: ignore[misc]
        self.groups = state[1]


class GroupedArray(_WithGroups, np.ndarray):
    """An array in memory with the groups of its rows."""


class GroupedMap(_WithGroups, np.memmap):
    """A memory-mapped array with the groups of its rows."""


def _set_groups(array: Any, groups: np.ndarray | None) -> Any:
    """Set the groups of an array that can have them, if the number of rows fits."""
    if (
        groups is not None
        and isinstance(array, (GroupedArray, GroupedMap))
        and array.ndim
        and len(array) == len(groups)
    ):
        array.groups = groups
    return array


def groups_of(array: Any) -> np.ndarray | None:
    """Return the labels of the groups of the rows of an array, or None.

    A column `groups` of a table is something else.
    """
    groups, shape = getattr(array, "groups", None), tuple(getattr(array, "shape", ()))
    # `x.shape = ...` changes the number of rows
    return groups if isinstance(groups, np.ndarray) and shape[:1] == (len(groups),) else None


def attach_groups(array: Any, groups: np.ndarray | None) -> Any:
    """Return the same numbers as an array with these `groups`; the array itself if it cannot have any, or for None."""
    if groups is None:
        return array
    if isinstance(array, np.memmap):
        return _set_groups(array.view(GroupedMap), groups)
    if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray):
        return _set_groups(array.view(GroupedArray), groups)
    if hasattr(array, "detach"):
        array = array[:]  # a view, since the tensor of the user must not get an attribute
        array.groups = groups
    return array
