"""Warn about padding that no mask marks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repsim_nb.inputs.models import Model
from repsim_nb.inputs.pooling import Pooling

from .passes import Pass


def is_mask_inside(args: tuple[Any, ...], kwargs: Mapping[str, Any], tokens: set[tuple[int, ...]]) -> bool:
    """Does a module get a mask of the batch's tokens that is not the same for all samples?"""
    return any(
        isinstance(value, Tensor)
        and value.dtype == torch.bool
        and tuple(value.shape) in tokens
        and bool((value != value[:1]).any())
        for value in (*args, *kwargs.values())
    )


def announce(
    model: Model,
    layers: Mapping[str, tuple[int, ...]],
    company: Pass,
    masked: set[str],
    mask_inside: bool,
    pooling: Pooling,
    moves: Callable[[Tensor], bool],
) -> None:
    """Warn if inputs look padded and no mask says so, or if they are padded on the left and positions are not given.

    layers: the layers to record that follow no mask, with the shapes of their outputs.  masked: the columns that masks
    speak of.  moves(mask): do rows change when the padding on the left is taken away?
    """
    columns = dict(company.prepared) if isinstance(company.prepared, Mapping) else {"": company.prepared}
    if company.masks:
        _announce_left(model, columns, company.masks, moves)
    if pooling.own is not None:
        return
    for name, ids in columns.items():
        if name in masked or name in company.masks or not isinstance(ids, Tensor) or ids.ndim < 2:
            continue
        is_ids = ids.ndim == 2 and ids.dtype in (torch.int32, torch.int64)
        padding = _padding(ids, model.module) if is_ids else None
        inside = mask_inside and not company.masks
        only_behind = padding is not None and not inside and padding == _padding(ids, model.module, left=False)
        concerned = [layer for layer, shape in layers.items() if len(shape) > 2 and ids.shape[1] in shape[1:]]
        if not concerned or (padding is None and not inside) or (pooling.name == "first" and only_behind):
            continue
        why = (
            "the model makes a mask of its own inside"
            if padding is None
            else f"some rows begin or end with a run of {padding}"
        )
        called = name or "input_ids"
        warnings.warn(
            f"the inputs of '{model.name}' look padded ({why}), and no mask marks it: pool='{pooling.name}' takes"
            f" padding for tokens, in layer '{concerned[0]}' for one. Add the mask, {{'{called}': ids,"
            f" '{called.replace('input_ids', 'attention')}_mask': ids != {0 if padding is None else padding}}}, or use"
            " a pool function of your own",
            stacklevel=5,
        )
        return


def _padding(ids: Tensor, module: nn.Module, left: bool = True) -> int | None:
    """The number that rows are filled up with at the end (or the beginning): it stands nowhere else, in runs of
    different length.

    The padding_idx of an embedding needs one such row, any other number two.
    """
    if left and (found := _padding(ids, module, False)) is not None:
        return found
    ids = ids.flip(1) if left else ids
    last = ids[:, -1:]
    runs = (ids.flip(1) == last).int().cumprod(1).sum(1)
    known = {
        part.padding_idx
        for part in module.modules()
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.padding_idx is not None
    }
    distinct = ids.unique(dim=0)
    for value in torch.unique(last).tolist():
        ends = torch.where(last[:, 0] == value, runs, 0)
        alone = bool(((ids == value).sum(1) == ends).all())
        rows = int((distinct[:, -1] == value).sum())
        if alone and len(set(ends.tolist())) > 1 and (value in known or (rows > 1 and int(ends.max()) > 1)):
            return int(value)
    return None


def _announce_left(
    model: Model, columns: Mapping[str, Any], masks: Mapping[str, Tensor], moves: Callable[[Tensor], bool]
) -> None:
    mask = masks.get("attention_mask")
    if mask is None or "position_ids" in columns or bool(mask[:, 0].all()) or not bool(mask[:, -1].all()):
        return
    if "position_ids" in inspect.signature(model.module.forward).parameters and moves(mask):
        warnings.warn(
            f"texts are padded on the left and no position_ids are given, so '{model.name}' counts positions from the"
            " padding: give position_ids=(attention_mask.cumsum(1) - 1).clamp(min=0), or pad on the right",
            stacklevel=5,
        )
