"""What a file contains: arrays with the names of their axes, and labels that may name the samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.dimensions import choose_dimension, is_feature_name, is_of, is_sample_name
from repsim_nb.support.errors import check_name, join_names, unknown_name, warn_user
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import is_integer, to_numpy

from .lazy import LazyArray

# names of labels that name samples, as are all that end in _id or _ids
ID_NAME = re.compile(
    r"(?:.*_)?ids?|(?:sample|stimulus|image|condition|item)_?names?|file_?names?|names?|samples?|stimuli|stimulus|"
    r"images?|conds?|conditions?",
    re.IGNORECASE,
)
OURS = "repsim_nb"  # the attribute of a file that this package wrote
KEY, PLACE, DTYPE = "repsim_nb_key", "repsim_nb_place", "repsim_nb_dtype"  # attributes of the arrays in it
HDF5, MATLAB_73 = b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3"  # how such files begin
_NUMBERS = "biufc"  # complex numbers too: they are undefined, with a reason, and not left out in silence


@dataclass
class Entry:
    """One array of a file.

    Attributes
    ----------
    array : LazyArray, array, tensor or RDM
        With the axes in the order of the file's own library.
    dims : tuple of str
        The names of the axes; empty if they have none.
    labels : {name: array}
        One-dimensional arrays of `to_labels` that may name the samples.
    along : {name: name of an axis, or None}
        The axis to which each of the labels belongs, if axes have names.
    rows : bool
        Whether the format itself says that the first axis has the samples.
    names : bool
        Whether the format itself says that the labels describe samples, so that each may name them.
    key, ids, groups, place
        As an export of this package wrote them; the place among the arrays, since HDF5 and Zarr keep no order.
    """

    array: Any
    dims: tuple[str, ...] = ()
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    along: Mapping[str, str | None] = field(default_factory=dict)
    rows: bool = False
    names: bool = False
    key: Key | None = None
    ids: Any = None
    groups: Any = None
    place: int = 0

    def restore(self, key: Iterable[Any], ids: Any = None, groups: Any = None, place: int = 0) -> None:
        """Set what an export of this package wrote about the array."""
        self.rows, self.key, self.ids, self.groups, self.place = True, Key(*key), ids, groups, place


@dataclass
class Content:
    """The arrays of a file by their names, what was left out, and what is known about the models.

    Arrays have the order in which they were written, if the format keeps it, else the natural order of their names.
    labels: vectors that may name samples of the arrays around them, by their names with groups.  along: the axis to
    which a label belongs, if axes have names.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    along: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # "name of shape (n,)", for the error if nothing is left
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def leave_out(self, name: str, shape: Any, dtype: Any) -> None:
        """Note an array that cannot be a representation."""
        self.others.append(f"{name} {tuple(shape)} {dtype}")


@dataclass(frozen=True)
class NamedArrays:
    """Arrays with their samples first, under the names that `from_arrays` takes."""

    arrays: dict[Any, Any]
    ids: dict[Any, Any]
    groups: dict[Any, Any]
    facts: dict[str, dict[str, Any]]


def is_numeric(dtype: Any, name: str, path: Path) -> bool:
    """Return whether an array of this type has numbers; ValueError for bfloat16 that lost its type."""
    kind = getattr(dtype, "kind", "")
    if kind == "V" and dtype.itemsize == 2 and not dtype.names:
        raise ValueError(
            f"'{name}' in {path} has values of two bytes without a type, as NumPy, HDF5 and MATLAB files keep bfloat16."
            " Save it as float32, x.float(), or in a .safetensors or .pt file."
        )
    return kind in _NUMBERS and bool(kind)


