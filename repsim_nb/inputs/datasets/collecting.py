"""Collect inputs in memory from a list of samples, or from batches that come one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from repsim_nb.inputs.batches import count_samples, find_graph_targets, is_graph, is_graphs, is_option, split_graphs

from .columns import Columns, join
from .inputs import fingerprint_batch
from .pillow import find_colored_places, is_pillow
from .splitting import is_strings, split_batch, stack_items
from .stacking import describe_items, explain_padding, stack_samples


def from_list(items: Sequence[Any]) -> tuple[Any, Any]:
    """Convert a list of samples; return (inputs, targets or None).

    Samples are strings, numbers, arrays, pictures, graphs, dicts, or (input, target) pairs.
    """
    if is_strings(items):
        return list(items), None
    if any(isinstance(item, str) for item in items):
        at, item = next((i, item) for i, item in enumerate(items) if not isinstance(item, str))
        raise ValueError(f"a list of strings must contain strings only; its item {at} is {type(item).__name__}.")
    if all(map(is_graph, items)):
        return to_inputs(list(items), None)
    if isinstance(items[0], (Tensor, Mapping, tuple)) or any(map(is_pillow, items)):
        return to_inputs(
            *split_batch(stack_samples(items, numbers=range(len(items)), colored=find_colored_places(items)))
        )
    return stack_items(items, "a list of samples", "for batches give a generator, (batch for batch in batches)"), None


def to_inputs(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """Convert a dict of columns to `Columns`, and a `Batch` to a list of graphs."""
    if is_graphs(inputs):
        inputs = split_graphs(inputs)
    if isinstance(inputs, list) and inputs and is_graph(inputs[0]):
        return inputs, find_graph_targets(inputs) if targets is None else targets
    return Columns([inputs]) if isinstance(inputs, dict) else inputs, targets


def collect_batches(batches: Iterable[Any], *, called: str = "") -> tuple[Any, Any]:
    """Read all batches once, into memory; return (inputs, targets or None).

    A str is one sample, and so is a graph. called: their type, for an error.
    """
    inputs: list[Any] = []
    targets: list[Any] = []
    for number, batch in enumerate(batches):
        one, of_one = ([batch], None) if isinstance(batch, str) or is_graph(batch) else split_batch(batch)
        one = split_graphs(one) if is_graphs(one) else one
        if of_one is not None and (
            is_option(of_one) or not hasattr(of_one, "__len__") or len(of_one) != count_samples(one)
        ):
            raise ValueError(
                f"batch {number} needs one target per sample: its inputs are {describe_items([one])}, its targets"
                f" {describe_items([of_one])}. A generator, or a DataLoader with batch_size=None, must yield batches,"
                " whose first axis is the samples."
            )
        if inputs and (type(one) is not type(inputs[0]) or (of_one is None) != (len(targets) == 0)):
            raise ValueError(
                f"batch {number} is {type(one).__name__} {'with' if of_one is not None else 'without'} targets, and"
                f" those before it are {type(inputs[0]).__name__} {'with' if targets else 'without'}. All batches must"
                " be of one kind."
            )
        if inputs and hasattr(one, "shape") and tuple(one.shape[1:]) != tuple(inputs[0].shape[1:]):
            raise ValueError(
                f"batch {number} has samples of shape {tuple(one.shape[1:])}, and batch 0 of"
                f" {tuple(inputs[0].shape[1:])}, so they are not one array{explain_padding([inputs[0][0], one[0]])}."
            )
        if isinstance(one, dict) and inputs:
            check_alike(one, inputs[0], f"batch {number}", "batch 0")
        inputs.append(one)
        if of_one is not None:
            targets.append(of_one)
    if not inputs:
        raise ValueError(
            f"the {called or type(batches).__name__} gave nothing: it is empty, or it was read before (a generator can"
            " be read only once; create it again)."
        )
    if isinstance(inputs[0], dict):
        whole = Columns(inputs)
    else:
        whole, found = to_inputs(join(inputs), None)
        targets = targets or ([] if found is None else [found])
    try:
        return whole, (
            join([t if isinstance(t, (Tensor, np.ndarray)) else np.asarray(t) for t in targets]) if targets else None
        )
    except (RuntimeError, TypeError, ValueError):  # of different lengths, such as tokens of texts: no class numbers
        return whole, None


def check_alike(one: Mapping[str, Any], first: Mapping[str, Any], what: str, what_first: str) -> None:
    """Raise a ValueError if a batch has other columns than the first, or another value for all samples."""
    if list(one) != list(first):
        raise ValueError(
            f"{what} has the columns {list(one)}, and {what_first} has {list(first)}. All batches need the same"
            " columns."
        )
    for name, value in one.items():
        options = is_option(value), is_option(first[name])
        if any(options) and (not all(options) or fingerprint_batch(value) != fingerprint_batch(first[name])):
            shown = [repr(part) if is_option(part) else "a column" for part in (first[name], value)]
            raise ValueError(
                f"'{name}' is {shown[0]} in {what_first} and {shown[1]} in {what}. A value for all samples must be the"
                " same in every batch; give other values as a column, one for each sample."
            )
