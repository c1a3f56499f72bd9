"""From a layer's output for a batch to the rows of a representation: one row a sample, or one a token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import unknown
from .fingerprints import fingerprint

TOKENS = "tokens"
NO_MASKS = ("global_attention_mask", "special_tokens_mask", "head_mask", "cross_attn_head_mask", "src_mask", "tgt_mask", "memory_mask", "perm_mask")  # these say something else


@dataclass(frozen=True)
class Layout:
    """How a layer's output lies.

    features: the axis of its features, 1 or -1; None is 1 for pictures (n, c, h, w), -1 for tokens (n, tokens, p).
    tokens: the axis of its tokens, if a mask applies to the layer.  mask: the name of that mask (see `masks_of`).
    split: the rows are tokens, (n · tokens, p), as a router of experts gives them.
    """

    features: int | None = None
    tokens: int | None = None
    mask: str | None = None
    split: bool = False


def _flatten(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
    if mask is not None and not mask.all():
        raise ValueError(f"has a row for every token, {tuple(x.shape)}, and texts of different length are filled up with padding, which is no activation. "
                         f"Take pool='mean', 'first' or 'last', or every token as a sample, pool='{TOKENS}'")
    return x.flatten(1) if x.ndim > 1 else x[:, None]


def _places(x: Tensor, features: int) -> Tensor:
    """(n, tokens or places, features)"""
    return x.flatten(1, -2) if features == -1 else x.flatten(2).transpose(1, 2)


def _mean(x: Tensor, features: int, mask: Tensor | None) -> Tensor:
    if x.ndim < 3:
        return x if x.ndim == 2 else x[:, None]
    x = _places(x if x.is_floating_point() or x.is_complex() else x.double(), features)
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
    """A pool by its name or as a function of the tensor: `pooling(out, n, layout, mask)` -> tensor (rows, p).

    name: as keys have it.  fingerprint: of what it does.  by_token: each token of a text, each place of a picture is a row.
    own: the user's function, or None.
    """

    def __init__(self, pool: str | Callable[[Tensor], Tensor]) -> None:
        if not isinstance(pool, str) and not callable(pool):
            raise ValueError(f"pool is one of {list(POOLS)} or a function; got {pool!r}")
        if isinstance(pool, str) and pool not in POOLS:
            raise unknown("pool", pool, POOLS)
        self.name = pool if isinstance(pool, str) else getattr(pool, "__name__", type(pool).__name__).replace("<lambda>", "lambda")
        self.fingerprint = pool if isinstance(pool, str) else fingerprint(pool)
        self.by_token = pool == TOKENS
        self.own = None if isinstance(pool, str) else pool

    def __call__(self, out: Tensor, n: int, layout: Layout = Layout(), mask: Tensor | None = None) -> Tensor:  # noqa: B008 (it is frozen)
        """out: a layer's output for n samples.  mask: (n, tokens), true for tokens and false for padding; None: every token is real.

        A function of one's own gets the output as it is, and must return a row a sample.
        ValueError if the samples are not along the first axis, or if no row a sample comes out.
        """
        shape = tuple(out.shape)
        out = out if not out.is_floating_point() or out.dtype in (torch.float32, torch.float64) else out.float()  # a sum over many tokens may leave their range
        if self.own is not None:
            values = self._by_own(out, shape)
        else:
            out = out.unflatten(0, (n, -1)) if layout.split else out
            if out.ndim == 0 or out.shape[0] != n:
                raise ValueError(no_sample_axis(n, shape))
            features = (1 if out.ndim > 3 else -1) if layout.features is None else layout.features
            mask = None if layout.tokens is None or mask is None else _fitted(mask.to(out.device), out.shape[layout.tokens])
            if mask is not None and self.name != "flatten":
                out, features = out.movedim(layout.tokens, 1), -1  # (n, tokens, ...)
                out = out[..., None] if out.ndim == 2 else out.flatten(2)
            values = POOLS[self.name](out, features, mask)
        if not isinstance(values, Tensor) or values.ndim < 2 or (values.shape[0] != n and not self.by_token):
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"was pooled by '{self.name}' from {shape} to {came}, which must keep the {n} samples as rows, (n, p)")
        if 0 in values.shape[1:]:
            raise ValueError(f"was pooled by '{self.name}' from {shape} to {tuple(values.shape)}: no feature is left")
        return values.detach().flatten(1)

    def _by_own(self, out: Tensor, shape: tuple[int, ...]) -> Any:
        try:
            return self.own(out.clone())  # it may write into what it is given
        except Exception as error:
            raise ValueError(f"could not be pooled by '{self.name}' from {shape}: {type(error).__name__}: {error}") from error


def no_sample_axis(n: int, shape: tuple[int, ...]) -> str:
    return f"has no sample axis: for {n} sample{'s' if n > 1 else ''} it gave shape {shape}. If its samples are along another axis, use a pool function of your own. If its rows are tokens, nodes or only some of the samples, use a layer after the place where they come together"


def unlike_mask(tokens: int, lengths: Sequence[int]) -> str:
    return (f"has {tokens} tokens where its input has {' or '.join(map(str, lengths))}, so it is not known which are padding. "
            "Use a pool function of your own, or inputs of one length")


def is_lengths(name: str) -> bool:
    """Is a column called so that it may hold the lengths of the samples?"""
    return re.search(r"(^|_)(len|lens|length|lengths)$", name) is not None


def _fitted(mask: Tensor, tokens: int) -> Tensor:
    """The mask for a layer whose output ends with the longest text of the batch, as a packed recurrent layer's does."""
    if tokens < mask.shape[1] and not mask[:, tokens:].any():
        return mask[:, :tokens]
    if tokens != mask.shape[1]:
        raise ValueError(unlike_mask(tokens, [mask.shape[1]]))
    return mask


def masks_of(batch: Any) -> dict[str, Tensor]:
    """The masks of a prepared batch by name, each (n, tokens) and true for real tokens.

    A mask is a column (n, tokens) of 0 and 1 whose name ends with "mask", as tokenizers make it, 1 for tokens; "padding" in the name
    turns it round (`src_key_padding_mask`: true for padding). A column of lengths, (n,) integers called `lengths` or so, stands for a mask
    of the sequences (n, tokens, p), or of the ids (n, tokens), if all of these have as many tokens.
    """
    found: dict[str, Tensor] = {}
    if not isinstance(batch, Mapping):
        return found
    columns = {name: value for name, value in batch.items() if isinstance(value, Tensor) and value.ndim}
    for name, value in columns.items():
        if value.ndim == 2 and name.endswith("mask") and name not in NO_MASKS:
            if value.is_floating_point() and bool((value <= 0).all()):  # added to the attention: 0 or minus infinity
                found[name] = value == 0
            elif value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all()):
                found[name] = ~value.bool() if "padding" in name else value.bool()
        elif value.ndim == 1 and is_lengths(name) and not value.is_floating_point() and value.dtype != torch.bool:
            tokens = {other.shape[1] for other in columns.values() if other.ndim == 3 or (other.ndim == 2 and not other.is_floating_point())}
            if len(tokens) == 1 and int(value.max()) <= max(tokens):
                found[name] = torch.arange(tokens.pop(), device=value.device)[None] < value[:, None]
    return found
