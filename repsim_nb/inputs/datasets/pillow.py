"""Convert pictures of Pillow to arrays, in the same way as for a folder of image files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from repsim_nb.inputs.batches import LABELS
from repsim_nb.support.dimensions import is_of
from repsim_nb.support.errors import as_clause

GREY = {"1", "L", "LA", "La"}  # the modes of Pillow without color
DEEP = {"F", "I"}  # those with more than 8 bits, next to all that begin with "I;"


def is_pillow(item: Any) -> bool:
    """Return whether an object is a picture of Pillow."""
    return is_of(item, "PIL", "Image")


def check_depth(mode: str, what: str) -> None:
    """Raise a ValueError for a mode of Pillow with more than 8 bits, since Pillow clips values when it converts."""
    if mode in DEEP or mode.startswith("I;"):
        raise ValueError(
            f"{what} has more than 8 bits a pixel (mode {mode}). Save it with 8 bits, or give the pixels as an array of"
            " floats."
        )


def convert_picture(image: Any, *, grey: bool) -> Any:
    """Convert a picture of Pillow to mode "L" or "RGB", without its transparency."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # Pillow converts premultiplied colors in two steps only
    return (image.convert(straight) if straight else image).convert("L" if grey else "RGB")


def decode_picture(item: Any, what: str = "the picture", colored: Collection[str] = (), place: str = "") -> Any:
    """Convert a picture of Pillow, also inside a pair or a dict, to uint8 (h, w) if it is grey, else (h, w, 3).

    what: the name for errors.  colored: places where grey pictures become (h, w, 3) too.  place: the name of the
    column, "" for the input. A picture that is the second of a pair is no class number and is left out later, so its
    depth does not matter; in a column of labels it is a map of classes.
    """
    if is_pillow(item):
        check_depth(item.mode, what)
        try:
            return torch.from_numpy(np.array(convert_picture(item, grey=item.mode in GREY and place not in colored)))
        except Exception as error:
            raise ValueError(
                f"{what} cannot be read ({as_clause(error)}): it is damaged. Leave it out or replace it."
            ) from error
    if isinstance(item, Mapping):
        label = _find_label(item)
        return {
            name: decode_label(part)
            if name == label
            else decode_picture(part, f"column '{name}' of {what}", colored, name)
            for name, part in item.items()
        }
    if isinstance(item, tuple) and item:
        parts = decode_picture(item[0], what, colored, place), *map(_target, item[1:])
        return type(item)(*parts) if hasattr(item, "_fields") else parts
    return item


def _target(item: Any) -> Any:
    return torch.from_numpy(np.array(item.convert("RGB"))) if is_pillow(item) else item


def decode_label(item: Any) -> Any:
    """Convert a picture of Pillow in a column of labels to its values, which are numbers of classes."""
    if not is_pillow(item):
        return item
    values = np.array(item)
    return torch.from_numpy(values.astype(np.int32) if values.dtype == np.uint16 else values)


def iterate_pictures(item: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the pictures of Pillow in a sample, each with its place."""
    if is_pillow(item):
        yield place, item
    elif isinstance(item, Mapping):
        for name, part in item.items():
            yield from iterate_pictures(part, name)
    elif isinstance(item, tuple) and item:
        yield from iterate_pictures(item[0], place)


def _find_label(sample: Mapping[str, Any]) -> str | None:
    """Return the name of the target in the dict of a sample, if it has one."""
    return next((name for name in LABELS if name in sample and len(sample) > 1), None)


def find_colored_places(items: Sequence[Any]) -> set[str]:
    """Find the places where a picture of the list has color.

    ValueError if one object is several frames of a file.
    """
    seen: dict[int, int] = {}
    colored = set()
    for number, item in enumerate(items):
        for place, image in iterate_pictures(item):
            first = seen.setdefault(id(image), number)
            if first != number and getattr(image, "n_frames", 1) > 1:
                raise ValueError(
                    f"samples {first} and {number} are the same picture of several frames, and it has one frame at a"
                    " time. Copy each frame, [frame.copy() for frame in PIL.ImageSequence.Iterator(picture)]."
                )
            if image.mode not in GREY:
                colored.add(place)
    return colored
