"""From what a person has, pictures or sentences, to what a network takes: two `preprocess` objects that print and pickle."""

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

from .model import images

LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue weigh in a grey picture


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures (n, h, w) or (n, h, w, c) -> float32 (n, channels, *size), (x / 255 - mean) / std.

    size: (height, width) to stretch to, or None to leave pictures as they come.  mean, std: of values in [0, 1], one for each channel or one for all.
    channels: 3 repeats a grey picture; 1 makes a coloured one grey; a fourth channel (transparency) is dropped.
    A list holds pictures of different sizes. Floats are taken as prepared already and pass unchanged.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    channels: int = 3
    mode: str = "bilinear"

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, (list, tuple)):
            return self._together([self(np.array(one)[None]) for one in batch])
        raw = batch.dtype in (torch.uint8, np.uint8) if isinstance(batch, (Tensor, np.ndarray)) else np.asarray(batch).dtype == np.uint8
        x = images(batch)
        if not raw:
            return x
        if x.ndim != 4:
            raise ValueError(f"pictures are uint8 (n, height, width) or (n, height, width, channels); these have the shape {tuple(np.shape(batch))}")
        x = self._coloured(x)
        if self.size is not None and tuple(x.shape[2:]) != tuple(self.size):
            x = F.interpolate(x, tuple(self.size), mode=self.mode, align_corners=False, antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(self._each(values)).reshape(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

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
            raise ValueError(f"pictures of different sizes cannot be one batch: {sorted(shapes)[:3]}; say to which size, preprocess=models.Pictures(size=(height, width), ...)")
        return torch.cat(pictures)


@dataclass(frozen=True)
class Texts:
    """Sentences, a list of str -> {"input_ids", "attention_mask"}: int64 (n, tokens), padded to the longest of the batch.

    tokenizer: one of transformers, or None where the network came without: then only ids, integers (n, tokens), are taken.
    length: the most tokens that the network takes; what is longer is cut.  name: the network's, for errors.
    """

    tokenizer: Any = field(default=None, repr=False, compare=False)
    length: int | None = None
    name: str = ""

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, Mapping):
            return batch
        if isinstance(batch, (list, tuple, np.ndarray)) and len(batch) and all(isinstance(one, str) for one in batch):
            if self.tokenizer is None:
                raise ValueError(f"'{self.name}' has no tokenizer, so it cannot read sentences: give it ids, an array of integers (n, tokens), or a function "
                                 f"that makes them, load_model(..., preprocess=function of a list of str)")
            out = self.tokenizer([str(one) for one in batch], padding="longest", truncation=self.length is not None, max_length=self.length, return_tensors="pt")
            return {key: out[key] for key in ("input_ids", "attention_mask")}
        ids = batch if isinstance(batch, Tensor) else torch.as_tensor(np.asarray(batch))
        if ids.is_floating_point() or ids.ndim != 2:
            raise ValueError(f"'{self.name}' reads text: it takes a list of str, or ids, integers (n, tokens); it got {ids.dtype} {tuple(ids.shape)}")
        return {"input_ids": ids.long(), "attention_mask": torch.ones_like(ids, dtype=torch.long)}

    def example(self) -> Any:
        """A small batch."""
        return ["One sentence.", "Another sentence, a little longer."] if self.tokenizer is not None else np.zeros((2, 4), np.int64)

    def fingerprint(self) -> str | None:
        """What the tokenizer is, in 16 letters: networks that share it see the same tokens; None without one."""
        if self.tokenizer is None:
            return None
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        parts = json.loads(backend.to_str()) if backend is not None else {"vocabulary": self.tokenizer.get_vocab()}
        parts = {key: value for key, value in parts.items() if key not in ("padding", "truncation")}  # these change from batch to batch
        return hashlib.blake2b(json.dumps([parts, self.length], sort_keys=True).encode(), digest_size=8).hexdigest()
