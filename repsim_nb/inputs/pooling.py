"""Pooling: from the output of a layer for a batch to rows, one for each sample or one for each token."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repsim_nb.inputs.fingerprints import fingerprint
from repsim_nb.support.errors import unknown_name

TOKENS = "tokens"
NO_MASKS = (  # masks of something else than padding
    *("global_attention_mask", "special_tokens_mask", "head_mask", "cross_attn_head_mask", "src_mask", "tgt_mask"),
    *("memory_mask", "perm_mask"),
)


class NoSampleAxis(ValueError):
    """The output of a layer does not have one row for each sample."""


@dataclass(frozen=True)
class Layout:
    """Which axes of the output of a layer contain samples, features and tokens.

    Parameters
    ----------
    samples : int
        The axis of the samples; the other axes are counted with this one in front.
    features : tuple of int, optional
        The axes of the features; None if the pool does not need them.
    tokens : int, optional
        The axis of the tokens, if a mask applies to the layer.
    mask : str, optional
        The name of that mask (see `find_masks`).
    split : bool
        Whether rows are tokens, (n · tokens, p), as after a router of experts.
    """

    samples: int = 0
    features: tuple[int, ...] | None = None
    tokens: int | None = None
    mask: str | None = None
    split: bool = False


def _flatten(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return all values of a sample as one row."""
    if mask is not None and not mask.all():
        raise ValueError(
            f"has a row for every token, {tuple(x.shape)}, and texts of different length contain padding, which is no"
            f" activation. Use pool='mean', 'first' or 'last', or pool='{TOKENS}' for each token as a row."
        )
    return x.flatten(1) if x.ndim > 1 else x[:, None]


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over places, without padding."""
    x = x if x.is_floating_point() or x.is_complex() else x.double()
    return x.mean(1) if mask is None else torch.where(mask[..., None], x, 0).sum(1) / mask.sum(1, keepdim=True)


def _token(last: bool) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return a pool that takes the first or the last real token."""

    def take(x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return x[:, -1 if last else 0]
        real = mask.to(torch.int8)
        which = real.shape[1] - 1 - real.flip(1).argmax(1) if last else real.argmax(1)
        return x[torch.arange(len(x), device=x.device), which]

    return take


def _tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return each real token as a row."""
    return x.flatten(0, 1) if mask is None else x[mask]


# "flatten": x (n, ...); the others: x (n, places, features), mask (n, places) of the real tokens or None -> (rows,
# ...), with one row for each sample except for "tokens"
POOLS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "flatten": _flatten,
    "mean": _mean,
    "first": _token(last=False),
    "last": _token(last=True),
    TOKENS: _tokens,
}


class Pooling:
    """A pool, by its name or as a function: `pooling(out, n, layout, mask)` returns rows (rows, p).

    Parameters
    ----------
    pool : {"flatten", "mean", "first", "last", "tokens"} or function
        As in `rs.record`.

    Attributes
    ----------
    name : str
        The name in keys.
    fingerprint : str
        A fingerprint of what it does.
    by_token : bool
        Whether each token of a text, or each place of an image, is a row.
    own : function or None
        The function of the user.
    takes_mask : bool
        Whether the function takes the mask too.
    needs_axes : bool
        Whether the axes of the features must be known.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> import torch
    >>> from repsim_nb.inputs.pooling import Layout, Pooling
    >>> images = torch.ones(5, 3, 8, 8)  # (samples, channels, height, width)
    >>> tuple(Pooling("flatten")(images, 5).shape)
    (5, 192)
    >>> tuple(Pooling("mean")(images, 5, Layout(features=(1,))).shape)
    (5, 3)
    """

    def __init__(self, pool: str | Callable[..., Tensor]) -> None:
        if not isinstance(pool, str) and not callable(pool):
            raise ValueError(f"pool must be one of {list(POOLS)} or a function; got {pool!r}.")
        if isinstance(pool, str) and pool not in POOLS:
            raise unknown_name("pool", pool, POOLS)
        self.name = (
            pool
            if isinstance(pool, str)
            else getattr(pool, "__name__", type(pool).__name__).replace("<lambda>", "lambda")
        )
        self.fingerprint = pool if isinstance(pool, str) else fingerprint(pool)
        self.by_token = pool == TOKENS
        self.own = None if isinstance(pool, str) else pool
        self.takes_mask = self.own is not None and _takes_two(self.own)
        self.needs_axes = self.own is None and pool != "flatten"

    def __call__(
        self,
        out: Tensor,
        n: int,
        layout: Layout = Layout(),
        mask: Tensor | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the rows of the output of a layer for n samples.

        Parameters
        ----------
        out : Tensor
            The output of the layer.
        n : int
            The number of samples.
        layout : Layout
            The axes of the output; a function of the user gets the output as it is.
        mask : Tensor (n, tokens), optional
            True for tokens and False for padding; None if every token is real.
        masks : {str: Tensor}, optional
            All masks of the batch, for a function with two arguments: it gets the only mask, a dict of several, or
            None.

        Returns
        -------
        Tensor (rows, p)
            One row for each sample, or for each token.

        Raises
        ------
        ValueError
            If samples are not along the expected axis, or if there is not one row for each sample.
        """
        shape = tuple(out.shape)
        if out.is_floating_point() and out.dtype not in (torch.float32, torch.float64):
            out = out.float()  # a sum over many tokens may leave their range
        values = self._by_name(out, n, layout, mask) if self.own is None else self._by_own(out, masks or {})
        if not isinstance(values, Tensor) or values.ndim < 2 or (values.shape[0] != n and not self.by_token):
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"was pooled by '{self.name}' from {shape} to {came}, which must keep the {n} samples as rows, (n, p)"
            )
        if 0 in values.shape[1:]:
            raise ValueError(f"was pooled by '{self.name}' from {shape} to {tuple(values.shape)}: no feature is left")
        return values.detach().flatten(1)

    def _by_name(self, out: Tensor, n: int, layout: Layout, mask: Tensor | None) -> Tensor:
        """Return the rows by a named pool."""
        shape = tuple(out.shape)
        if layout.split:
            out = out.unflatten(0, (n, -1))
        elif layout.samples:
            out = out.movedim(layout.samples, 0)
        if out.ndim == 0 or out.shape[0] != n:
            raise no_sample_axis(n, shape)
        if layout.tokens is None or mask is None:
            mask = None
        else:
            mask = _fit_mask(mask.to(out.device), out.shape[layout.tokens])
        if self.needs_axes and (out.ndim > 2 or mask is not None):
            out = self._arrange(out, layout, None if mask is None else layout.tokens)
        elif self.by_token:
            raise ValueError(f"has activations {shape}, one row for each sample, so there are no tokens")
        if out.ndim > 2 or self.name == "flatten":
            return POOLS[self.name](out, mask)
        return out if out.ndim == 2 else out[:, None]

    def _arrange(self, out: Tensor, layout: Layout, tokens: int | None) -> Tensor:
        """Return the output as (n, places, features)."""
        if tokens is not None:  # the places are the tokens
            out = out.movedim(tokens, 1)
            return out[..., None] if out.ndim == 2 else out.flatten(2)
        if layout.features is None:
            raise ValueError(explain_unknown_axis(out.shape))
        features = [axis % out.ndim for axis in layout.features]
        places = [axis for axis in range(1, out.ndim) if axis not in features]
        if self.name in ("first", "last") and len(places) > 1:
            raise ValueError(
                f"has activations {tuple(out.shape)}; pool='{self.name}' needs (samples, tokens, features)"
            )
        if features == [1]:
            return out.flatten(2).transpose(1, 2)
        out = out.permute(0, *places, *features)
        return out.flatten(1 + len(places)).flatten(1, len(places)) if places else out.flatten(1)[:, None]

    def _by_own(self, out: Tensor, masks: Mapping[str, Tensor]) -> Any:
        """Return the rows by the function of the user."""
        given: list[Any] = [out.clone()]  # the function may write into its input
        if self.takes_mask:
            given.append(None if not masks else next(iter(masks.values())) if len(masks) == 1 else dict(masks))
        try:
            return self.own(*given) if self.own is not None else None
        except Exception as error:
            raise ValueError(
                f"could not be pooled by '{self.name}' from {tuple(out.shape)}: {type(error).__name__}: {error}"
            ) from error


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a pool function needs two arguments, the output and the mask."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtin functions have no signature
        return False
    needed = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and (p.default is p.empty or p.name == "mask")
    ]
    return len(needed) > 1


