"""uint8 inputs as models take them: pictures as float32 in [0, 1], channels first; features as floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import LABELS

CHANNELS = (1, 3, 4)  # grey, RGB, RGB with transparency
HOW = (
    "Give floats as the model takes them, x.astype('float32') / 255 with the axes in its order, or a preprocess:"
    " load_model(..., preprocess=function of a batch)."
)


def is_bytes(batch: Any) -> bool:
    """Return whether a batch is an array or a tensor of uint8."""
    return (batch if isinstance(batch, (Tensor, np.ndarray)) else np.asarray(batch)).dtype in (torch.uint8, np.uint8)


def is_picture(name: str, column: Any) -> bool:
    """Return whether a named column of a batch holds uint8 pictures.

    It does if it has four axes or more and is no mask and no label. With three axes it does only under the name
    "pixel_values"; other columns may be a matrix for each sample.
    """
    if not isinstance(column, (Tensor, np.ndarray)) or not is_bytes(column) or name in LABELS:
        return False
    return column.ndim >= (3 if name == "pixel_values" else 4) and "mask" not in name.lower()


def check_pictures(batch: Any) -> None:
    """Raise a ValueError if uint8 inputs are no pictures."""
    if np.ndim(batch) not in (3, 4):
        raise ValueError(
            "pictures must be uint8 (n, height, width), (n, height, width, channels) or (n, channels, height, width);"
            f" these have the shape {tuple(np.shape(batch))}."
        )


def channels_axis(shape: Sequence[int]) -> int:
    """Return the axis of the channels of uint8 pictures with four axes: 1 or 3.

    It is the one of length 1, 3 or 4. If neither has such a length, it is the one that is shorter than both other axes.
    ValueError if it could still be either one.
    """
    _, first, middle, last = shape
    at_first, at_last = first in CHANNELS, last in CHANNELS
    if not at_first and not at_last:
        at_first, at_last = first < min(middle, last), last < min(first, middle)
    if at_first == at_last:
        raise ValueError(
            f"uint8 pictures of the shape {tuple(shape)} can be (n, height, width, channels) or (n, channels, height,"
            f" width). {HOW}"
        )
    return 1 if at_first else 3


def to_floats(batch: Tensor | np.ndarray) -> Tensor:
    """Convert uint8 to float32: pictures to (n, c, h, w) / 255, features with their values.

    Pictures are (n, h, w), (n, h, w, c) or (n, c, h, w), features are (n,) or (n, p). ValueError for other shapes, and
    for pictures whose channels can be either axis.
    """
    # torch warns about arrays that cannot be written to
    tensor = batch if isinstance(batch, Tensor) else torch.from_numpy(np.require(batch, requirements=("C", "W")))
    if tensor.ndim < 3:
        return tensor.float()
    if tensor.ndim > 4:
        raise ValueError(
            f"uint8 of the shape {tuple(tensor.shape)} is no picture, so its preparation for the model is not known."
            f" {HOW}"
        )
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    elif channels_axis(tensor.shape) == 3:
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.contiguous().float() / 255
