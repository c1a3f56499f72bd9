"""Choose a few samples of a data set, as different as possible, to try a model on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.datasets.columns import Columns
from repsim_nb.inputs.datasets.inputs import LazyInputs
from repsim_nb.inputs.pooling import find_masks, is_lengths_column
from repsim_nb.support.validation import to_numpy

CANDIDATES = 64  # evenly spread samples among which different ones are chosen
ENTRIES = 2**9  # the largest number of entries of a sample that are compared
WHOLE = 2**24  # entries of a column up to which the lengths of all its rows are counted


def pick_samples(dataset: Dataset, k: int) -> list[int]:
    """Return the numbers of k samples: the shortest, the longest if lengths differ, then samples far from each other.

    A data set of fewer samples gives some of them twice.
    """
    n, offset, inputs = len(dataset), 0, dataset.inputs
    parts = inputs.parts if isinstance(inputs, Columns) else []
    if len(parts) > 1 and not all("attention_mask" in part for part in parts):
        # batches of different shapes cannot be joined: the samples come from the largest
        sizes = np.diff(inputs.starts)
        offset, n = int(inputs.starts[sizes.argmax()]), int(sizes.max())
    candidates = offset + np.unique(np.linspace(0, n - 1, min(n, CANDIDATES)).round().astype(int))
    lengths = _lengths(inputs, offset, n)
    chosen: list[int] = []
    if lengths is not None and lengths.min() < lengths.max():
        chosen = [offset + int(lengths.argmin()), offset + int(lengths.argmax())]
    chosen += [row for row in _farthest(dataset, candidates, chosen, k) if row not in chosen]
    return [chosen[i % len(chosen)] for i in range(k)]


def put_shortest_first(numbers: list[int], prepared: Any) -> list[int]:
    """Return the same samples with the shortest first, judged by their prepared batch.

    Lengths come from masks, from ids that end in a run of padding, or from steps that are zero at the end.
    """
    lengths: np.ndarray | None
    masks = find_masks(prepared)
    columns = list(prepared.values()) if isinstance(prepared, Mapping) else [prepared]
    if masks:
        lengths = next(iter(masks.values())).sum(1).cpu().numpy()
    else:
        of_rows = (column for column in columns if isinstance(column, Tensor) and len(column.shape))
        found = (_lengths_of_prepared(column) for column in of_rows if column.shape[0] == len(numbers))
        lengths = next((some for some in found if some is not None and some.min() < some.max()), None)
    if lengths is None or len(lengths) != len(numbers) or lengths[0] == lengths.min():
        return numbers
    at = int(lengths.argmin())
    return [numbers[at], *numbers[:at], *numbers[at + 1 :]]


def _lengths_of_prepared(column: Tensor) -> np.ndarray | None:
    """Return the lengths of ids (n, tokens) or of steps (n, steps, p) that end in zeros; None for other columns."""
    if column.ndim == 2 and not column.is_floating_point():
        return _lengths_of_column(column, "")
    if column.ndim == 3 and column.is_floating_point() and column.layout == torch.strided:
        return column.shape[1] - (column.flip(1) == 0).all(2).int().cumprod(1).sum(1).cpu().numpy()
    return None


def pick_at_ends(dataset: Dataset, batch_size: int) -> list[int]:
    """Return samples at the ends of the first batch and of the data.

    An expert with a limited capacity has no room for the last samples of a batch.
    """
    inputs, n = dataset.inputs, len(dataset)
    if isinstance(inputs, Columns) and len(inputs.parts) > 1:
        return []
    last = min(batch_size, n) - 1
    return list(dict.fromkeys(row for row in [*range(last, last - 8, -1), n - 1, 0, 1] if 0 <= row < n))


def read_samples(dataset: Dataset, rows: Any) -> Any:
    """Return the inputs of these rows as one batch."""
    inputs, rows = dataset.inputs, np.asarray(rows)
    if isinstance(inputs, list):
        return [inputs[row] for row in rows]
    if isinstance(inputs, Tensor):
        return inputs[torch.as_tensor(rows, device=inputs.device)]
    return inputs[rows]


def _lengths(inputs: Any, offset: int, n: int) -> np.ndarray | None:
    """Return the length of each sample, as far as it can be found without a run; else None.

    Lengths are characters, real tokens, or the entries before a run of padding.
    """
    if isinstance(inputs, list):
        return np.array([len(text) for text in inputs])
    if isinstance(inputs, Columns):
        held = inputs[offset : offset + n]
        columns = {name: held[name] for name in inputs.names}
        masks = [name for name in columns if name.endswith("mask")] + [
            name for name in columns if is_lengths_column(name)
        ]
        for name in [*masks, *columns]:
            if (found := _lengths_of_column(columns[name], name)) is not None:
                return found
        return None
    if isinstance(inputs, LazyInputs):
        return getattr(inputs, "lengths", None)  # graphs have lengths
    return _lengths_of_column(inputs, "")


def _lengths_of_column(column: Any, name: str) -> np.ndarray | None:
    """Return the lengths of samples by one column: texts, a mask, lengths, or integers that end in padding."""
    if isinstance(column, list):
        return np.array([len(text) for text in column])
    if isinstance(column, Tensor):
        if column.dtype == torch.bfloat16 or column.is_floating_point():
            return None
        column = column.detach().cpu().numpy()
    if (
        column.dtype.kind not in "iub"
        or column.ndim > 2
        or column.size > WHOLE
        or (column.dtype == np.uint8 and column.ndim != 2)
    ):
        return None
    if column.ndim == 1:
        return column.astype(int) if is_lengths_column(name) else None
    if name.endswith("mask"):
        return column.astype(bool).sum(1) * (-1 if "padding" in name else 1)
    return column.shape[1] - (column[:, ::-1] == column[:, -1:]).cumprod(1).sum(1)


def _farthest(dataset: Dataset, candidates: np.ndarray, chosen: list[int], k: int) -> list[int]:
    """Choose k candidates, each the farthest from those before it.

    If inputs are not numbers in memory, they are evenly spread.
    """
    inputs, array = dataset.inputs, None
    if isinstance(inputs, Columns):
        first = inputs[candidates[:1]]
        numbers = [name for name in inputs.names if not isinstance(first[name], list) and not name.endswith("mask")]
        array = inputs[candidates][numbers[0]] if numbers else None
    elif not isinstance(inputs, (list, LazyInputs)):
        array = read_samples(dataset, candidates)
    if array is None or len(candidates) <= k:
        evenly = np.linspace(0, len(candidates) - 1, min(k, len(candidates))).round().astype(int)
        return candidates[evenly].tolist()
    x = to_numpy(array)
    x = x.reshape(len(x), -1)
    x = np.nan_to_num(x[:, :: -(-x.shape[1] // ENTRIES) or 1].real.astype(float), posinf=0, neginf=0)
    x /= np.abs(x).max(initial=0.0) or 1.0  # squares of large numbers would overflow
    picked = [int(np.flatnonzero(candidates == row)[0]) for row in chosen if row in candidates] or [0]
    distance = np.min([np.square(x - x[at]).sum(1) for at in picked], 0)
    while len(picked) < k:
        picked.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(x - x[picked[-1]]).sum(1))
        distance[picked] = -1.0
    return candidates[picked].tolist()