def explain_unknown_axis(shape: Sequence[int]) -> str:
    """Return the problem of a layer whose axis of features is not certain."""
    return (
        f"gave {tuple(shape)}, and it is not certain which axis contains its features, since no layer around it shows"
        " that. Give the axis: axis=1 for (samples, features, time), axis=-1 for (samples, tokens, features)"
    )


def no_sample_axis(n: int, shape: tuple[int, ...], where: str = "") -> NoSampleAxis:
    """Return the error about a layer that does not have one row for each sample. where: what it begins with."""
    return NoSampleAxis(
        f"{where}has no sample axis: for {n} sample{'s' if n > 1 else ''} it gave shape {shape}. If its samples are"
        " along another axis, use a pool function of your own. If its rows are tokens, nodes or only some of the"
        " samples, use a layer after the place where they are pooled"
    )


def explain_unlike_mask(tokens: int, lengths: Sequence[int]) -> str:
    """Return the problem of a layer with another number of tokens than its input."""
    return (
        f"has {tokens} tokens where its input has {' or '.join(map(str, lengths))}, so it is not known which are"
        " padding. Use a pool function of your own, or inputs of one length"
    )


def is_lengths_column(name: str) -> bool:
    """Return whether a column has the name of a column of lengths of the samples."""
    return re.search(r"(^|_)(len|lens|length|lengths)$", name) is not None


