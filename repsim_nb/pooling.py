"""From what a layer gives for a batch to rows of a representation: one row a sample, or one a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import unknown
from .fingerprints import fingerprint

TOKENS = "tokens"


def _flatten(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
    if mask is not None and not mask.all():
        raise ValueError(f"holds a row for every token, {tuple(x.shape)}, and texts of unlike length are filled up with padding, which is no activation. "
                         f"Take pool='mean', 'first' or 'last', or every token as a sample, pool='{TOKENS}'")
    return x.flatten(1) if x.ndim > 1 else x[:, None]


def _places(x: Tensor, features: int) -> Tensor:
    """(n, tokens or places, features)"""
    return x.flatten(1, -2) if features == -1 else x.flatten(2).transpose(1, 2)


def _mean(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        return x if x.ndim == 2 else x[:, None]
    x = _places(x, features)
    return x.mean(1) if mask is None else torch.where(mask[..., None], x, 0).sum(1) / mask.sum(1, keepdim=True)


def _token(last: bool) -> Callable[[Tensor, int, Tensor | None], Tensor]:
    def take(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
        if x.ndim == 2:  # one token a sample already
            return x
        if x.ndim != 3:
            raise ValueError(f"has activations {tuple(x.shape)}, and a token can be taken of (samples, tokens, features) only")
        x = _places(x, features)
        if mask is None:
            return x[:, -1 if last else 0]
        real = mask.to(torch.int8)
        which = real.shape[1] - 1 - real.flip(1).argmax(1) if last else real.argmax(1)
        return x[torch.arange(len(x), device=x.device), which]
    return take


def _tokens(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        raise ValueError(f"has activations {tuple(x.shape)}: one row a sample, so there are no tokens to take as samples")
    x = _places(x, features)
    return x.flatten(0, 1) if mask is None else x[mask]


# x (n, ...), the axis of its features (1 or -1), mask (n, tokens) of the real tokens or None -> (rows, ...); a row a sample but for "tokens"
POOLS: dict[str, Callable[[Tensor, int, Tensor | None], Tensor]] = {
    "flatten": _flatten,
    "mean": _mean,
    "first": _token(last=False),
    "last": _token(last=True),
    TOKENS: _tokens,
}


class Pooling:
    """A pool by its name or as a function of the tensor: `pooling(out, rows, mask)` -> tensor (rows, p).

    name: as keys have it.  fingerprint: of what it does.  by_token: each token of a text, each place of a picture is a row.
    """

    def __init__(self, pool: str | Callable[[Tensor], Tensor]) -> None:
        if not isinstance(pool, str) and not callable(pool):
            raise ValueError(f"pool is one of {list(POOLS)} or a function; got {pool!r}")
        if isinstance(pool, str) and pool not in POOLS:
            raise unknown("pool", pool, POOLS)
        self.name = pool if isinstance(pool, str) else getattr(pool, "__name__", type(pool).__name__).replace("<lambda>", "lambda")
        self.fingerprint = pool if isinstance(pool, str) else fingerprint(pool)
        self.by_token = pool == TOKENS
        self._function = POOLS[pool] if isinstance(pool, str) else lambda x, *_: pool(x)

    def __call__(self, out: Tensor, rows: int, mask: Tensor | None = None, features: int | None = None) -> Tensor:
        """out: what a layer gave for `rows` samples.  mask: (rows, tokens), true where the input has a token and not padding.
        features: the axis of the features, 1 or -1; None is 1 of pictures (n, c, h, w), -1 of tokens (n, tokens, p).

        ValueError where the samples are no longer along the first axis.
        """
        if out.ndim == 0 or out.shape[0] != rows:
            raise ValueError(f"has no sample axis: for {rows} samples it gave shape {tuple(out.shape)}")
        out = out.float() if out.dtype in (torch.float16, torch.bfloat16) else out  # a sum over many tokens may leave their range
        features = (1 if out.ndim > 3 else -1) if features is None else features
        values = self._function(out, features, self._mask(out, mask))
        if not isinstance(values, Tensor) or values.ndim < 2 or (values.shape[0] != rows and not self.by_token):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"was pooled by '{self.name}' from {tuple(out.shape)} to {shape}, which must keep the {rows} samples as rows, (n, p)")
        if 0 in values.shape[1:]:
            raise ValueError(f"was pooled by '{self.name}' from {tuple(out.shape)} to {tuple(values.shape)}: no feature is left")
        return values.detach().flatten(1)

    @staticmethod
    def _mask(out: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask where the layer has a row a token."""
        if mask is None or out.ndim != 3:
            return None
        if out.shape[1] != mask.shape[1]:
            if mask.all():
                return None
            raise ValueError(f"has {out.shape[1]} tokens where its input has {mask.shape[1]}, so that it is not known which are padding. "
                             "Record it with a pool function of your own, or texts of one length")
        return mask.to(out.device)


def mask_of(batch: Any) -> Tensor | None:
    """Which tokens of a prepared batch are real, (n, tokens), where it says so as tokenizers do (attention_mask)."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return mask.bool() if isinstance(mask, Tensor) and mask.ndim == 2 else None
