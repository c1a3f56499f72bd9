"""Groups of rows that depend on each other, as the tokens of a sentence do."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import format_label
from repsim_nb.support.ids import hash_values, row_labels_of


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


def number_in_order(values: np.ndarray) -> np.ndarray:
    """Return each label, or each row of a matrix, as its place in the order of first appearance."""
    axis = None if values.ndim == 1 else 0
    _, first, codes = np.unique(values, axis=axis, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes.reshape(-1)]


def same_groups(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether row i is of the same group in both, for all i.

    If the labels of one are ids as text, and those of the other only count the samples (no ids were known), only the
    boundaries of the groups are compared.
    """
    if a is b or (a.dtype.kind == b.dtype.kind and np.array_equal(a, b)):
        return True
    if a.dtype.kind == b.dtype.kind or len(a) != len(b):
        return False
    codes = number_in_order(a), number_in_order(b)
    counted = any(
        groups.dtype.kind == "i" and np.array_equal(groups, its) for groups, its in zip((a, b), codes, strict=True)
    )
    return counted and np.array_equal(codes[0], codes[1])


def how_groups_differ(a: np.ndarray, b: np.ndarray) -> str:
    """Return in words where two lists of labels, of as many rows, first differ."""
    if a.dtype.kind == b.dtype.kind:
        row = int(np.flatnonzero(a != b)[0])
    else:
        different = np.flatnonzero(number_in_order(a) != number_in_order(b))
        row = int(different[0]) if len(different) else 0
    return f"row {row} is of the group {a[row].item()!r} in one and {b[row].item()!r} in the other"


def groups_of(array: Any) -> np.ndarray | None:
    """Return the labels of the groups of the rows of an array, or None."""
    return row_labels_of(array, "groups")


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
