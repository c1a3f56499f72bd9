"""The ids of samples: they show whether row i of two representations is the same sample."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from repsim_nb.support.dimensions import sample_index
from repsim_nb.support.errors import join_names


def check_ids(ids: Any, n: int) -> np.ndarray:
    """Check the ids of n samples.

    Parameters
    ----------
    ids : sequence of str or of int
        One for each sample, all different.
    n : int
        The number of samples.

    Returns
    -------
    array (n,)
        Read-only, of str or of int64.

    Raises
    ------
    ValueError
        If they are not one for each sample, unique, and all strings or all integers.

    Examples
    --------
    >>> check_ids(["a", "b"], 2).tolist()
    ['a', 'b']
    """
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise ValueError(f"ids must be one per sample, such as ['a', 'b'] or [17, 4]; got {ids!r}")
    ids = ids.detach().cpu().numpy() if hasattr(ids, "detach") else ids
    if getattr(ids, "ndim", 1) != 1:
        raise ValueError(f"ids must be one per sample, of shape ({n},); got shape {tuple(ids.shape)}")
    plain = isinstance(ids, np.ndarray) and (ids.dtype.kind in "iU" or (ids.dtype.kind == "u" and ids.itemsize < 8))
    items = ids if plain else list(ids)
    if len(items) != n:
        raise ValueError(f"ids must be one per sample; there are {n} samples and {len(items)} ids")
    kinds = {str if ids.dtype.kind == "U" else int} if plain else {_kind(item) for item in items}
    if not kinds <= {str, int}:
        odd = next(item for item in items if _kind(item) not in (str, int))
        raise ValueError(
            f"ids must be strings or integers; got {getattr(odd, 'item', lambda: odd)()!r}, which is"
            f" {type(odd).__name__}. Convert other values, [str(value) for value in values]."
        )
    if len(kinds) > 1:
        raise ValueError(
            "ids must be all strings or all integers; got both. Make them strings, [str(id) for id in ids]."
        )
    try:
        array = (
            np.array(items, dtype=np.str_)
            if kinds == {str}
            else np.array(items if plain else list(map(int, items)), dtype=np.int64)
        )
    except OverflowError as error:
        raise ValueError(
            "ids that are integers must fit into 64 bits. Make them strings, [str(id) for id in ids]."
        ) from error
    check_unique_ids(array)
    array.flags.writeable = False
    return array


def check_unique_ids(ids: np.ndarray) -> None:
    """Raise ValueError if several samples have one id."""
    if len(np.unique(ids)) < len(ids):
        twice = [item for item, many in Counter(ids.tolist()).items() if many > 1]
        rows = np.flatnonzero(ids == twice[0])
        more = (
            f", and {len(twice) - 1} other{'s' * (len(twice) > 2)} too: {join_names(twice[1:], 3)}"
            if len(twice) > 1
            else ""
        )
        raise ValueError(
            f"ids must be unique; {twice[0]!r} is the id of {len(rows)} samples (rows {rows[0]} and {rows[1]}){more}"
        )


def _kind(item: Any) -> type:
    """Return str, int, or the type of any other value."""
    if isinstance(item, (str, np.integer)):
        return str if isinstance(item, str) else int
    return type(item)


def index_ids(index: Any) -> np.ndarray | None:
    """Return an index of pandas as ids, values other than strings and integers as text.

    None if there is no index, or if it only counts rows or is not unique.
    """
    if index is None or not index.is_unique or _counts_rows(index):
        return None
    for items in (list(index), list(map(str, index))):
        try:
            return check_ids(items, len(items))
        except ValueError:
            continue
    return None


def _counts_rows(index: Any) -> bool:
    """Return whether an index only counts rows from 0."""
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)


class Names(NamedTuple):
    """The names of samples.

    Attributes
    ----------
    names : array (n,)
        One for each sample.
    kind : {"ids", "count", "repeated"}
        "ids": each sample has its own; "count": 0, 1, 2, ..., as pandas counts rows without names; "repeated": several
        samples have one name.
    """

    names: np.ndarray
    kind: str


def row_labels_of(array: Any, name: str) -> np.ndarray | None:
    """Return the labels that an array has for its rows, as the attribute "ids" or "groups"; None if there are none.

    A column of a table with that name is something else.
    """
    labels, shape = getattr(array, name, None), tuple(getattr(array, "shape", ()))
    # `x.shape = ...` changes the number of rows
    return labels if isinstance(labels, np.ndarray) and shape[:1] == (len(labels),) else None


def ids_of(array: Any) -> np.ndarray | None:
    """Return the ids of the rows of an array or a tensor, or None."""
    return row_labels_of(array, "ids")


def names_of(x: Any) -> Names | None:
    """Return the names of the samples of an array or a container, or None."""
    if (ids := ids_of(x)) is not None:
        # rows can be drawn twice, x[[0, 0, 1]]
        return Names(ids, "ids") if len(np.unique(ids)) == len(ids) else Names(ids.astype(str), "repeated")
    index = sample_index(x)
    if index is None:
        return None
    if _counts_rows(index):
        return Names(np.arange(len(index)), "count")
    ids = index_ids(index)
    return Names(np.array(list(map(str, index))), "repeated") if ids is None else Names(ids, "ids")


def compare_names(a: Names, b: Names) -> tuple[str, int] | None:
    """Return how the samples of two sides differ, in words, and how many are common; None if row i may be the same.

    A plain count of rows, 0, 1, 2, ..., names nothing if the other side has text, or integers without a common one.
    With others it is the rest of a frame that was cut or permuted.
    """
    if a.kind == b.kind == "ids":
        return None if same_ids(a.names, b.names) else how_ids_differ(a.names, b.names)
    if len(a.names) != len(b.names):
        return None  # another error says so
    if "count" in (a.kind, b.kind) and not all(_are_integers(side.names) for side in (a, b)):
        return None
    one, other = a.names.astype(str), b.names.astype(str)
    if np.array_equal(one, other):
        return None
    how, common = _how_names_differ(one, other)
    if "count" not in (a.kind, b.kind):
        return how, common
    return (
        (f"{how}; if row i is the same sample on both sides, use x.reset_index(drop=True)", common) if common else None
    )


def _are_integers(names: np.ndarray) -> bool:
    """Return whether all names are integers, or text of integers."""
    return names.dtype.kind in "iu" or all(re.fullmatch(r"-?\d+", name) for name in names.tolist())


def _how_names_differ(a: np.ndarray, b: np.ndarray) -> tuple[str, int]:
    """Return how two lists of names differ, in words, and how many are common."""
    row = int(np.flatnonzero(a != b)[0])
    how = "name the same samples, in another order" if np.array_equal(np.sort(a), np.sort(b)) else "differ"
    return f"their indices {how} (row {row} is {a[row].item()!r} and {b[row].item()!r})", len(np.intersect1d(a, b))


def check_order(x: Any, labels: Any) -> None:
    """Raise ValueError if the index of labels has the same names as the samples, in another order.

    x: the samples in a container that names them, or their names.
    """
    names, others = x if isinstance(x, Names) else names_of(x), names_of(labels)
    if names is None or others is None or not (found := compare_names(names, others)):
        return
    how = "y = y.loc[x.index]" if found[1] else "give both the same index"
    raise ValueError(
        f"labels must be in the order of the samples, and by the indices of both {found[0]}. Reorder the labels: {how}."
    )


def ids_fingerprint(ids: np.ndarray | None) -> str:
    """Return a hash of ids that `check_ids` returned, 32 hex digits; "" for None."""
    if ids is None:
        return ""
    digest = hashlib.blake2b(f"{ids.dtype.kind} {len(ids)}".encode(), digest_size=16)
    hash_values(digest, ids)
    return digest.hexdigest()


def hash_values(digest: hashlib.blake2b, values: np.ndarray) -> None:
    """Add integers or texts to a hash."""
    if values.dtype.kind == "i":
        digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    else:
        hash_texts(digest, values.tolist())


def hash_texts(digest: hashlib.blake2b, texts: Iterable[str]) -> None:
    """Add texts to a hash, each with its length, so that different lists give different bytes."""
    for text in texts:
        raw = text.encode(errors="surrogatepass")
        digest.update(b"%d " % len(raw) + raw)


def same_ids(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether row i is the same sample in both, for all i."""
    return a is b or (a.dtype.kind == b.dtype.kind and np.array_equal(a, b))


