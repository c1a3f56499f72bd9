"""`Pictures` and `Texts`: `preprocess` objects from pictures or sentences to the inputs of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from .channels import check_pictures, is_bytes, is_picture
from .model import images

LUMA = (0.299, 0.587, 0.114)  # the weights of red, green and blue in a grey picture


def no_sentences(batch: Any, who: str) -> None:
    """Raise a TypeError if a model of pictures gets text."""
    first = (
        next(iter(batch), None)
        if isinstance(batch, (list, tuple))
        else batch.flat[0]
        if isinstance(batch, np.ndarray) and batch.dtype.kind in "USO" and batch.size
        else batch
    )
    if isinstance(first, str):
        raise TypeError(f"{who} takes pictures; got sentences.")


def covers(resize: int | tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether a crop of `size` fits into pictures resized in this way."""
    return (
        all(have >= want for have, want in zip(resize, size, strict=True))
        if isinstance(resize, tuple)
        else resize >= min(size)
    )


@dataclass(frozen=True)
class Pictures:
    """A `preprocess` that resizes, crops and normalises uint8 pictures.

    It does what libraries do when they test a model: a picture is resized (antialiased, with its proportions), then its
    centre is cropped, so its margin is lost. Values become (x / 255 - mean) / std.

    Parameters
    ----------
    size : (int, int), optional
        Height and width of the result, in pixels. By default pictures keep their size.
    mean, std : tuple of float
        Mean and standard deviation of values in [0, 1], one for each channel or one for all.
    channels : int
        Number of channels of the result. 3 repeats a grey picture; 1 converts a color picture to grey; a fourth channel
        (transparency) is dropped.
    mode : {"bilinear", "bicubic"}
        Interpolation.
    resize : int or (int, int), optional
        Length of the shorter side before the crop (torchvision: 256 for a crop of 224), or a (height, width) to which
        pictures are stretched. By default the smallest size that covers `size`.

    Raises
    ------
    ValueError
        If `size` is larger than `resize`; when called, for uint8 that are no pictures, for another number of channels,
        and for a list of pictures of different sizes without `size`.
    TypeError
        When called with sentences.

    Notes
    -----
    A call takes uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) and returns a float32 tensor (n, channels, *size). It
    also takes a list of pictures, which may differ in size: arrays, or pictures of Pillow. Floats pass unchanged, as
    prepared already. In a dict, columns of uint8 pictures are prepared, and others are not.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import models
    >>> prepare = models.Pictures(size=(24, 24), channels=3)
    >>> prepare(np.zeros((2, 32, 40), np.uint8)).shape
    torch.Size([2, 3, 24, 24])
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    channels: int = 3
    mode: str = "bilinear"
    resize: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and (self.size is None or not covers(self.resize, self.size)):
            raise ValueError(
                f"size={self.size}, the size of the crop, must be within resize={self.resize}, the size of pictures"
                " before it."
            )

    def __call__(self, batch: Any) -> Any:
        no_sentences(batch, "this model")
        if isinstance(batch, Mapping):
            return images(
                {name: self(column) if is_picture(name, column) else column for name, column in batch.items()}
            )
        if isinstance(batch, (list, tuple)):
            return self._together([self(_pixels(one, f"picture {number}")[None]) for number, one in enumerate(batch)])
        if not is_bytes(batch):
            return images(batch)
        check_pictures(batch)
        x = self._match_channels(images(batch))
        if self.size is not None:
            x = self._resize_and_cut(x, self.size)
        mean, std = (torch.tensor(self._each(values)).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

    def _resize_and_cut(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        to = self._size_before_cut(size, *x.shape[2:])
        if tuple(x.shape[2:]) != to:
            x = F.interpolate(x, to, mode=self.mode, align_corners=False, antialias=True).clamp(0, 1)
        top, left = (round((have - want) / 2) for have, want in zip(x.shape[2:], size, strict=True))
        return x[:, :, top : top + size[0], left : left + size[1]]

    def _size_before_cut(self, size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
        """Return the size of a picture before the crop, rounded as torchvision does for squares and timm for others."""
        if isinstance(self.resize, tuple):
            return self.resize
        edge = self.resize or min(size)
        if size[0] == size[1]:
            return (edge, int(edge * width / height)) if height <= width else (int(edge * height / width), edge)
        cover = [side * edge // min(size) for side in size]
        ratio = min(height / cover[0], width / cover[1])
        return max(round(height / ratio), size[0]), max(round(width / ratio), size[1])

    def _match_channels(self, x: Tensor) -> Tensor:
        x = x[:, :3] if x.shape[1] == 4 and self.channels < 4 else x
        if x.shape[1] == self.channels:
            return x
        if x.shape[1] == 1:
            return x.expand(-1, self.channels, -1, -1)
        if x.shape[1] == 3 and self.channels == 1:
            return (x * torch.tensor(LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
        raise ValueError(f"these pictures have {x.shape[1]} channels, and the model takes {self.channels}.")

    def _each(self, values: Sequence[float]) -> list[float]:
        """Return one value for each channel; if there are more or fewer values than channels, their mean."""
        return list(values) if len(values) == self.channels else [float(np.mean(values))] * self.channels

    def _together(self, pictures: list[Tensor]) -> Tensor:
        shapes = {tuple(p.shape[1:]) for p in pictures}
        if len(shapes) > 1:
            raise ValueError(
                f"pictures of different sizes cannot be one batch: {sorted(shapes)[:3]}. Choose one size,"
                " preprocess=models.Pictures(size=(height, width), ...)."
            )
        return torch.cat(pictures)


def _pixels(one: Any, what: str) -> Any:
    """Return a picture as an array, one of Pillow in grey or RGB.

    ValueError for more than 8 bits, which Pillow would clip.
    """
    mode = getattr(one, "mode", None) if hasattr(one, "convert") else None
    if mode in ("I", "F") or str(mode).startswith("I;"):
        raise ValueError(
            f"{what} has more than 8 bits a pixel (mode {mode}). Convert it to 8 bits, or give the pixels as an array"
            " of floats."
        )
    return (
        one if isinstance(one, Tensor) else np.array(one if mode in (None, "L", "RGB", "RGBA") else one.convert("RGB"))
    )


def to_tensor(value: Any) -> Any:
    """Convert an array or a list of numbers to a tensor, ids of int32 to int64; return anything else as it is."""
    try:
        value = torch.as_tensor(value) if isinstance(value, (np.ndarray, list)) else value
    except (TypeError, ValueError, RuntimeError):  # texts, dicts, rows of different lengths
        return value
    return value.long() if isinstance(value, Tensor) and value.dtype == torch.int32 else value


@dataclass(frozen=True)
class Texts:
    """A `preprocess` from sentences to the ids of their tokens.

    Parameters
    ----------
    tokenizer : tokenizer of transformers, optional
        Without one, only ids are taken.
    length : int, optional
        The largest number of tokens that the model takes; longer sentences are cut.
    name : str
        Name of the model, for errors.
    pad : int, optional
        The id that fills short rows. If ids come without a mask, runs of it at either end of a row are no tokens. By
        default every id is a token.

    Raises
    ------
    ValueError
        When called with sentences without a tokenizer, or with an array that is not of integers (n, tokens).

    Notes
    -----
    A call takes a list of str, ids as integers (n, tokens), or a mapping with such ids. It returns a dict of int64
    tensors (n, tokens), "input_ids" and "attention_mask", padded on the right to the longest sentence of the batch. In
    a mapping, values that are no arrays stay as they are, such as lists and return_dict=False.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import models
    >>> models.Texts(pad=0)(np.array([[5, 7, 0], [6, 0, 0]]))["attention_mask"].tolist()
    [[1, 1, 0], [1, 0, 0]]
    """

    tokenizer: Any = field(default=None, repr=False, compare=False)
    length: int | None = None
    name: str = ""
    pad: int | None = None

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, Mapping):
            return self._mapping(batch)
        if isinstance(batch, (list, tuple, np.ndarray)) and len(batch) and all(isinstance(one, str) for one in batch):
            if self.tokenizer is None:
                raise ValueError(
                    f"'{self.name}' has no tokenizer, so it cannot read sentences. Give it ids, an array of integers"
                    " (n, tokens), or load it from a folder that contains its tokenizer too."
                )
            return self._padded(
                self.tokenizer([str(one) for one in batch], truncation=self.length is not None, max_length=self.length)[
                    "input_ids"
                ]
            )
        ids = batch if isinstance(batch, Tensor) else torch.as_tensor(np.asarray(batch))
        if ids.is_floating_point() or ids.ndim != 2:
            raise ValueError(
                f"'{self.name}' reads text: inputs must be a list of str, or ids, integers (n, tokens); got {ids.dtype}"
                f" {tuple(ids.shape)}."
            )
        return {"input_ids": ids.long(), "attention_mask": self._mask(ids.long())}

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Pad on the right, whatever side the tokenizer prefers.

        Positions then count from the first word, and a model that looks back never sees the padding.
        """
        ids = [torch.tensor(row, dtype=torch.long) for row in rows]
        # if no id is for padding, any will do: it is never attended to
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad or 0),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }

    def _mapping(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        out = {key: to_tensor(value) for key, value in batch.items()}
        ids = out.get("input_ids")
        if isinstance(ids, Tensor) and ids.ndim == 2 and out.get("attention_mask") is None:
            out["attention_mask"] = self._mask(ids)
        return batch if len(out) == len(batch) and all(out[key] is batch[key] for key in out) else out

    def _mask(self, ids: Tensor) -> Tensor:
        """Return 1 for tokens and 0 for runs of the padding id at both ends of a row.

        An id inside a row is always a token, and so are all ids of a row that has nothing but padding.
        """
        if self.pad is None:
            return torch.ones_like(ids)
        token = (ids != self.pad).long()
        inside = (token.cumsum(1) > 0) & (token.flip(1).cumsum(1).flip(1) > 0)
        return (inside | ~token.bool().any(1, keepdim=True)).long()

    def example(self) -> Any:
        """Return a small batch, for `Model.describe`.

        Returns
        -------
        list of str, or array
            Two sentences, or ids if there is no tokenizer.

        Examples
        --------
        >>> from repsim_nb import models
        >>> models.Texts().example().shape
        (2, 4)
        """
        return (
            ["One sentence.", "Another sentence, a little longer."]
            if self.tokenizer is not None
            else np.zeros((2, 4), np.int64)
        )

    def fingerprint(self) -> str | None:
        """Compute a hash of the tokenizer: models with the same hash get the same tokens.

        Returns
        -------
        str or None
            16 hex digits; None without a tokenizer.

        Examples
        --------
        >>> from repsim_nb import models
        >>> models.Texts().fingerprint() is None
        True
        """
        if self.tokenizer is None:
            return None
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        parts = json.loads(backend.to_str()) if backend is not None else {"vocabulary": self.tokenizer.get_vocab()}
        # padding and truncation change from batch to batch
        parts = {key: value for key, value in parts.items() if key not in ("padding", "truncation")}
        return hashlib.blake2b(json.dumps([parts, self.length], sort_keys=True).encode(), digest_size=8).hexdigest()
