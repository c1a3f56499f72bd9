"""Split a batch into inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from repsim_nb.inputs.batches import find_label_column, is_graph, is_graphs, is_option, join_graphs

from .checks import PATCHES, check_dense, check_lengths, check_no_single_graph, check_pair, check_unmasked
from .inputs import Flat
from .pillow import decode_label, decode_picture, is_pillow
from .stacking import describe_items, explain_padding


def split_batch(batch: Any) -> tuple[Any, Any]:
    """Split a batch into (inputs, targets or None).

    A pair is both; the column 'labels' or 'label' of a dict is the targets, and also stays in the inputs.
    """
    if isinstance(batch, Mapping):
        return _split_columns(batch)
    if isinstance(batch, list) and batch and all(map(is_pillow, batch)):
        return stack_items(batch, "a batch", ""), None
    if isinstance(batch, (tuple, list)) and batch and all(map(is_graph, batch)):
        return join_graphs(batch), None
    if isinstance(batch, (tuple, list)) and not is_strings(batch):
        if len(batch) not in (1, 2):
            raise ValueError(
                f"a batch must be inputs, or a pair (inputs, targets); got a {type(batch).__name__} of {len(batch)}"
                " parts. Give several inputs as a dict, whose names are the arguments of the model's forward."
            )
        if len(batch) == 2:
            check_pair(*batch)
        return (_to_batch(batch[0]), None if len(batch) == 1 else batch[1])
    return _to_batch(batch), None


def _split_columns(batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """Split a dict into columns with a row for each sample, labels, and options for all samples."""
    for name, column in batch.items():
        check_dense(column)
        if not isinstance(name, str):
            raise ValueError(
                f"the columns of a dict must have the names of arguments of the model's forward; got the name {name!r},"
                f" which is {type(name).__name__}."
            )
    options = {name: value for name, value in batch.items() if is_option(value)}
    if options and len(options) == len(batch):
        name, value = next(iter(options.items()))
        raise ValueError(
            f"column '{name}' needs samples along its first axis; got {_describe(value)}. One value for all samples"
            " needs a column of samples next to it."
        )
    label = find_label_column(batch)
    columns = {
        name: _to_column(batch, name, column) for name, column in batch.items() if name not in options and name != label
    }
    columns = _find_flat(columns)
    targets = batch[label] if label else None
    if label and label not in options:
        columns[label] = _to_labels(label, targets)
    check_lengths({name: len(column) for name, column in columns.items()})
    only = next(iter(columns.values()), None)
    strings = (
        isinstance(only, list) and not options.keys() - {label} and not columns.keys() - {next(iter(columns)), label}
    )
    return (only if strings else columns | options), targets


def _to_column(batch: Mapping[str, Any], name: str, column: Any) -> Any:
    if not hasattr(column, "shape") and not is_strings(column):
        column = stack_items(
            column,
            f"column '{name}'",
            "a tokenizer or a feature extractor returns them with padding=True, return_tensors='pt'",
        )
    if type(batch).__name__ == "BatchEncoding" and name == "input_ids" and len(column.shape) == 1:
        raise ValueError(
            "the tokenizer got one text, so its ids have no samples along their first axis. Give it a list,"
            " tokenizer([text, ...], padding=True)."
        )
    return check_unmasked(column)


def _to_labels(name: str, column: Any) -> Any:
    """Convert a column of labels to an array if possible, else to a list."""
    if hasattr(column, "shape"):
        return check_unmasked(column)
    if isinstance(column, Mapping) or not hasattr(column, "__len__"):
        raise ValueError(f"column '{name}' must have a label for each sample; got {type(column).__name__}.")
    items = [decode_label(one) for one in column]
    try:
        array = np.asarray(
            [np.asarray(one) for one in items] if items and all(isinstance(one, Tensor) for one in items) else items
        )
    except (TypeError, ValueError):  # they differ in length
        return items
    return array if array.dtype.kind in "biufc" else items


def _find_flat(columns: dict[str, Any]) -> dict[str, Any]:
    """Convert patches of pictures to a column with several rows for each sample, if each sample has one picture."""
    found = {}
    for pixels, grid in PATCHES.items():
        others = {len(column) for name, column in columns.items() if name not in PATCHES}
        if (
            pixels in columns
            and grid in columns
            and others == {len(columns[grid])}
            and not isinstance(columns[grid], list)
        ):
            sizes = np.asarray(columns[grid]).prod(1) if np.ndim(columns[grid]) == 2 else np.zeros(0)
            if sizes.sum() == len(columns[pixels]) != len(columns[grid]):
                found[pixels] = Flat(columns[pixels], sizes)
    # the first column has a row for each sample
    return {name: column for name, column in columns.items() if name not in found} | found


def _to_batch(batch: Any) -> Any:
    check_dense(batch)
    check_no_single_graph(batch)
    if isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and batch and all(map(is_graph, batch))):
        return split_batch(batch)[0]
    if is_graphs(batch):
        return batch
    if isinstance(batch, (tuple, list)):
        return list(batch) if is_strings(batch) else stack_items(batch, "a batch", "")
    if np.ndim(batch) == 0 or not hasattr(batch, "shape"):
        raise ValueError(f"a batch must have samples along its first axis; got {_describe(batch)}.")
    return check_unmasked(batch)


def _describe(batch: Any) -> str:
    return (
        f"one number, {batch!r}" if hasattr(batch, "shape") or isinstance(batch, (int, float)) else type(batch).__name__
    )


def is_strings(items: Any) -> bool:
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)


def stack_items(items: Any, what: str, hint: str) -> np.ndarray:
    """Stack a list (of lists) of numbers, or of pictures of Pillow, into one array."""
    if isinstance(items, Mapping):
        raise ValueError(
            f"{what} is a dict. Give its columns separately and join them into a dict in a preprocess,"
            " rs.load_model(model, preprocess=lambda batch: {...})."
        )
    if hasattr(items, "column_names"):
        raise ValueError(f"{what} is a data set of its own ({type(items).__name__}). Give one column.")
    if isinstance(items, (list, tuple)) and any(map(is_pillow, items)):
        items = [np.asarray(decode_picture(item, f"picture {number} of {what}")) for number, item in enumerate(items)]
    try:
        array = np.asarray(items)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biufc":
        advice = "" if what.startswith("column") else explain_padding(items)
        raise ValueError(
            f"{what} must be an array, or lists of numbers of one length{f'; {hint}' if hint else ''}. Got"
            f" {describe_items(items)}{advice}."
        )
    return array
