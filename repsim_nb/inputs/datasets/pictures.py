"""Pictures on disk, decoded when they are needed: a folder of them, or crops of a few large ones."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repsim_nb.support.errors import as_clause, join_names
from repsim_nb.support.files import sort_naturally
from repsim_nb.support.validation import is_integer
from repsim_nb.support.workers import cores

from .inputs import LazyInputs, cut_spans
from .pillow import GREY, check_depth, convert_picture

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Folder(LazyInputs):
    """Files below `root` as uint8 (n, h, w, 3), or (n, h, w) if all are grey.

    size: (h, w), or a number for both: pictures are resized (bilinear) until they cover it, then the centre is cropped;
    None if all have one size. The header of every file is read at once, for its size and whether it is grey. Rotation
    marks (EXIF) and transparency are ignored.
    """

    def __init__(self, root: Path, names: Sequence[str], size: int | tuple[int, int] | None = None) -> None:
        super().__init__(len(names))
        self.root, self.names = Path(root).absolute(), np.array(names, dtype=object)
        with ThreadPoolExecutor(cores()) as pool:
            headers = list(pool.map(self._header, self.names))
        self.grey = all(grey for _, grey in headers)
        wanted = _check_size(size)
        if wanted is None:
            wanted = headers[0][0]
            for name, (other, _) in zip(self.names, headers, strict=True):
                if other != wanted:
                    raise ValueError(
                        f"the images in {self.root} differ in size: {self.names[0]} is {wanted[0]}×{wanted[1]}, {name}"
                        f" is {other[0]}×{other[1]} (height×width). Give size=({wanted[0]}, {wanted[1]}), or one number"
                        " such as size=224, to resize them and crop their centre."
                    )
        self.size = wanted

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.size) if self.grey else (len(self), *self.size, 3)

    dtype = np.dtype(np.uint8)

    @property
    def ids(self) -> np.ndarray:
        """The names of the files, relative to the folder."""
        return self.names[self.rows].astype(str)

    def __repr__(self) -> str:
        return f"Folder{self.shape}"

    def read(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(at: int) -> None:
            out[at] = self._picture(self.names[rows[at]])

        if len(rows) < 4:
            any(map(fill, range(len(rows))))
        else:
            with ThreadPoolExecutor(cores()) as pool:
                any(pool.map(fill, range(len(rows))))
        return out

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        """Yield batches; the next one is decoded while the last one is in use."""
        with ThreadPoolExecutor(1) as ahead:
            cut = cut_spans(self, start, batch_size)
            coming = [ahead.submit(self.__getitem__, span) for span in cut[:1]]
            for place, span in enumerate(cut):
                batch = coming.pop().result()
                coming += [ahead.submit(self.__getitem__, following) for following in cut[place + 1 : place + 2]]
                yield span.start, span.stop, batch

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute the hash of lazily read inputs, with the name and size on disk of every file."""
        digest = hashlib.blake2b(super().fingerprint(labels=labels).encode(), digest_size=16)
        for name in self.names[self.rows]:
            digest.update(f"{name}\0{(self.root / name).stat().st_size}\0".encode())
        return digest.hexdigest()

    def _header(self, name: str) -> tuple[tuple[int, int], bool]:
        try:
            with Image.open(self.root / name) as image:
                (width, height), mode = image.size, image.mode
        except Exception as error:
            raise _read_error(self.root / name, error) from error
        check_depth(mode, f"the image {self.root / name}")
        return (height, width), mode in GREY

    def _picture(self, name: str) -> np.ndarray:
        try:
            with Image.open(self.root / name) as image:
                mode, pixels = image.mode, np.asarray(_fit(convert_picture(image, grey=self.grey), self.size))
        except Exception as error:
            raise _read_error(self.root / name, error) from error
        check_depth(mode, f"the image {self.root / name}")  # the file may have changed since its header was read
        return pixels


class Crops(LazyInputs):
    """Square crops of a few pictures as uint8 (n, edge, edge, 3).

    Each picture has per_side × per_side crops in an even grid, row by row.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Sequence[Path], edge: int, per_side: int) -> None:
        super().__init__(len(files) * per_side**2)
        self.files, self.edge, self.per_side = tuple(map(str, files)), edge, per_side

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), self.edge, self.edge, 3

    def __repr__(self) -> str:
        return f"Crops{self.shape}"

    def read(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.edge, self.edge, 3), np.uint8)
        for at, row in enumerate(rows):
            file, place = divmod(int(row), self.per_side**2)
            whole = _decode(self.files[file])
            top, left = (
                round((side - self.edge) * step / (self.per_side - 1))
                for side, step in zip(whole.shape, divmod(place, self.per_side), strict=False)
            )
            out[at] = whole[top : top + self.edge, left : left + self.edge]
        return out


@functools.lru_cache(maxsize=2)  # neighbouring crops are of one picture
def _decode(path: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:
        raise _read_error(path, error) from error


def from_folder(folder: Path, size: int | tuple[int, int] | None) -> tuple[Folder, np.ndarray | None, tuple[str, ...]]:
    """Find the pictures of a folder; return (pictures, targets or None, classes).

    Subfolders are the classes, sorted; files are in natural order (2 before 10); hidden ones are ignored.
    """
    inside = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    loose = sort_naturally(name for name in inside if name.lower().endswith(ENDINGS) and (folder / name).is_file())
    classes = tuple(name for name in inside if (folder / name).is_dir())
    within = {name: _find_pictures(folder, name) for name in classes}
    if loose and any(within.values()):
        raise ValueError(
            f"the folder {folder} contains images ({join_names(loose, 2)}) next to folders of images"
            f" ({join_names(classes, 3)}). A class is a folder, so move them into one."
        )
    if not loose and not any(within.values()):
        raise ValueError(
            f"the folder {folder} contains no images. Files with these endings are read: {', '.join(ENDINGS)}."
        )
    if loose:
        return Folder(folder, loose, size), None, ()
    empty = [name for name in classes if not within[name]]
    if empty:
        raise ValueError(
            f"in the folder {folder} the subfolders are the classes, and {join_names(empty, 3)}"
            f" {'contains' if len(empty) == 1 else 'contain'} no images ({', '.join(ENDINGS)})."
        )
    targets = np.repeat(np.arange(len(classes)), [len(within[name]) for name in classes])
    return Folder(folder, [name for of_class in within.values() for name in of_class], size), targets, classes


def _find_pictures(root: Path, folder: str) -> list[str]:
    """List all images in a folder and its subfolders, relative to the root."""
    found = []
    for place, folders, files in os.walk(root / folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            (Path(place) / name).relative_to(root).as_posix()
            for name in files
            if name.lower().endswith(ENDINGS) and not name.startswith(".")
        ]
    return sort_naturally(found)


def _check_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if is_integer(size) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(is_integer(side) and side > 0 for side in pair):
        raise ValueError(f"size must be (height, width) in pixels, or one integer for both, each >= 1; got {size!r}.")
    return int(pair[0]), int(pair[1])


def _fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize a picture until it just covers (h, w), then crop its centre."""
    (height, width), scale = size, max(size[0] / image.height, size[1] / image.width)
    if (image.height, image.width) == size:
        return image
    image = image.resize(
        (max(width, round(image.width * scale)), max(height, round(image.height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _read_error(path: Any, error: Exception) -> ValueError:
    return ValueError(
        f"the image {path} cannot be read ({as_clause(error)}): it is damaged, or no image. Remove it from the"
        " folder or replace it."
    )
