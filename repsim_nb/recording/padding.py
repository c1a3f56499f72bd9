"""Padding that no mask of the inputs tells of: it would be taken for activations without a word, so the user hears of it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .probe import Pass
    from .run import Run


def is_mask_inside(args: tuple[Any, ...], kwargs: Mapping[str, Any], tokens: set[tuple[int, ...]]) -> bool:
    """Does a module get a mask of the batch's tokens that is not the same for all samples?"""
    return any(isinstance(value, Tensor) and value.dtype == torch.bool and tuple(value.shape) in tokens and bool((value != value[:1]).any()) for value in (*args, *kwargs.values()))


def announce(run: Run, company: Pass, masks_inside: bool) -> None:
    """Warn if the inputs look padded and no mask says so, or if they are padded on the left and positions are not given."""
    prepared = company.prepared
    columns = dict(prepared) if isinstance(prepared, Mapping) else {"": prepared}
    if company.masks:
        _announce_left(run, columns, company.masks)
        return
    ids = next(((name, column) for name, column in columns.items() if isinstance(column, Tensor) and column.ndim == 2 and column.dtype in (torch.int32, torch.int64)), None)
    padding = _padding(ids[1], run.model.module) if ids else None
    if padding is None and not masks_inside:
        return
    lengths = {column.shape[1] for column in columns.values() if isinstance(column, Tensor) and column.ndim > 1}
    layers = [layer for layer in run.found if len(shape := company.given[run.calls[layer]].shape) > 2 and lengths & set(shape[1:])]
    if not layers or run.pooling.own is not None or (run.pooling.name == "first" and not masks_inside and padding == _padding(ids[1], run.model.module, left=False)):
        return
    why = "the model makes a mask of its own inside" if padding is None else f"some rows begin or end with a run of {padding}"
    name = (ids[0] if ids else "") or "input_ids"
    warnings.warn(f"the inputs of '{run.model.name}' look padded ({why}), and no mask says where: pool='{run.pooling.name}' takes padding for tokens, in layer '{layers[0]}' for one. "
                  f"Give the mask along, {{'{name}': ids, 'attention_mask': ids != {0 if padding is None else padding}}}, or pool by a function of your own", stacklevel=5)


def _padding(ids: Tensor, module: nn.Module, left: bool = True) -> int | None:
    """The number that rows are filled up with: the padding_idx of an embedding, or what rows end (or begin) with, in runs of different length."""
    if left and (found := _padding(ids, module, False)) is not None:
        return found
    ids = ids.flip(1) if left else ids
    last = ids[:, -1:]
    runs = (ids.flip(1) == last).int().cumprod(1).sum(1)
    known = {part.padding_idx for part in module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.padding_idx is not None}
    for value in torch.unique(last).tolist():
        ends = runs[last[:, 0] == value]
        varied = len(set(ends.tolist()) | ({0} if len(ends) < len(ids) else set())) > 1
        if varied and (value in known or int((ends > 1).sum()) > 1 or (value == 0 and int(ends.max()) > 1)):
            return int(value)
    return None


def _announce_left(run: Run, columns: Mapping[str, Any], masks: Mapping[str, Tensor]) -> None:
    mask = masks.get("attention_mask")
    if mask is None or "position_ids" in columns or bool(mask[:, 0].all()) or not bool(mask[:, -1].all()):
        return
    if "position_ids" in inspect.signature(run.model.module.forward).parameters:
        warnings.warn(f"texts are padded on the left and no position_ids are given, so '{run.model.name}' may count positions from the padding: give "
                      "position_ids=(attention_mask.cumsum(1) - 1).clamp(min=0), or pad on the right", stacklevel=5)