def arrange(content: Content, samples: Any = None, ids: Any = None) -> NamedArrays:
    """Put the samples of each array first, and find their ids.

    Parameters
    ----------
    content : Content
        What a reader found.
    samples : int, str or {name: int or str}, optional
        The axis of the samples, by number or name.
    ids : str, array or {name: array}, optional
        The name of the labels that are the ids. Where the user gave ids, those of the file do not count.
    """
    if not content.entries:
        rest = f" It has {join_names(content.others, 6)}." if content.others else ""
        raise ValueError(
            f"{content.path} has no array of numbers with two axes or more, (samples, features).{rest} To use a vector"
            " as one feature, read it yourself, and pass {'model/layer': x[:, None]}."
        )
    content.entries = dict(sorted(content.entries.items(), key=lambda item: item[1].place))
    for name, entry in content.entries.items():
        around = _find_labels(name, content.labels, content.entries)
        entry.labels = {**{label: content.labels[full] for label, full in around.items()}, **entry.labels}
        entry.along = {**{label: content.along.get(full) for label, full in around.items()}, **entry.along}
    if isinstance(samples, Mapping):
        for name in samples:
            check_name("array in samples=", name, content.entries)
    axes = {name: _axis_of(content.path, name, entry, _of(samples, name)) for name, entry in content.entries.items()}
    _check_axes(content, samples)
    for name, entry in content.entries.items():
        _warn_of_rdm(content.path, name, entry.array)
    arrays: dict[Any, Any] = {}
    found: dict[Any, Any] = {}
    groups: dict[Any, Any] = {}
    wanted = ids if isinstance(ids, str) else None
    lost: dict[str, np.ndarray] = {}
    for name, entry in content.entries.items():
        label = entry.key or name
        arrays[label] = _put_first(entry.array, axes[name])
        if ids is None or wanted or (isinstance(ids, Mapping) and name not in ids):
            own = entry.ids is not None and wanted is None
            found[label] = entry.ids if own else _ids_of(content, name, entry, axes[name], wanted, lost)
        groups[label] = entry.groups
    for where, values in lost.items():
        warn_lost(content.path, where, values)
    return NamedArrays(arrays, found, groups, content.facts)


def _warn_of_rdm(path: Path, name: str, array: Any) -> None:
    """Warn about a matrix that is read as features and looks like dissimilarities."""
    shape = tuple(array.shape)
    if isinstance(array, RDM) or len(shape) != 2 or shape[0] != shape[1] or not 3 <= shape[0] <= 4000:
        return
    values = to_numpy(array.open() if isinstance(array, LazyArray) else array)
    if not values.diagonal().any() and values.any() and np.allclose(values, values.T, equal_nan=True):
        warn_user(
            f"'{name}' in {path} is symmetric with 0 on its diagonal, as dissimilarities are, and is read as {shape[1]}"
            " features. If it is an RDM, pass from_arrays({'model/layer': rs.RDM(values)})."
        )


def _of(samples: Any, name: str) -> Any:
    return samples.get(name) if isinstance(samples, Mapping) else samples


def _put_first(array: Any, axis: int) -> Any:
    """Return an array whose given axis stands first; nothing is copied."""
    if axis == 0 or isinstance(array, RDM):
        return array
    if isinstance(array, LazyArray):
        return array.with_first(axis)
    return array.movedim(axis, 0) if hasattr(array, "movedim") else np.moveaxis(array, axis, 0)


def _check_axis(given: Any, shape: tuple[int, ...], dims: tuple[Any, ...], what: str) -> int:
    """Return the number of the axis that the user named or numbered."""
    if is_integer(given):
        if not -len(shape) <= given < len(shape):
            raise ValueError(f"samples={given} is no axis of {what}, whose shape is {shape}.")
        return int(given) % len(shape)
    if not dims:
        raise ValueError(
            f"samples={given!r} names an axis, and the axes of {what} have no names. Pass its number: samples=0 to"
            f" {len(shape) - 1}, of shape {shape}."
        )
    if given not in dims:
        raise unknown_name(f"axis of {what}", given, dims)
    return dims.index(given)


