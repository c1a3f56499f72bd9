"""Warn about padding that no mask marks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim_nb.inputs.models import Model
from repsim_nb.support.errors import warn_user

from .probe import Probe


def warn_about_padding(model: Model, layers: Sequence[str], probe: Probe) -> None:
    """Warn if inputs look padded without a mask, or are padded on the left without positions.

    layers: the layers to record that follow no mask.
    """
    company, pooling = probe.company, probe.pooling
    shapes = {layer: company.given[probe.calls[layer]].shape for layer in layers}
    columns = company.columns
    if company.masks:
        _warn_about_left_padding(model, columns, company.masks, probe)
    if pooling.own is not None:
        return
    for name, ids in columns.items():
        if name in probe.mask_columns or name in company.masks or not isinstance(ids, Tensor) or ids.ndim < 2:
            continue
        is_ids = ids.ndim == 2 and ids.dtype in (torch.int32, torch.int64)
        padding = _find_padding(ids, model.module) if is_ids else None
        inside = probe.mask_inside and not company.masks
        only_behind = padding is not None and not inside and padding == _find_padding(ids, model.module, left=False)
        concerned = [layer for layer, shape in shapes.items() if len(shape) > 2 and ids.shape[1] in shape[1:]]
        if not concerned or (padding is None and not inside) or (pooling.name == "first" and only_behind):
            continue
        why = (
            "the model creates a mask inside" if padding is None else f"some rows begin or end with a run of {padding}"
        )
        called = name or "input_ids"
        warn_user(
            f"The inputs of '{model.name}' look padded ({why}), and no mask marks the padding: pool='{pooling.name}'"
            f" treats it as tokens, for example in layer '{concerned[0]}'. Add the mask, {{'{called}': ids,"
            f" '{called.replace('input_ids', 'attention')}_mask': ids != {0 if padding is None else padding}}}, or use"
            " a pool function of your own."
        )
        return


def _find_padding(ids: Tensor, module: nn.Module, *, left: bool = True) -> int | None:
    """Return the number that fills rows at the end (or the beginning).

    It occurs nowhere else, in runs of different length. The padding_idx of an embedding needs one such row, any other
    number two.
    """
    if left and (found := _find_padding(ids, module, left=False)) is not None:
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


def _warn_about_left_padding(
    model: Model, columns: Mapping[str, Any], masks: Mapping[str, Tensor], probe: Probe
) -> None:
    """Warn if texts are padded on the left and the model counts positions from the padding."""
    mask = masks.get("attention_mask")
    if mask is None or "position_ids" in columns or bool(mask[:, 0].all()) or not bool(mask[:, -1].all()):
        return
    if "position_ids" in inspect.signature(model.module.forward).parameters and probe.moves_with_padding(mask):
        warn_user(
            f"Texts are padded on the left and no position_ids are given, so '{model.name}' counts positions from the"
            " padding. Give position_ids=(attention_mask.cumsum(1) - 1).clamp(min=0), or pad on the right."
        )
