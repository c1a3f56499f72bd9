"""Stack samples into one batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from repsim_nb.inputs.batches import is_graph, join_graphs
from repsim_nb.support.errors import as_clause

from .pillow import GREY, decode_picture, is_pillow, iterate_pictures


def describe_items(items: Iterable[Any]) -> str:
    """Describe the items of a list in a few words: '(3, 4), (5, 4)' or 'str, int'."""

    def describe(item: Any) -> str:
        if is_pillow(item):
            return f"{item.height}×{item.width} in mode {item.mode}"
        return (
            str(tuple(item.shape))
            if hasattr(item, "shape")
            else f"{len(item)} values"
            if isinstance(item, (list, tuple))
            else type(item).__name__
        )

    return ", ".join(dict.fromkeys(map(describe, items)))


def explain_padding(items: Any) -> str:
    """Return how to pad samples that differ in their first axis only, such as sounds or ids of tokens; else ""."""
    items = (
        [np.asarray(item) if _is_numbers(item) else item for item in items] if isinstance(items, (list, tuple)) else []
    )
    arrays = [item for item in items if isinstance(item, (np.ndarray, Tensor))]
    shapes = {tuple(item.shape) for item in arrays}
    if (
        len(shapes) < 2
        or len(arrays) < len(items)
        or len({shape[1:] for shape in shapes}) > 1
        or len(min(shapes)) not in (1, 2)
    ):
        return ""
    if all(item.ndim == 1 and str(item.dtype).removeprefix("torch.").startswith(("int32", "int64")) for item in arrays):
        return (
            ". If they are ids of tokens, let the tokenizer pad them, tokenizer(texts, padding=True,"
            " return_tensors='pt'); for rows of ids give a DataLoader whose collate_fn pads them and returns the"
            " attention_mask, such as transformers.DataCollatorWithPadding(tokenizer)"
        )
    return (
        ". Pad them to one length, and give them with the mask in a dict whose names are arguments of the model's"
        " forward: n = max(map(len, samples)); {'input_values': np.stack([np.pad(x, [(0, n - len(x))] + [(0, 0)] *"
        " (x.ndim - 1)) for x in samples]), 'attention_mask': np.stack([np.arange(n) < len(x) for x in"
        " samples]).astype(int)}. For sounds the feature extractor of a model of transformers returns this dict:"
        " extractor(samples, sampling_rate=16000, padding=True, return_tensors='pt')"
    )


def stack_samples(
    items: Sequence[Any],
    collate: Callable[[Any], Any] = default_collate,
    numbers: Sequence[Any] | None = None,
    colored: Collection[str] = (),
) -> Any:
    """Stack samples into one batch.

    With torch's default_collate, they may also be pictures of Pillow, graphs, lists of numbers, and dicts with None.
    numbers: the number of each sample, for errors; None: they count within the batch.  colored: see `decode_picture`.
    """
    of_batch, numbers = ("", numbers) if numbers is not None else (" of a batch", range(len(items)))
    kinds = {image.mode in GREY for item in items for _, image in iterate_pictures(item)}
    absent: dict[str, None] = {}
    if collate is default_collate:
        firsts = [item[0] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
        if firsts and all(map(is_graph, firsts)):
            return join_graphs(firsts) if firsts[0] is items[0] else (join_graphs(firsts), [item[1] for item in items])
        items = [
            _arrays_for_lists(decode_picture(item, f"sample {number}{of_batch}", colored))
            for number, item in zip(numbers, items, strict=True)
        ]
        if items and all(isinstance(item, dict) for item in items):
            absent = dict.fromkeys(_find_absent(items, numbers))
            items = [{name: part for name, part in item.items() if name not in absent} for item in items]
    try:
        batch = collate(items)
    except Exception as error:
        inner = [item[0] if isinstance(item, tuple) and item else item for item in items]
        names = next((list(part) for part in inner if isinstance(part, Mapping) and part), [])
        columns = [[part.get(name) if isinstance(part, Mapping) else part for part in inner] for name in names] or [
            inner
        ]
        parts = next((column for column in columns if len({describe_items([part]) for part in column}) > 1), columns[0])
        sorts = [describe_items([part]) for part in parts]
        odd = next((at for at, sort in enumerate(sorts) if sort != sorts[0]), None)
        which = sorts[0] if odd is None else f"sample {numbers[0]} is {sorts[0]}, sample {numbers[odd]} is {sorts[odd]}"
        mixed = " (for grey pictures next to colored ones: picture.convert('RGB'))" if len(kinds) > 1 else ""
        raise ValueError(
            f"samples cannot be stacked into one batch ({which}): {as_clause(error)}. Give them one shape{mixed}, or"
            f" give a DataLoader whose collate_fn joins them{explain_padding(parts)}."
        ) from error
    return batch | absent if absent else batch


def _arrays_for_lists(item: Any) -> Any:
    """Convert lists of numbers to arrays; default_collate would take the first items of all lists for one sample."""
    if isinstance(item, Mapping):
        return {name: _arrays_for_lists(np.asarray(part) if _is_numbers(part) else part) for name, part in item.items()}
    if isinstance(item, tuple) and item:
        parts = tuple(_arrays_for_lists(part) if isinstance(part, (list, Mapping)) else part for part in item)
        return type(item)(*parts) if hasattr(item, "_fields") else parts
    return np.asarray(item) if isinstance(item, list) and _is_numbers(item) else item


def _is_numbers(part: Any) -> bool:
    try:
        return isinstance(part, (list, tuple)) and np.asarray(part).dtype.kind in "biufc"
    except (TypeError, ValueError):  # they differ in length
        return False


def _find_absent(items: Sequence[dict[str, Any]], numbers: Sequence[Any]) -> list[str]:
    """Find the columns that are None in all samples.

    ValueError if samples have different columns: default_collate takes those of the first.
    """
    for number, item in zip(numbers, items, strict=True):
        if item.keys() != items[0].keys():
            raise ValueError(
                f"sample {number} has the columns {list(item)}, and sample {numbers[0]} has {list(items[0])}. All"
                " samples need the same columns."
            )
    found = []
    for name in items[0]:
        empty = [item[name] is None for item in items]
        if any(empty) and not all(empty):
            raise ValueError(
                f"column '{name}' is None in sample {numbers[empty.index(True)]}, and not in sample"
                f" {numbers[empty.index(False)]}. Leave it out of all samples, or fill it in."
            )
        found += [name] if all(empty) else []
    return found