def orient(value: Any, samples: Any, what: str) -> Any:
    """Return an array of the user with its sample axis first, if it is named or numbered."""
    if samples is None or isinstance(value, RDM):
        return value
    dims = tuple(value.dims) if is_of(value, "xarray") else ()
    shape = tuple(getattr(value, "shape", ()))
    axis = _check_axis(samples, shape, dims, what)
    return value.transpose(dims[axis], ...) if dims else _put_first(value, axis)


def _axis_of(path: Path, name: str, entry: Entry, given: Any) -> int:
    shape = tuple(entry.array.shape)
    if given is not None and not isinstance(entry.array, RDM):
        return _check_axis(given, shape, entry.dims, f"'{name}' in {path}")
    if entry.rows or not entry.dims:
        return 0
    found = choose_dimension(entry.dims)
    if found is None:
        raise ValueError(
            f"'{name}' in {path} has the axes {entry.dims}, and their names do not show which one has the samples. Name"
            f" it: samples={entry.dims[0]!r}, or {{name of an array: axis}} if arrays differ."
        )
    return entry.dims.index(found)


def _check_axes(content: Content, samples: Any) -> None:
    """Raise ValueError if ids, or the other arrays, suggest that another axis than the first has the samples."""
    free = {
        name: tuple(entry.array.shape)
        for name, entry in content.entries.items()
        if not (entry.rows or entry.dims) and _of(samples, name) is None
    }
    for name, shape in free.items():
        labels = content.entries[name].labels
        counts = {label: len(values) for label, values in labels.items() if names_samples(label)}
        own = [label for label, count in counts.items() if count == shape[0]]
        for label, count in counts.items():
            clear = any(_is_sure(one) for one in own) and not _is_sure(label)
            if count != shape[0] and count in shape[1:] and not clear:
                axis = shape.index(count)
                raise ValueError(
                    f"'{name}' in {content.path} has the shape {shape}, and '{label}' names {count} samples, so it is"
                    f" not clear which axis has them. State it: samples={axis}, or samples=0 for {shape[0]} samples"
                    " whose names are others."
                )
        features = [label for label, values in labels.items() if _names_features(label) and len(values) == shape[0]]
        if features and not own and shape[0] not in shape[1:]:
            raise ValueError(
                f"'{name}' in {content.path} has the shape {shape}, and '{features[0]}' names {shape[0]} features, so"
                f" it is not clear which axis has the samples. State it: samples={len(shape) - 1}, or samples=0."
            )
    if len({shape[0] for shape in free.values()}) > 1:
        (first, shape), *others = free.items()
        other, another = next((name, its) for name, its in others if its[0] != shape[0])
        for axis in (1, -1):
            lengths = {its[axis] for its in free.values()}
            if len(lengths) == 1:
                raise ValueError(
                    f"'{first}' and '{other}' in {content.path} have the shapes {shape} and {another}: the"
                    f" first axes differ, and axis {axis} has {lengths.pop()} in all arrays, so it is not clear which"
                    f" one has the samples. State it: samples={axis}, or samples=0 if the arrays have different samples"
                    " and the same features."
                )


def _ids_of(
    content: Content, name: str, entry: Entry, axis: int, wanted: str | None, lost: dict[str, np.ndarray]
) -> Any:
    """Return the labels that name the samples of an array, or None; `lost` is given those that should and cannot."""
    n, dim = entry.array.shape[axis], entry.dims[axis] if entry.dims else None
    mine = {
        label: values
        for label, values in entry.labels.items()
        if len(values) == n and entry.along.get(label) in (None, dim)
    }
    if wanted is not None:
        return mine[check_name(f"labels of the samples of '{name}' in {content.path}", wanted, mine)]
    # a coordinate that only counts names nothing
    mine = {label: values for label, values in mine.items() if label != dim or not np.array_equal(values, range(n))}
    if dim in mine and is_unique(mine[dim]):
        return mine[dim]
    likely = [
        label for label in mine if names_samples(label) or (entry.names and label != dim and not _names_features(label))
    ]
    good = [label for label in likely if is_unique(mine[label])]
    if not good:
        lost.update({label: mine[label] for label in likely if names_samples(label)})
    if any(not np.array_equal(mine[good[0]], mine[label]) for label in good):
        raise ValueError(
            f"the samples of '{name}' in {content.path} have several names, {join_names(good)}. Choose those that"
            f" other representations have too: ids={good[0]!r}."
        )
    return mine[good[0]] if good else None


