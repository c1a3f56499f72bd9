"""Arrays whose rows keep their labels: the ids of the samples, and the groups of rows that depend on each other."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from repsim_nb.support.ids import ids_of, same_ids
from repsim_nb.support.rdms import RDM
from repsim_nb.support.row_groups import groups_of, same_groups

_WRITE = {np.copyto, np.putmask, np.place}  # functions that write into their first argument


def _clearing(name: str) -> Any:
    """Make a method that clears the labels, then does what the method of the array does: rows may change places."""

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        self._clear()
        getattr(super(_Labeled, self), name)(*args, **kwargs)

    return method


class _Labeled:
    """An array whose attributes `ids` and `groups` have one label for each row, or are None.

    A result has labels only if row i is known to come from row i, or rows are selected. Operations that may move rows
    in place (`rng.shuffle(x)`, `x[:] = x[order]`, `x.sort(axis=0)`) clear them, also through a view of this kind.
    Writing by `np.asarray(x)` or by C code (`rng.permuted(x, out=x)`) cannot be detected.
    """

    __array_priority__ = 1.0  # that of a memory map is lower than an array's
    # __array_finalize__ does not pass them on: it cannot know whether rows are the same
    ids: np.ndarray | None = None
    groups: np.ndarray | None = None
    _viewed: tuple[weakref.ref[Any], ...] = ()  # the arrays whose memory this one is a view of

    def __array_finalize__(self, whole: Any) -> None:
        super().__array_finalize__(whole)  # type: ignore[misc]
        if isinstance(whole, _Labeled) and self.base is not None:  # type: ignore[attr-defined]
            self._viewed = (*(one for one in whole._viewed if one() is not None), weakref.ref(whole))

    def _clear(self) -> None:
        self.ids = self.groups = None
        for one in self._viewed:
            if (whole := one()) is not None:
                whole.ids = whole.groups = None

    def _same_rows(self, result: Any) -> Any:
        return _set_labels(result, self.ids, self.groups)

    def copy(self, order: Any = "C") -> Any:
        return self._same_rows(super().copy(order))  # type: ignore[misc]

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return self._same_rows(super().astype(*args, **kwargs))  # type: ignore[misc]

    def reshape(self, *args: Any, **kwargs: Any) -> Any:
        return self._same_rows(super().reshape(*args, **kwargs))  # type: ignore[misc]

    sort, partition, put, resize, setfield = map(_clearing, ("sort", "partition", "put", "resize", "setfield"))

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
        if isinstance(out, _Labeled):
            out._clear()
        return super().take(indices, axis=axis, out=out, mode=mode)  # type: ignore[misc]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        written = [kwargs.get("out"), *([kwargs.get("dst", kwargs.get("a")), *args[:1]] if function in _WRITE else [])]
        for array in written:
            if isinstance(array, _Labeled):
                array._clear()
        return super().__array_function__(function, types, args, kwargs)  # type: ignore[misc]

    def __setitem__(self, index: Any, value: Any) -> None:
        # one number written to many places moves no rows; to one place it may
        one_number = np.ndim(value) == 0 and not isinstance(value, np.ndarray)
        labeled = self.ids is not None or self.groups is not None
        if not one_number or (labeled and self.size <= len(self)):  # type: ignore[attr-defined, arg-type]
            self._clear()
        super().__setitem__(index, value)  # type: ignore[misc]

    def __getitem__(self, index: Any) -> Any:
        result = super().__getitem__(index)  # type: ignore[misc]
        if (self.ids is None and self.groups is None) or not isinstance(result, np.ndarray):
            return result
        first, *rest = (
            index if isinstance(index, tuple) and index else (slice(None),) if isinstance(index, tuple) else (index,)
        )
        # several lists would change the order of axes
        selects = isinstance(first, slice) and sum(not isinstance(part, slice) for part in rest) <= 1
        one_list = (
            isinstance(first, (list, np.ndarray))
            and np.ndim(first) == 1
            and all(isinstance(part, slice) for part in rest)
        )
        if not (selects or one_list):
            return result
        return _set_labels(result, *(None if its is None else its[first] for its in (self.ids, self.groups)))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        by_row = context is not None and context[0].signature is None
        operands = context[1][: context[0].nin] if by_row else ()
        ids, groups = self._common(operands) if by_row else (None, None)
        if array is self:  # written in place: labels stay if all operands have the same
            if ids is not self.ids or groups is not self.groups or not any(value is self for value in operands):
                self._clear()
            return array
        plain = array.view(np.ndarray)
        if return_scalar:
            return plain[()]
        if (ids is None and groups is None) or plain.ndim != self.ndim:  # type: ignore[attr-defined]
            return plain
        return _set_labels(plain.view(RowArray), ids, groups)

    def _common(self, operands: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the labels that no operand contradicts."""
        ids, groups = self.ids, self.groups
        for value in operands:
            if ids is not None and (its := ids_of(value)) is not None and not same_ids(ids, its):
                ids = None
            if groups is not None and (its := groups_of(value)) is not None and not same_groups(groups, its):
                groups = None
        return ids, groups

    def __reduce__(self) -> Any:
        function, arguments, state = super().__reduce__()  # type: ignore[str-unpack]
        return function, arguments, (state, self.ids, self.groups)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])  # type: ignore[misc]
        self.ids, self.groups = state[1:]


class RowArray(_Labeled, np.ndarray):
    """An array in memory with the labels of its rows."""


class RowMap(_Labeled, np.memmap):
    """A memory-mapped array with the labels of its rows."""


def _set_labels(array: Any, ids: np.ndarray | None, groups: np.ndarray | None) -> Any:
    """Set the labels of an array that can have them, if the number of rows fits."""
    if isinstance(array, (RowArray, RowMap)) and array.ndim:
        array.ids = ids if ids is not None and len(ids) == len(array) else None
        array.groups = groups if groups is not None and len(groups) == len(array) else None
    return array


def attach_labels(array: Any, ids: np.ndarray | None = None, groups: np.ndarray | None = None) -> Any:
    """Return the same numbers as an array with these labels; the array itself if it cannot have any, or for None."""
    if ids is None and groups is None:
        return array
    if isinstance(array, RDM):
        return array.with_labels(ids, groups)
    if isinstance(array, np.memmap):
        return _set_labels(array.view(RowMap), ids, groups)
    if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray):
        return _set_labels(array.view(RowArray), ids, groups)
    if hasattr(array, "detach"):
        array = array[:]  # a view, since the tensor of the user must not get an attribute
        array.ids, array.groups = ids, groups
    return array
