"""What inputs must not be: sparse, nested, masked, one graph, columns of unlike length, a mask in place of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import is_graph, is_torch_geometric

PATCHES = {
    "pixel_values": "image_grid_thw",
    "pixel_values_videos": "video_grid_thw",
}  # the patches of all pictures, and (time, height, width) of each picture


def check_lengths(lengths: Mapping[str, int], columns: Mapping[str, Any]) -> None:
    """ValueError for columns of unlike length, with what to do."""
    if len(set(lengths.values())) < 2:
        return
    ones, most = [name for name, length in lengths.items() if length == 1], max(lengths.values())
    hint = ""
    if grid := next((grid for pixels, grid in PATCHES.items() if {pixels, grid} <= lengths.keys()), None):
        hint = (
            f". It holds {lengths[grid]} pictures, and their patches one after the other, so it is not known which"
            " belong to which sample. Have the processor make each batch: rs.load_model(model, preprocess=lambda rows:"
            " processor(text=[texts[row] for row in rows.tolist()], images=[images[row] for row in rows.tolist()],"
            " padding=True, return_tensors='pt')), and take np.arange(len(texts)) as the data"
        )
    elif ones:
        hint = (
            f". If '{ones[0]}' is the same for all samples, give one value and no column, {{'{ones[0]}': 10}}; else"
            f" give it {most} rows"
        )
    raise ValueError(f"a batch needs columns of one length; got {dict(lengths)}{hint}")


def check_pair(inputs: Any, targets: Any) -> None:
    """ValueError if the second of a pair is a mask: it would be left out, as targets are."""
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
            "the second of a pair are its targets, which no model is given, and these look like a mask: give a dict"
            " whose names are the arguments of the model's forward, {'input_ids': ids, 'attention_mask': mask}. If they"
            " are targets, leave them out, or give them as rs.Dataset(name, inputs, targets=...)"
        )


def check_dense(batch: Any) -> None:
    """ValueError for a nested tensor, whose samples are of unlike length and make no array, and for a sparse one."""
    if (isinstance(batch, Tensor) and batch.layout not in (torch.strided, torch.jagged)) or (
        hasattr(batch, "toarray") and hasattr(batch, "nnz")
    ):
        raise ValueError(
            "sparse inputs have no rows that a batch can be cut from: make them dense,"
            f" x.{'to_dense' if isinstance(batch, Tensor) else 'toarray'}()"
        )
    if isinstance(batch, Tensor) and batch.is_nested:
        raise ValueError(
            "nested tensors hold samples of unlike length, and rows of one length are needed: pad them,"
            " torch.nested.to_padded_tensor(x, 0.0), and give the mask along, {'x': padded, 'attention_mask': mask}"
        )


def check_no_single_graph(given: Any) -> None:
    """ValueError for one graph, and for graphs that change in time."""
    if is_graph(given):
        raise ValueError(
            f"one {type(given).__name__} is one graph, and its rows are nodes, which see each other through its edges:"
            " a data set is a list of graphs, [data, ...]. To compare the nodes of one graph, call the model yourself"
            " and give what its layers return, rs.compare(measure, {'layer': array of (nodes, features), ...})"
        )
    if is_torch_geometric(given, "TemporalData"):
        raise ValueError(
            "a TemporalData holds events, which follow each other and have no rows of their own: call the model"
            " yourself and give what its layers return to rs.compare"
        )


def check_unmasked(array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(
            "a masked array holds values that are not there, and a network needs them all: put some in with"
            " .filled(value)"
        )
    return array
