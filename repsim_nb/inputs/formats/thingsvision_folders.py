"""Folders of thingsvision: features.npy, .pt, .mat, .hdf5 or .txt, in pieces or whole, and the names of the images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import DamagedFile, import_library
from repsim_nb.support.files import sort_naturally

from .content import Content, Entry
from .lazy import LazyArray

_FILE = re.compile(
    r"features(?P<split>.*?)(?:_(?P<start>\d+)-(?P<stop>\d+)|_(?P<part>\d+))?\.(?P<kind>npy|pt|mat|hdf5|h5|txt|csv)"
)
NAMES = "file_names.txt"
_PICTURE = re.compile(r"(.eps|.jpg|.jpeg|.png|.PNG|.tif|.tiff)$")  # what thingsvision takes off for a .mat file


def read_thingsvision(path: Path) -> Content | None:
    """Return the features in a folder and in the folders in it, one for each module; None if there are none."""
    content = Content(path)
    below = {item.relative_to(path).as_posix(): item for item in path.rglob("*") if item.is_dir()}
    folders = [path, *(below[name] for name in sort_naturally(below))]
    for folder in folders:
        splits: dict[str, list[re.Match[str]]] = {}
        for item in folder.iterdir():
            if item.is_file() and (match := _FILE.fullmatch(item.name)):
                splits.setdefault(match["split"], []).append(match)
        where = next((up for up in (folder, *folder.parents) if (up / NAMES).is_file()), None)
        inside = where is not None and (where == path or path in where.parents)
        names = (where / NAMES).read_text().splitlines() if where is not None and inside else None
        module = str(folder.relative_to(path)) if folder != path else path.name
        for split in sort_naturally(splits):
            files = splits[split]
            array = _read_features(folder, files, names)
            entry = Entry(array, rows=True)
            if names is not None:
                mat = any(match["kind"] == "mat" for match in files)
                if len(names) != array.shape[0]:
                    raise ValueError(
                        f"{where / NAMES if where else NAMES} has {len(names)} names, and the features in {folder} are"
                        f" those of {array.shape[0]} images"
                        + (", since SciPy leaves out variables whose names begin with _" if mat else "")
                        + ". Save the features as .npy; or move the names away, and pass ids=[...]."
                    )
                entry.labels = {"file_names": np.array(names)}
            content.entries[module.replace("/", ".") + split] = entry
    return content if content.entries else None


def _read_features(folder: Path, files: list[re.Match[str]], names: list[str] | None) -> Any:
    """Return the features in the pieces of one module."""
    kinds = {match["kind"] for match in files}
    pieces = {match["stop"] is not None or match["part"] is not None for match in files}
    if len(kinds) > 1 or (pieces == {True, False}):
        raise ValueError(
            f"{folder} has features of one module in several files, {', '.join(sorted(m.string for m in files))}, and"
            " these are not pieces of one array. Pass one of them: from_arrays({'model/module': path})."
        )
    # by number, not by name: 12-16 comes after 4-8. The start is wrong in files of all modules but the first
    files = sorted(files, key=lambda match: int(match["stop"] or match["part"] or 0))
    parts = [_read_part(folder / match.string, names) for match in files]
    n = sum(len(part) for part in parts)
    if files[0]["stop"] is not None and n != int(files[-1]["stop"]):
        raise DamagedFile(
            f"the files in {folder} have the features of {n} of {files[-1]['stop']} images; some pieces are missing"
        )
    if len(parts) == 1:
        return parts[0]
    if hasattr(parts[0], "movedim"):
        import torch

        return torch.cat(parts)
    return _join(folder, parts)


def _join(folder: Path, parts: list[np.ndarray]) -> LazyArray:
    ends = np.cumsum([len(part) for part in parts])

    def read(index: tuple[slice, ...]) -> Any:
        start, stop, _ = index[0].indices(int(ends[-1]))
        chosen = [
            part[max(start - int(end) + len(part), 0) : max(stop - int(end) + len(part), 0)]
            for part, end in zip(parts, ends, strict=True)
        ]
        return np.concatenate(chosen)[(slice(None), *index[1:])]

    return LazyArray(folder, folder.name, (int(ends[-1]), *parts[0].shape[1:]), parts[0].dtype, read)


def _read_part(path: Path, names: list[str] | None) -> Any:
    kind = path.suffix
    if kind == ".npy":
        return np.lib.format.open_memmap(path, mode="r")
    if kind == ".pt":
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    if kind in (".txt", ".csv"):
        return np.loadtxt(path, delimiter="," if kind == ".csv" else None, ndmin=2)
    if kind == ".mat":
        return _read_matrix(path, names)
    with import_library("h5py", f"reading {path}").File(path, "r") as file:
        return np.concatenate([file[name][()] for name in sort_naturally(file)])


def _read_matrix(path: Path, names: list[str] | None) -> np.ndarray:
    """Return the features of a .mat file, which has a variable for each image if there are names."""
    import scipy.io

    found = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    if set(found) == {"features"}:
        return np.ascontiguousarray(found["features"])
    images = [image for name in names or [] if (image := _PICTURE.sub("", name)) in found]
    if len(images) != len(found) or len(set(images)) < len(images):
        raise DamagedFile(f"the variables in {path.name} are not those that {NAMES} names, each once")
    stacked = np.stack([found[image] for image in images])
    return stacked[:, 0] if stacked.ndim == 3 and stacked.shape[1] == 1 else stacked  # MATLAB has no vectors
