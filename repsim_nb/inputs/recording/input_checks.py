"""Checks of inputs while they are recorded: padding without a mask, columns without an effect, NaN and infinity."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.arguments import find_unnamed_columns, list_names
from repsim_nb.support.errors import join_names, warn_user
from repsim_nb.support.validation import to_numpy

from .masks import change_values, sum_outputs
from .probe import RecordingProbe
from .samples import read_samples


def warn_about_padding(model: Model, layers: Sequence[str], probe: RecordingProbe) -> None:
    """Warn if inputs look padded without a mask, or are padded on the left without positions.

    layers: the layers to record that follow no mask.
    """
    reference, pooling = probe.reference, probe.pooling
    shapes = {layer: reference.given[probe.calls[layer]].shape for layer in layers}
    columns = reference.columns
    if reference.masks:
        _warn_about_left_padding(model, columns, reference.masks, probe)
    if pooling.own is not None:
        return
    for name, ids in columns.items():
        if name in probe.mask_columns or name in reference.masks or not isinstance(ids, Tensor) or ids.ndim < 2:
            continue
        is_ids = ids.ndim == 2 and ids.dtype in (torch.int32, torch.int64)
        padding = _find_padding(ids, model.module) if is_ids else None
        inside = probe.mask_inside and not reference.masks
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
    model: Model, columns: Mapping[str, Any], masks: Mapping[str, Tensor], probe: RecordingProbe
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


def warn_about_unused_columns(model: Model, dataset: Dataset, probe: RecordingProbe) -> None:
    """Warn if columns of the data have no effect on the model.

    Forward does not name them, and no output changes if they are left out or have other values.
    """
    prepared = probe.reference.prepared
    names = find_unnamed_columns(model.module, prepared) if isinstance(prepared, Mapping) else []
    given = read_samples(dataset, [0]) if names else {}
    names = [name for name in names if isinstance(given, Mapping) and name in given]  # a preprocess may add others
    base = sum_outputs(probe.runner, prepared) if names else None

    def has_effect(name: str) -> bool:
        others: list[dict[str, Any]] = [{key: value for key, value in prepared.items() if key != name}]
        if isinstance(prepared[name], Tensor) and prepared[name].ndim:
            others.append({**prepared, name: change_values(prepared[name])})
        return any(sum_outputs(probe.runner, other) != base for other in others)

    columns = [name for name in names if not has_effect(name)]
    if not columns:
        return
    column, verb, them = ("column", "has", "it") if len(columns) == 1 else ("columns", "have", "them")
    warn_user(
        f"The {column} {join_names(columns)} {verb} no effect on '{model.name}': its forward does not name {them}, and"
        f" nothing changes without {them}. Leave {them} out, or use a name that forward has:"
        f" {join_names(list_names(model.module))}."
    )


def explain_inputs(dataset: Dataset, sample: int) -> str:
    """Return which samples of the data have NaN or infinite numbers, and what to do; "" if this sample has none.

    All samples are looked at if they are in memory, else this one.
    """
    if not _find_not_finite(read_samples(dataset, [sample])).any():
        return ""
    bad = (
        np.flatnonzero(_find_not_finite(dataset.inputs))
        if isinstance(dataset.inputs, (Tensor, np.ndarray))
        else [sample]
    )
    names = [str(i) if dataset.ids is None else f"{i} ('{dataset.ids[i]}')" for i in map(int, bad)]
    which = f"{len(bad)} of its {len(dataset)} samples" if len(bad) != 1 else "a sample"
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"dataset '{dataset.name}' has NaN or infinite numbers in {which}, {listed}, and so have their activations."
        " Leave these samples out, or replace the missing numbers before they reach the model"
    )


def _find_not_finite(inputs: Any) -> np.ndarray:
    """Return which samples have a number that is NaN or infinite, as bool (n,); of columns, in any of them."""
    found = np.zeros(1, bool)
    for column in inputs.values() if isinstance(inputs, Mapping) else [inputs]:
        if isinstance(column, (Tensor, np.ndarray)):
            values = to_numpy(column)
            if values.dtype.kind in "fc" and values.ndim:
                found = found | ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return found
