"""Tables of Arrow: Parquet, Feather and IPC files. Rows are samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import import_library, join_names

from .content import Content, Entry, is_unique, names_samples, to_labels, to_whole, warn_lost


def read_table(path: Path) -> Content:
    """Return the columns of a table: each column of vectors is a layer; without these, the numbers are one.

    Columns of text, the index of pandas, and integers whose name is that of an id, are labels.
    """
    arrow = import_library("pyarrow", f"reading {path}")
    table = _read(path, arrow)
    content, labels, numbers = Content(path), {}, {}
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    for name in table.column_names:
        column = table.column(name)
        kind = column.type.storage_type if hasattr(column.type, "storage_type") else column.type
        if arrow.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = kind.value_type
        if arrow.types.is_decimal(kind):
            column, kind = column.cast("float64"), arrow.float64()
        if _is_list(kind, arrow):
            if _has_numbers(kind, arrow):
                content.entries[name] = Entry(_stack(column, name, path), rows=True, names=True)
            else:
                content.leave_out(name, (len(column),), kind)
        elif arrow.types.is_string(kind) or arrow.types.is_large_string(kind) or name in index:
            values = column.to_numpy() if arrow.types.is_integer(kind) else np.array(column.to_pylist(), dtype=object)
            labels[name] = to_labels(values)
        elif (arrow.types.is_integer(kind) or arrow.types.is_floating(kind)) and names_samples(name):
            labels[name] = to_whole(column.to_numpy())
        elif arrow.types.is_floating(kind) or arrow.types.is_integer(kind) or arrow.types.is_boolean(kind):
            numbers[name] = column.to_numpy()
        else:
            content.leave_out(name, (len(column),), kind)
    whole = [name for name, values in numbers.items() if values.dtype.kind != "f"]
    if numbers and not content.entries:
        if 0 < len(whole) < len(numbers):
            raise ValueError(
                f"{path} has columns of fractions and of integers, {join_names(whole, 6)}, which may be"
                " features, or classes, counts and ids. Choose the features, and pass the frame: from_arrays("
                "{'model/layer': frame[names]})."
            )
        content.entries[path.stem] = Entry(np.column_stack(list(numbers.values())), rows=True, names=True)
    else:
        for name, values in numbers.items():
            content.leave_out(name, values.shape, values.dtype)
    if len(index) == 1 and is_unique(labels[index[0]]):
        labels = {index[0]: labels[index[0]]}
    elif index and content.entries:
        warn_lost(path, "the index" if len(index) == 1 else index[0], labels[index[0]])
    for entry in content.entries.values():
        entry.labels = labels
    return content


def _read(path: Path, arrow: Any) -> Any:
    if path.suffix.lower() == ".parquet":
        return import_library("pyarrow.parquet", f"reading {path}").read_table(path)
    ipc = import_library("pyarrow.ipc", f"reading {path}")
    with arrow.memory_map(str(path)) as source:
        try:
            return ipc.open_file(source).read_all()
        except arrow.ArrowInvalid:
            source.seek(0)
            return ipc.open_stream(source).read_all()  # as `datasets` of Hugging Face writes it


def _is_list(kind: Any, arrow: Any) -> bool:
    types = arrow.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _has_numbers(kind: Any, arrow: Any) -> bool:
    """Return whether a column of lists, or of lists of lists, has numbers."""
    while _is_list(kind, arrow):
        kind = kind.value_type
    return bool(arrow.types.is_floating(kind) or arrow.types.is_integer(kind) or arrow.types.is_boolean(kind))


def _stack(column: Any, name: str, path: Path) -> np.ndarray:
    """Return a column of vectors, or of arrays, as one array (n, ...)."""
    shape = tuple(getattr(column.type, "shape", ()))
    ragged = (
        f"the vectors in the column '{name}' of {path} have different lengths, so they are no array (samples,"
        " features). Pool each row to one length."
    )
    found: list[np.ndarray] = []
    for chunk in column.chunks:
        part, n = getattr(chunk, "storage", chunk), len(chunk)
        if not n:
            continue
        lengths = [n]
        while hasattr(part.type, "value_type"):
            if part.null_count:
                raise ValueError(f"the column '{name}' of {path} lacks vectors in some rows. Leave these samples out.")
            sizes = part.value_lengths() if hasattr(part, "value_lengths") else None
            if not hasattr(part.type, "list_size") and sizes is not None and len(set(sizes.to_pylist())) > 1:
                raise ValueError(ragged)
            flat = part.flatten()  # not `values`, which ignores that the part may be a slice
            lengths.append(len(flat) // max(len(part), 1))
            part = flat
        if part.null_count:
            raise ValueError(f"vectors in the column '{name}' of {path} lack values. Leave these samples out.")
        found.append(part.to_numpy(zero_copy_only=False).reshape(n, *(shape or lengths[1:])))
        if found[0].shape[1:] != found[-1].shape[1:]:
            raise ValueError(ragged)
    return np.concatenate(found) if found else np.zeros((0, 0))