def how_ids_differ(a: np.ndarray, b: np.ndarray) -> tuple[str, int]:
    """Return how two lists of ids differ, in words, and the number of common ids."""
    if a.dtype.kind != b.dtype.kind:
        return (
            f"the ids of one are strings and of the other integers ({a[0].item()!r} and {b[0].item()!r})"
            if len(a) and len(b)
            else "one has no samples"
        ), 0
    common = len(np.intersect1d(a, b))
    if len(a) == len(b) and np.array_equal(np.sort(a), np.sort(b)):
        row = int(np.flatnonzero(a != b)[0])
        return (
            (
                f"their {len(a)} samples are the same, in another order (row {row} is {a[row].item()!r} and"
                f" {b[row].item()!r})"
            ),
            common,
        )
    return f"their samples differ ({len(a)} ids and {len(b)} ids, {common} of them common)", common


def refuse_other_order(own: np.ndarray | None, given: np.ndarray | None, what: str) -> None:
    """Raise ValueError if ids that are given for samples are some or all of their own ids, in another order."""
    if own is None or given is None or same_ids(own, given):
        return
    how, common = how_ids_differ(own, given)
    if common:
        raise ValueError(f"the values have labels of their own, and by these and {what} {how}.")


def refuse_integer_mask(rows: Any, n: int) -> None:
    """Raise ValueError for row numbers that are a mask of n rows in 0 and 1, as MATLAB files have it.

    As numbers they would select the rows 0 and 1 again and again. So few rows can be drawn with replacement only from
    few, and not in bytes.
    """
    numbers = np.asarray(rows)
    many = n >= 8 or (n > 2 and numbers.dtype == np.uint8)
    if many and numbers.shape == (n,) and numbers.dtype.kind in "iu" and np.isin(numbers, (0, 1)).all():
        raise ValueError(
            f"rows must be row numbers or a mask of True and False; these {n} numbers are all 0 and 1, one for each"
            " row. If they are a mask, use np.asarray(rows, bool)."
        )