def names_samples(label: str) -> bool:
    """Return whether labels of this name, "group/name" if they are in another group, name samples."""
    return bool(ID_NAME.fullmatch(label.rpartition("/")[2])) and not any(map(is_feature_name, label.split("/")))


def _names_features(label: str) -> bool:
    return bool(ID_NAME.fullmatch(label.rpartition("/")[2])) and not names_samples(label)


def _is_sure(label: str) -> bool:
    return any(map(is_sample_name, label.split("/")))


def warn_lost(path: Path, name: str, labels: np.ndarray) -> None:
    """Warn that labels whose name is that of ids cannot name samples, so that these are matched by their order."""
    (value, count), *_ = Counter(map(str, labels.tolist())).most_common(1)
    reason = (
        f"has {value} {count} times" if count > 1 else "lacks names, or has some that are neither text nor integers"
    )
    warn_user(
        f"'{name}' in {path} {reason}, so it cannot name samples, and these are compared by their order. Give them"
        " names, ids=[...]; or average rows of the same stimulus, rs.average_conditions(x, labels)."
    )


def _find_labels(name: str, labels: Iterable[str], arrays: Iterable[str]) -> dict[str, str]:
    """Return the labels that may name the samples of one array, {short name: name}.

    These are the labels in its group, under the last part of their names, and those in groups above it, if none nearer
    has this name. A group without arrays has labels for the arrays around it, and they keep the name "group/name".

    Parameters
    ----------
    name : str
        The array, with its groups, "group/name".
    labels : iterable of str
        All labels of the file, with their groups.
    arrays : iterable of str
        All arrays of the file.
    """
    groups = {"/".join(array.split("/")[:depth]) for array in arrays for depth in range(array.count("/") + 1)}
    above = {"/".join(name.split("/")[:depth]): depth for depth in range(name.count("/") + 1)}
    found: dict[str, tuple[int, str]] = {}
    for label in labels:
        group, _, rest = label.rpartition("/")
        while group not in groups:
            group, _, nearer = group.rpartition("/")
            rest = f"{nearer}/{rest}"
        depth = above.get(group, -1)
        if depth >= 0 and depth >= found.get(rest, (0,))[0]:
            found[rest] = depth, label
    return {short: label for short, (_, label) in found.items()}


def as_labels(name: str, values: Any) -> np.ndarray | None:
    """Return values with one axis as labels: text and integers. Others only if their name is that of ids."""
    labels = to_labels(values)
    if labels.dtype.kind in "Uiu":
        return labels
    return to_whole(labels) if ID_NAME.fullmatch(name.rpartition("/")[2]) else None


def to_whole(values: np.ndarray) -> np.ndarray:
    """Return fractions that are all integers as integers, and other values as they are."""
    if values.dtype.kind == "f" and values.size and np.all(values == np.round(values)) and abs(values).max() < 2**53:
        return values.astype(np.int64)
    return values


def starts_with(path: Path, mark: bytes) -> bool:
    """Return whether a file begins with these bytes."""
    with open(path, "rb") as file:
        return file.read(len(mark)) == mark


def is_unique(labels: np.ndarray) -> bool:
    """Return whether labels can name samples: text or integers, each once."""
    return labels.dtype.kind in "Uiu" and len(np.unique(labels)) == len(labels)


def to_labels(values: Any) -> np.ndarray:
    """Return labels of a file as an array of text or numbers; bytes are decoded."""
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind in "OT":
        items = [item.decode() if isinstance(item, bytes) else item for item in array.tolist()]
        return np.array(items, dtype=str) if all(isinstance(item, str) for item in items) else np.array(items, object)
    return array
