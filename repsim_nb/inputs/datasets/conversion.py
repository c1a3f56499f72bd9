"""Convert whatever a user gives as inputs: to arrays, lists, columns, or inputs that are read lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from repsim_nb.inputs.batches import is_graph, is_graphs
from repsim_nb.support.dimensions import is_of

from .checks import check_dense, check_no_single_graph, check_pair, check_unmasked
from .collecting import collect_batches, from_list, to_inputs
from .inputs import LazyInputs
from .loaders import SHUFFLING, Graphs, Samples, check_loader, find_targets, from_loader, from_unbatched
from .pictures import from_folder
from .rereading import Items, hash_batch, make_sample_hash, read_twice
from .splitting import split_batch
from .stacking import stack_samples


def convert_inputs(given: Any, size: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """Convert a user's inputs; return (inputs that have `len` and slices, targets or None, classes)."""
    if isinstance(given, (str, Path)):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"there is no folder '{given}' to read images from."
                + (" To use strings as inputs, give a list, ['...']." if isinstance(given, str) else "")
            )
        return from_folder(folder, size)
    if size is not None:
        raise ValueError(f"size is for a folder of images, and the inputs are {type(given).__name__}. Leave it out.")
    inputs, targets = _to_inputs(given)
    graphs = isinstance(inputs, list) and inputs and is_graph(inputs[0])
    return Graphs(inputs) if graphs else inputs, targets, ()


def _to_inputs(given: Any) -> tuple[Any, Any]:
    if isinstance(given, LazyInputs):
        return given, None
    check_dense(given)
    check_no_single_graph(given)
    if is_graphs(given):
        return to_inputs(given, None)
    if is_of(given, "pandas"):
        given = given.to_numpy()
    if isinstance(given, (set, frozenset)):
        raise ValueError("inputs must have an order; got a set. Give a list, sorted(...).")
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        if len(given.shape) == 0:
            raise ValueError(f"inputs need samples along their first axis; got one number, {given!r}.")
        if getattr(given.dtype, "kind", "") in ("O", "U", "T"):
            if given.ndim > 1:
                raise ValueError(
                    f"an array of inputs must be of numbers; got {given.dtype} of shape {tuple(given.shape)}. Give"
                    " strings as a list."
                )
            return from_list(given.tolist())
        return check_unmasked(given), None
    if isinstance(given, Mapping):
        return to_inputs(*split_batch(given))
    if isinstance(given, (list, tuple)):
        return from_list(given)
    if isinstance(given, TensorDataset) and len(given.tensors) <= 2:
        if len(given.tensors) == 2:
            check_pair(*given.tensors)
        return given.tensors[0], given.tensors[1] if len(given.tensors) == 2 else None
    if isinstance(given, DataLoader):
        check_loader(given)
        if isinstance(given.dataset, IterableDataset):
            return _read_stream(
                given.dataset,
                given.batch_size,
                stack_samples if given.collate_fn is default_collate else given.collate_fn,
            )
        once = given.batch_sampler is None and not isinstance(given.sampler, SHUFFLING)
        return from_unbatched(given) if once else from_loader(given)
    if isinstance(given, IterableDataset):
        return _read_stream(given, 256, stack_samples)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, (bytes, bytearray)):
        return Samples(given), find_targets(given)
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray)):
        return read_twice(given, hash_batch, lambda items: collect_batches(items, called=type(given).__name__))
    raise ValueError(
        "inputs must be an array or tensor (n, ...), a list of str, a dict of arrays, a folder of images, a torch"
        f" Dataset, a DataLoader, or an iterable of batches; got {type(given).__name__}."
    )


def _read_stream(source: IterableDataset, batch_size: int | None, collate: Any) -> tuple[Any, Any]:
    """Read a stream in this process, since its samples cannot be divided among workers from outside.

    The loader gets its own generator, so that the global random state stays.
    """

    def read(items: Iterator[Any]) -> tuple[Any, Any]:
        loader = DataLoader(Items(items), batch_size, collate_fn=collate, generator=torch.Generator())
        return collect_batches(loader, called=type(source).__name__)

    return read_twice(source, make_sample_hash(collate, in_batches=batch_size is not None), read)
