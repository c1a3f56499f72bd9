"""Tensors: files of torch (weights only), of safetensors, and archives of NumPy."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, warn_user
from repsim_nb.support.files import sort_naturally

from .content import ID_NAME, OURS, Content, Entry, as_labels, is_numeric, to_whole
from .lazy import LazyArray

_DTYPES = {  # of safetensors
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
SAFETENSORS = {stored: name for name, stored in _DTYPES.items()}
_ITEM = re.compile(r"(.*?)(?:\.\d+)+")  # of a list


def read_npz(path: Path) -> Content:
    """Return the arrays of an archive of NumPy."""
    zipfile.ZipFile(path).close()  # np.load would leave a damaged file open
    with np.load(path, allow_pickle=False) as archive:
        return _sort_out(path, {name: archive[name] for name in archive.files})


def read_torch(path: Path) -> Any:
    """Return the tensors of a file of torch as Content; a tensor alone as it is."""
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, torch.Tensor):
        return found
    tensors: dict[str, Any] = {}
    for name, value in _name_tensors(found):
        if name in tensors:
            raise ValueError(f"{path} has two entries of the name '{name}', so one would be lost. Rename one of them.")
        tensors[name] = value
    return _sort_out(path, tensors)


def _name_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors in lists and dictionaries with their names.

    A dictionary in a dictionary is a model and its layers, "model/layer"; an output that is a list of tensors has the
    names "layer.0", "layer.1", ..., or "layer" if there is one.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _name_tensors(item, f"{name}/{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        if name and (array := _as_array(value)) is not None:
            yield name, array
            return
        items = [(i, item) for i, item in enumerate(value) if item is not None]
        for i, item in items:
            yield from _name_tensors(item, (name if len(items) == 1 else f"{name}.{i}") if name else str(i))
    else:
        yield name, value


def _as_array(value: Any) -> np.ndarray | None:
    """Return a list of text, of numbers, or of lists of numbers that are equally long, as an array; None for others."""
    if all(isinstance(item, (str, int, float, NoneType)) for item in value):
        return np.array(value, dtype=object if None in value else None)
    if all(isinstance(item, (list, tuple)) for item in value):
        rows = [row for item in value if (row := _as_array(item)) is not None and row.dtype.kind in "biuf"]
        if rows and len(rows) == len(value) and len({row.shape for row in rows}) == 1:
            return np.array(rows)
    return None


def _sort_out(path: Path, found: Mapping[str, Any]) -> Content:
    """Return arrays and tensors by their names as Content; vectors of text or integers are labels."""
    _refuse_weights(path, found)
    content = Content(path)
    lists: dict[str, list[tuple[int, ...]]] = {}
    for name, value in found.items():
        if not hasattr(value, "shape"):
            content.leave_out(name, (), type(value).__name__)
            continue
        if (match := _ITEM.fullmatch(name)) and len(value.shape) < 2:
            lists.setdefault(match[1], []).append(tuple(value.shape))
        tensor = hasattr(value, "detach")
        if len(value.shape) >= 2 and (tensor or is_numeric(value.dtype, name, path)):
            content.entries[name] = Entry(value)
            continue
        if len(value.shape) == 1:
            values = as_labels(name, value.detach().float().numpy() if "bfloat16" in str(value.dtype) else value)
            if values is not None:
                content.labels[name] = values
        content.leave_out(name, value.shape, value.dtype)
    for name, shapes in lists.items():
        if len(shapes) > 1 and name not in content.entries:
            warn_user(
                f"'{name}' in {path} is a list of {len(shapes)} vectors, and was left out. If these are samples, of one"
                " length, save torch.stack(x)."
            )
    return content


def _refuse_weights(path: Path, names: Iterable[str]) -> None:
    """Raise ValueError if the names are those of the weights of a model."""
    known = set(names)
    layer = next((name for name in known if name.endswith(".weight") and f"{name[:-7]}.bias" in known), None)
    if layer is not None:
        raise ValueError(
            f"{path} has weights of a model, such as '{layer}', and not what its layers return for samples. Use"
            f" rs.record(rs.load_model({str(path)!r}, ...), data)."
        )


def read_safetensors(path: Path) -> Content:
    """Return the tensors of a .safetensors file; its header has their places."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise DamagedFile("its header is longer than the file")
        header = json.loads(file.read(length))
    about = header.pop("__metadata__", {})
    _refuse_weights(path, header)
    ours = json.loads(about[OURS]) if OURS in about else {}
    content = Content(path, facts=ours.get("facts", {}))
    for name in header if ours else sort_naturally(header):  # the library sorts names by type and alphabet
        tensor = header[name]
        begin, end = (8 + length + place for place in tensor["data_offsets"])
        found = _open_tensor(path, name, tensor, begin, end, size)
        if found.ndim == 1 and (found.dtype.kind in "iu" or ID_NAME.fullmatch(name.rpartition("/")[2])):
            content.labels[name] = to_whole(found.open())
        if found.ndim < 2:
            content.leave_out(name, found.shape, found.dtype)
            continue
        known = ours.get("arrays", {}).get(name)
        entry = content.entries[name] = Entry(found)
        if known:
            entry.restore(known["key"], *(ours["labels"].get(known[what]) for what in ("ids", "groups")))
    return content


def _open_tensor(path: Path, name: str, tensor: Mapping[str, Any], begin: int, end: int, size: int) -> LazyArray:
    kind, shape = tensor["dtype"], tuple(tensor["shape"])
    half = kind == "BF16"
    if not half and kind not in _DTYPES:
        raise ValueError(f"'{name}' in {path} has the type {kind}, which NumPy does not have. Save it as float32.")
    stored = np.dtype("<u2" if half else _DTYPES[kind])
    if end > size or end - begin != math.prod(shape) * stored.itemsize:
        raise DamagedFile(f"'{name}' of shape {shape} is not where its header says")

    def read(index: tuple[slice, ...]) -> Any:
        part = np.memmap(path, stored, "r", begin, shape)[index] if math.prod(shape) else np.zeros(shape, stored)
        # bfloat16 is the upper half of float32
        return (part.astype("<u4") << 16).view("<f4") if half else np.array(part)

    return LazyArray(path, name, shape, "<f4" if half else stored, read, None if half else begin)