def is_usual_mask(mask: str) -> bool:
    """Return whether the name of a mask means that it marks padding."""
    return mask.endswith("attention_mask") or "pad" in mask or is_lengths_column(mask)


def _fit_mask(mask: Tensor, tokens: int) -> Tensor:
    """Return the mask for a layer whose output ends with the longest text of the batch, as a packed recurrent layer."""
    if tokens < mask.shape[1] and not mask[:, tokens:].any():
        return mask[:, :tokens]
    if tokens != mask.shape[1]:
        raise ValueError(explain_unlike_mask(tokens, [mask.shape[1]]))
    return mask


def _may_be_mask(name: str, value: Tensor) -> bool:
    """Return whether a column has the name and the shape of a mask of tokens."""
    if not name.endswith("mask") or name in NO_MASKS or value.ndim not in (2, 3, 4):
        return False
    # in torch's own attn_mask true means "not attended to"
    if value.ndim == 2 or (value.ndim == 4 and value.shape[1:3] == (1, 1) and name != "attn_mask"):
        return True
    # others, such as pixel_mask (n, h, w), are masks of images
    return name.endswith("attention_mask") and value.shape[-1] == value.shape[-2]


def find_masks(batch: Any) -> dict[str, Tensor]:
    """Find the masks of a prepared batch, {name: (n, tokens), true for real tokens}.

    A mask is a column (n, tokens) of 0 and 1 whose name ends with "mask", as tokenizers make it, 1 for tokens; with
    "padding" in its name it is 1 for padding (`src_key_padding_mask`). A mask (n, 1, 1, tokens), or an attention mask
    (n, tokens, tokens) or (n, heads, tokens, tokens), marks the tokens that some token attends to. A column of lengths,
    (n,) integers named `lengths` or so, stands for a mask of the sequences (n, tokens, p), or of the ids (n, tokens),
    if all of these have the same number of tokens.

    Parameters
    ----------
    batch : dict or Tensor
        A batch as the model takes it.

    Returns
    -------
    dict
        {name: mask (n, tokens)}; empty if there are none.

    Examples
    --------
    >>> import torch
    >>> from repsim_nb.inputs.pooling import find_masks
    >>> ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    >>> find_masks({"input_ids": ids, "attention_mask": mask})["attention_mask"].tolist()
    [[True, True, True], [True, True, False]]
    """
    found: dict[str, Tensor] = {}
    if not isinstance(batch, Mapping):
        return found
    columns = {name: value for name, value in batch.items() if isinstance(value, Tensor) and value.ndim}
    for name, value in columns.items():
        if _may_be_mask(name, value):
            if value.is_floating_point() and bool((value <= 0).all()):  # added to the attention: 0 or minus infinity
                real = value == 0
            elif value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all()):
                real = ~value.bool() if "padding" in name else value.bool()
            else:
                continue
            found[name] = real if real.ndim == 2 else real.flatten(1, -2).any(1)
        elif (
            value.ndim == 1 and is_lengths_column(name) and not value.is_floating_point() and value.dtype != torch.bool
        ):
            tokens = {
                other.shape[1]
                for other in columns.values()
                if other.ndim == 3 or (other.ndim == 2 and not other.is_floating_point())
            }
            if len(tokens) == 1 and int(value.max()) <= max(tokens):
                found[name] = torch.arange(tokens.pop(), device=value.device)[None] < value[:, None]
    return found
