"""Named columns in memory: `Columns`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import count_samples, find_label_column, is_option

from .inputs import Flat, LazyInputs, fingerprint_batch, fingerprint_inputs

NO_LABEL = -100  # fills labels of different lengths; losses ignore it


class Columns(LazyInputs):
    """Batches in memory that are dicts of arrays; neighbours of one shape are joined.

    Batches of different shapes stay separate: `batches` never crosses from one to the next, and a slice that does is
    padded with zeros on the right, which is sound only with an attention mask. Labels of different shapes do not
    separate batches: they are filled with -100, which losses ignore.
    options: values for all samples, by name; every slice contains them too.
    """

    in_memory = True

    def __init__(self, batches: Sequence[Mapping[str, Any]], options: Mapping[str, Any] | None = None) -> None:
        first = batches[0] if batches else {}
        self.options = (
            {name: value for name, value in first.items() if is_option(value)} if options is None else dict(options)
        )
        self.parts = list(
            _merge([{name: column for name, column in batch.items() if not is_option(column)} for batch in batches])
        )
        self.starts = np.cumsum([0, *(count_samples(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __repr__(self) -> str:
        what = [*(self.parts[0] if self.parts else ()), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{type(self).__name__}({len(self)} of {', '.join(what) or 'nothing'})"

    def __getitem__(self, key: Any) -> dict[str, Any]:
        rows = np.arange(len(self))[key]
        if np.ndim(rows) == 0:
            one = self[int(rows) : int(rows) + 1]
            several = {name for name, column in self.parts[0].items() if isinstance(column, Flat)}
            return {name: column if name in several or is_option(column) else column[0] for name, column in one.items()}
        pieces = self._pieces(rows)
        with self.name_owner():
            one = pieces[0] if len(pieces) == 1 else _pad_columns(pieces)
        return unflatten(one) | self.options

    @property
    def names(self) -> list[str]:
        """List the names of the columns with one row for each sample, except the labels."""
        first = self.parts[0] if self.parts else {}
        return [
            name for name, column in first.items() if not isinstance(column, Flat) and name != find_label_column(first)
        ]

    def _pieces(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return rows as few batches, each of one shape."""
        parts = np.searchsorted(self.starts, rows, side="right") - 1
        pieces = [{name: column[:0] for name, column in self.parts[0].items()}] if len(rows) == 0 else []
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(parts)) + 1) if len(rows) else ():
            part, within = self.parts[parts[run[0]]], rows[run] - self.starts[parts[run[0]]]
            # a slice copies nothing
            chosen = slice(within[0], within[-1] + 1) if (np.diff(within) == 1).all() else within
            pieces.append(
                {
                    name: [column[i] for i in within] if isinstance(column, list) else column[chosen]
                    for name, column in part.items()
                }
            )
        return list(_merge(pieces))

    def take(self, rows: np.ndarray) -> Columns:
        return Columns(self._pieces(rows), self.options)

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        """Yield batches that also end at multiples of batch_size.

        So a run that starts at such a multiple gets the same batches as one that starts at 0.
        """
        first = start
        while first < len(self):
            end = self.starts[np.searchsorted(self.starts, first, side="right")]
            last = min(first - first % batch_size + batch_size, int(end))
            yield first, last, self[first:last]
            first = last

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute a hash of the name, type, shape and bytes of every column, and of the options.

        labels: whether the column of labels counts.
        """
        digests = [fingerprint_batch(part, labels=labels) for part in self.parts]
        left_out = "" if labels or not self.parts else find_label_column({**self.parts[0], **self.options})
        options = [
            f"{name}:{fingerprint_inputs(value)}" for name, value in sorted(self.options.items()) if name != left_out
        ]
        return hashlib.blake2b(" ".join([*digests, *options]).encode(), digest_size=16).hexdigest()


def unflatten(batch: Any) -> Any:
    """Return a batch as a model takes it: all rows of a sample one after the other."""
    return (
        {name: column.values if isinstance(column, Flat) else column for name, column in batch.items()}
        if isinstance(batch, dict)
        else batch
    )


def _shapes(part: Mapping[str, Any]) -> dict[str, Any]:
    label = find_label_column(part)
    return {
        name: tuple(column.shape[1:]) if hasattr(column, "shape") else None
        for name, column in part.items()
        if name != label
    }


def _merge(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Join neighbours with columns of the same shapes."""
    group: list[dict[str, Any]] = []
    for part in parts:
        if group and _shapes(part) != _shapes(group[0]):
            yield _join_columns(group)
            group = []
        group.append(part)
    if group:
        yield _join_columns(group)


def _join_columns(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    label = find_label_column(group[0])
    return {name: (_join_labels if name == label else join)([part[name] for part in group]) for name in group[0]}


def join(pieces: Sequence[Any]) -> Any:
    """Concatenate arrays, tensors or lists."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], list):
        return [item for piece in pieces for item in piece]
    if isinstance(pieces[0], Flat):
        return Flat(join([piece.values for piece in pieces]), np.concatenate([piece.sizes for piece in pieces]))
    return torch.cat(list(pieces)) if isinstance(pieces[0], Tensor) else np.concatenate(pieces)


def _join_labels(pieces: Sequence[Any]) -> Any:
    """Concatenate labels, whose shapes may differ: numbers are filled with -100, anything else becomes a list."""
    if len(pieces) == 1 or all(isinstance(piece, list) for piece in pieces):
        return join(pieces)
    arrays = [piece for piece in pieces if not isinstance(piece, list)]
    if (
        len(arrays) < len(pieces)
        or len({piece.ndim for piece in arrays}) > 1
        or len({tuple(piece.shape[2:]) for piece in arrays}) > 1
    ):
        return [one for piece in pieces for one in piece]
    tensors = [piece if isinstance(piece, Tensor) else torch.from_numpy(np.asarray(piece)) for piece in arrays]
    whole = _fill_up(tensors, NO_LABEL)
    return whole if isinstance(pieces[0], Tensor) else whole.numpy()


def _fill_up(pieces: Sequence[Tensor], value: int) -> Tensor:
    """Concatenate pieces (n, length, ...) of different lengths, filled with a value on the right."""
    length = max(piece.shape[1] for piece in pieces) if pieces[0].ndim > 1 else 0
    return torch.cat(
        [
            (
                torch.nn.functional.pad(p, (0, 0) * (p.ndim - 2) + (0, length - p.shape[1]), value=value)
                if p.ndim > 1
                else p
            )
            for p in pieces
        ]
    )


def _pad_columns(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not all("attention_mask" in part for part in parts):
        shapes = sorted({f"{_shapes(part)}" for part in parts})
        raise ValueError(
            f"rows lie in batches of different shapes ({' and '.join(shapes[:2])}), and without an 'attention_mask'"
            " they cannot be padded to one shape. Pad them all to one length when you create the batches."
        )
    padded, label = {}, find_label_column(parts[0])
    for name, column in parts[0].items():
        if name == label or isinstance(column, (list, Flat)):
            padded[name] = (_join_labels if name == label else join)([part[name] for part in parts])
            continue
        whole = _fill_up([torch.as_tensor(part[name]) for part in parts], 0)
        padded[name] = whole if isinstance(column, Tensor) else whole.numpy()
    return padded
