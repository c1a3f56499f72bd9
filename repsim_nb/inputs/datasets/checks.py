"""Checks of inputs: not sparse, nested, masked, one graph, columns of several lengths, a mask as targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import is_graph
from repsim_nb.support.dimensions import is_of

# the patches of all pictures, and (time, height, width) of each picture
PATCHES = {"pixel_values": "image_grid_thw", "pixel_values_videos": "video_grid_thw"}


def check_lengths(lengths: Mapping[str, int]) -> None:
    """Raise a ValueError if columns differ in length."""
    if len(set(lengths.values())) < 2:
        return
    ones, most = [name for name, length in lengths.items() if length == 1], max(lengths.values())
    hint = ""
    if grid := next((grid for pixels, grid in PATCHES.items() if {pixels, grid} <= lengths.keys()), None):
        hint = (
            f". It has {lengths[grid]} pictures with their patches one after the other, so the patches of a sample are"
            " not known. Let the processor create each batch: rs.load_model(model, preprocess=lambda rows:"
            " processor(text=[texts[row] for row in rows.tolist()], images=[images[row] for row in rows.tolist()],"
            " padding=True, return_tensors='pt')), and give np.arange(len(texts)) as the data"
        )
    elif ones:
        hint = (
            f". If '{ones[0]}' is the same for all samples, give one value and no column, {{'{ones[0]}': 10}};"
            f" otherwise give it {most} rows"
        )
    raise ValueError(f"a batch needs columns of one length; got {dict(lengths)}{hint}.")


def check_pair(inputs: Any, targets: Any) -> None:
    """Raise a ValueError if the second of a pair is a mask: as targets it would be left out."""
    x, mask = (one if isinstance(one, (Tensor, np.ndarray)) else None for one in (inputs, targets))
    if x is None or mask is None or mask.ndim != 2 or tuple(x.shape[:2]) != tuple(mask.shape) or 0 in mask.shape:
        return
    x_dtype, mask_dtype = (str(one.dtype).removeprefix("torch.") for one in (x, mask))
    if not (x.ndim == 2 and x_dtype.startswith(("int", "uint"))) and x.ndim != 3:
        return
    values = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
    steps = np.diff((values != 0).astype(np.int8), axis=1)
    at_one_end = bool((steps <= 0).all() or (steps >= 0).all())
    if at_one_end and np.isin(values, (0, 1)).all() and (x.ndim == 2 or mask_dtype == "bool"):
        raise ValueError(
            "the second of a pair is taken as targets, which no model gets, and these look like a mask. Give a dict"
            " whose names are the arguments of the model's forward, {'input_ids': ids, 'attention_mask': mask}. If"
            " they are targets, leave them out, or give them as rs.Dataset(name, inputs, targets=...)."
        )


def check_dense(batch: Any) -> None:
    """Raise a ValueError for a nested tensor, whose samples differ in length, and for a sparse one."""
    if (isinstance(batch, Tensor) and batch.layout not in (torch.strided, torch.jagged)) or (
        hasattr(batch, "toarray") and hasattr(batch, "nnz")
    ):
        raise ValueError(
            "inputs must be dense; got a sparse matrix. Convert them,"
            f" x.{'to_dense' if isinstance(batch, Tensor) else 'toarray'}()"
        )
    if isinstance(batch, Tensor) and batch.is_nested:
        raise ValueError(
            "inputs must have rows of one length; got a nested tensor. Pad it, torch.nested.to_padded_tensor(x, 0.0),"
            " and give the mask too, {'x': padded, 'attention_mask': mask}."
        )


def check_no_single_graph(given: Any) -> None:
    """Raise a ValueError for one graph, and for graphs that change in time."""
    if is_graph(given):
        raise ValueError(
            f"one {type(given).__name__} is one graph, and its rows are nodes, which depend on each other through its"
            " edges. A data set is a list of graphs, [data, ...]. To compare the nodes of one graph, call the model"
            " yourself and give the outputs of its layers, rs.compare(measure, {'layer': array of (nodes, features),"
            " ...})."
        )
    if is_of(given, "torch_geometric", "TemporalData"):
        raise ValueError(
            "a TemporalData has events, which depend on each other and are no separate samples. Call the model yourself"
            " and give the outputs of its layers to rs.compare."
        )


def check_unmasked(array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(
            "a masked array has missing values, and a model needs all values. Fill them with .filled(value)."
        )
    return array
