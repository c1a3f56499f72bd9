"""`Pictures` and `Texts`: `preprocess` objects from pictures or sentences to what a model takes."""

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

from .channels import check_pictures, is_bytes, is_picture
from .model import images

LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue weigh in a grey picture


def no_sentences(batch: Any, who: str) -> None:
    """TypeError where text comes to a model that sees."""
    first = (
        next(iter(batch), None)
        if isinstance(batch, (list, tuple))
        else batch.flat[0]
        if isinstance(batch, np.ndarray) and batch.dtype.kind in "USO" and batch.size
        else batch
    )
    if isinstance(first, str):
        raise TypeError(f"{who} takes pictures, and these are sentences")


def covers(resize: int | tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether `size` can be cut out of what was resized so."""
    return (
        all(have >= want for have, want in zip(resize, size, strict=True))
        if isinstance(resize, tuple)
        else resize >= min(size)
    )


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures (n, h, w), (n, h, w, c) or (n, c, h, w) -> float32 (n, channels, *size), (x / 255 - mean) / std.

    As libraries do when they test a model: a picture is resized (antialiased, its proportions kept) and the centre is
    cut out of it, so its rim is left off.
    size: (height, width) of what comes out, or None to leave pictures as they come.  resize: how long the shorter side
    is before the cut (torchvision: 256 for 224), or a (height, width) that pictures are stretched to; None: as small as
    still covers `size`.  mode: "bilinear" or "bicubic".
    mean, std: of values in [0, 1], one for each channel or one for all.
    channels: 3 repeats a grey picture; 1 makes a color picture grey; a fourth channel (transparency) is dropped.
    A list holds pictures of different sizes, arrays or pictures of Pillow. Floats are taken as prepared already and
    pass unchanged. In a dict, columns of uint8 pictures are prepared, and others are not.
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
                f"the size that is cut out, {self.size}, must be within the size that pictures are resized to,"
                f" resize={self.resize}"
            )

    def __call__(self, batch: Any) -> Any:
        no_sentences(batch, "this network")
        if isinstance(batch, Mapping):
            return images(
                {name: self(column) if is_picture(name, column) else column for name, column in batch.items()}
            )
        if isinstance(batch, (list, tuple)):
            return self._together([self(_pixels(one, f"picture {number}")[None]) for number, one in enumerate(batch)])
        if not is_bytes(batch):
            return images(batch)
        check_pictures(batch)
        x = self._coloured(images(batch))
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
        """To what a picture of that height and width is resized; rounded as torchvision rounds for squares, and timm
        for the rest.
        """
        if isinstance(self.resize, tuple):
            return self.resize
        edge = self.resize or min(size)
        if size[0] == size[1]:
            return (edge, int(edge * width / height)) if height <= width else (int(edge * height / width), edge)
        cover = [side * edge // min(size) for side in size]
        ratio = min(height / cover[0], width / cover[1])
        return max(round(height / ratio), size[0]), max(round(width / ratio), size[1])

    def _coloured(self, x: Tensor) -> Tensor:
        x = x[:, :3] if x.shape[1] == 4 and self.channels < 4 else x
        if x.shape[1] == self.channels:
            return x
        if x.shape[1] == 1:
            return x.expand(-1, self.channels, -1, -1)
        if x.shape[1] == 3 and self.channels == 1:
            return (x * torch.tensor(LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
        raise ValueError(f"these pictures have {x.shape[1]} channels, and the network takes {self.channels}")

    def _each(self, values: Sequence[float]) -> list[float]:
        """One value a channel; where there are more or fewer than channels, their mean."""
        return list(values) if len(values) == self.channels else [float(np.mean(values))] * self.channels

    def _together(self, pictures: list[Tensor]) -> Tensor:
        shapes = {tuple(p.shape[1:]) for p in pictures}
        if len(shapes) > 1:
            raise ValueError(
                f"pictures of different sizes cannot be one batch: {sorted(shapes)[:3]}; say to which size,"
                " preprocess=models.Pictures(size=(height, width), ...)"
            )
        return torch.cat(pictures)


def _pixels(one: Any, what: str) -> Any:
    """A picture as an array; one of Pillow in grey or RGB.

    ValueError for those with more than 8 bits, which Pillow would clip.
    """
    mode = getattr(one, "mode", None) if hasattr(one, "convert") else None
    if mode in ("I", "F") or str(mode).startswith("I;"):
        raise ValueError(
            f"{what} has more than 8 bits a pixel (mode {mode}); convert it to 8, or give the pixels as an array of"
            " floats"
        )
    return (
        one if isinstance(one, Tensor) else np.array(one if mode in (None, "L", "RGB", "RGBA") else one.convert("RGB"))
    )


def to_tensor(value: Any) -> Any:
    """An array or a list of numbers as a tensor, ids of int32 as int64; anything else as it is."""
    try:
        value = torch.as_tensor(value) if isinstance(value, (np.ndarray, list)) else value
    except (TypeError, ValueError, RuntimeError):  # texts, dicts, rows of unlike length
        return value
    return value.long() if isinstance(value, Tensor) and value.dtype == torch.int32 else value


@dataclass(frozen=True)
class Texts:
    """Sentences, a list of str -> {"input_ids", "attention_mask"}: int64 (n, tokens), padded on the right to the
    longest of the batch.

    tokenizer: one of transformers, or None where the model came without: then only ids are taken, integers (n,
    tokens), or a mapping that holds them.
    In a mapping, what is no array stays as it is: options such as return_dict=False, lists.
    pad: the id that fills short rows: where ids come without a mask, runs of it at either end of a row are no tokens;
    None: every id is a token.
    length: the most tokens that the model takes; what is longer is cut.  name: the model's, for errors.
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
                    f"'{self.name}' has no tokenizer, so it cannot read sentences: give it ids, an array of integers"
                    " (n, tokens), or load it from a folder that holds its tokenizer too"
                )
            return self._padded(
                self.tokenizer([str(one) for one in batch], truncation=self.length is not None, max_length=self.length)[
                    "input_ids"
                ]
            )
        ids = batch if isinstance(batch, Tensor) else torch.as_tensor(np.asarray(batch))
        if ids.is_floating_point() or ids.ndim != 2:
            raise ValueError(
                f"'{self.name}' reads text: it takes a list of str, or ids, integers (n, tokens); it got {ids.dtype}"
                f" {tuple(ids.shape)}"
            )
        return {"input_ids": ids.long(), "attention_mask": self._mask(ids.long())}

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """On the right, whatever side the tokenizer prefers: there positions count from the first word, and a model
        that looks back never sees it.
        """
        longest = max(map(len, rows))
        ids = [
            [*row, *[self.pad or 0] * (longest - len(row))] for row in rows
        ]  # where no id is for padding any will do: it is never attended to
        mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        return {
            "input_ids": torch.tensor(ids, dtype=torch.long),
            "attention_mask": torch.tensor(mask, dtype=torch.long),
        }

    def _mapping(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        out = {key: to_tensor(value) for key, value in batch.items()}
        ids = out.get("input_ids")
        if isinstance(ids, Tensor) and ids.ndim == 2 and out.get("attention_mask") is None:
            out["attention_mask"] = self._mask(ids)
        return batch if len(out) == len(batch) and all(out[key] is batch[key] for key in out) else out

    def _mask(self, ids: Tensor) -> Tensor:
        """1 for tokens, 0 for runs of the padding id at both ends of a row; an id inside a row is a token, whichever it
        is, and so is a row of nothing else.
        """
        if self.pad is None:
            return torch.ones_like(ids)
        token = (ids != self.pad).long()
        inside = (token.cumsum(1) > 0) & (token.flip(1).cumsum(1).flip(1) > 0)
        return (inside | ~token.bool().any(1, keepdim=True)).long()

    def example(self) -> Any:
        """A small batch."""
        return (
            ["One sentence.", "Another sentence, a little longer."]
            if self.tokenizer is not None
            else np.zeros((2, 4), np.int64)
        )

    def fingerprint(self) -> str | None:
        """What the tokenizer is, in 16 letters: models that share it see the same tokens; None without one."""
        if self.tokenizer is None:
            return None
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        parts = json.loads(backend.to_str()) if backend is not None else {"vocabulary": self.tokenizer.get_vocab()}
        parts = {
            key: value for key, value in parts.items() if key not in ("padding", "truncation")
        }  # these change from batch to batch
        return hashlib.blake2b(json.dumps([parts, self.length], sort_keys=True).encode(), digest_size=8).hexdigest()
