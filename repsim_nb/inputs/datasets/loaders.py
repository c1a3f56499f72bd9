"""Map-style torch datasets, DataLoaders and lists of graphs, read sample by sample when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from repsim_nb.inputs.batches import find_graph_targets, is_graph, is_option
from repsim_nb.inputs.fingerprints import fingerprint
from repsim_nb.inputs.randomness import preserve_random_states
from repsim_nb.support.dimensions import is_of
from repsim_nb.support.errors import as_clause

from .collecting import check_alike, collect_batches
from .columns import unflatten
from .inputs import LazyInputs, cut_spans, fingerprint_graphs
from .rereading import check_samples, find_fixed_order
from .splitting import split_batch
from .stacking import stack_samples

_A_COLUMN = ()  # stands for a column in the form of a batch, in which only options have a value
SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


class Samples(LazyInputs):
    """Samples of an object with `len` and `[i]`.

    They are tensors, arrays, pictures of Pillow, strings, graphs, (input, target) pairs, or dicts.
    collate: makes a batch of a list of samples.  options: those of the DataLoader that reads ahead (num_workers and so
    on). ValueError if samples differ when they are read again, or are random: about six are read twice
    (`rereading.check_samples`).
    """

    def __init__(
        self,
        source: Any,
        collate: Callable[[list[Any]], Any] = default_collate,
        rows: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        super().__init__(len(source))
        # the columns of a batch, and the options that are the same for all samples
        self.form: dict[str, Any] | None = None
        self.source, self.collate, self.options = source, collate, options
        self.rows = self.rows if rows is None else rows
        own_collate = collate is not default_collate
        self.random_labels = check_samples(
            type(source).__name__,
            self.rows,
            lambda row: _read_sample(source, row),
            self._joined,
            own_collate=own_collate,
        )

    def __repr__(self) -> str:
        return f"Samples({type(self.source).__name__}, {len(self)})"

    def read(self, rows: np.ndarray) -> Any:
        with preserve_random_states():  # a data set may seed the global generators with the number of a sample
            return self._joined([_read_sample(self.source, row) for row in rows], rows)

    def _joined(self, samples: list[Any], rows: Any) -> Any:
        batch = unflatten(split_batch(stack_samples(samples, self.collate, rows))[0])
        if isinstance(batch, dict):
            form = {name: value if is_option(value) else _A_COLUMN for name, value in batch.items()}
            if self.form is None:
                self.form = form
            else:
                check_alike(form, self.form, f"a batch from sample {rows[0]} on", "the first one that was read")
        return batch

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        if not self.options.get("num_workers"):
            yield from super().batches(start, batch_size)
            return
        own = torch.Generator()  # else torch would draw the workers' seeds from the global one
        cut = cut_spans(self, start, batch_size)
        source: Any = self  # it has the methods of a map-style Dataset
        options = {**self.options, "sampler": cut, "generator": own}  # a worker's task is a slice of these
        ahead: DataLoader[Any] = DataLoader(source, batch_size=None, collate_fn=_identity, **options)
        for span, batch in zip(cut, ahead, strict=True):
            yield span.start, span.stop, batch


class Graphs(Samples):
    """Graphs of torch_geometric in a list; a batch of them is a `Batch`."""

    in_memory = True

    @property
    def lengths(self) -> np.ndarray:
        """The number of nodes of each graph."""
        return np.array([int(self.source[row].num_nodes or 0) for row in self.rows])

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute a hash of all graphs, and of up to 16 batches of one."""
        return fingerprint(
            [fingerprint_graphs(self.source[row] for row in self.rows), super().fingerprint(labels=labels)]
        )


def _identity(batch: Any) -> Any:
    return batch


def _read_sample(source: Any, row: Any) -> Any:
    try:
        return source[int(row)]
    except Exception as error:
        raise ValueError(
            f"sample {row} of {type(source).__name__} could not be read: {type(error).__name__}: {as_clause(error)}."
        ) from error


def check_loader(loader: DataLoader) -> None:
    """Raise a ValueError for a loader of torch_geometric whose batches are no whole graphs, as a NeighborLoader."""
    if is_of(loader, "torch_geometric") and not is_of(loader, "torch_geometric", "DataLoader", "DataListLoader"):
        raise ValueError(
            f"the rows of a {type(loader).__name__} are nodes, which depend on each other through edges, or graphs in"
            " another form. A data set is a list of graphs, [data, ...]. To compare the nodes of one graph, call the"
            " model yourself and give the outputs of its layers, rs.compare(measure, {'layer': array of (nodes,"
            " features), ...})."
        )


def from_loader(loader: DataLoader) -> tuple[Samples, np.ndarray | None]:
    """Return a DataLoader's samples, in its order and by its collate_fn and workers.

    Batches are cut again, so drop_last drops nothing.
    """
    source: Any = loader.dataset
    batches: Any = loader.batch_sampler
    sampler = loader.sampler if batches is None else batches.sampler if type(batches) is BatchSampler else batches
    rows = None if isinstance(sampler, SequentialSampler) else _check_order(sampler)
    of_workers = ("multiprocessing_context", "prefetch_factor") if loader.num_workers else ()
    options = {name: getattr(loader, name) for name in ("num_workers", "worker_init_fn", "timeout", *of_workers)}
    targets = find_targets(source)
    kind = Graphs if isinstance(source, list) and source and all(map(is_graph, source)) else Samples
    return kind(source, loader.collate_fn, rows, **options), (
        targets if targets is None or rows is None else targets[rows]
    )


def from_unbatched(loader: DataLoader) -> tuple[Any, Any]:
    """Read all batches of a DataLoader with batch_size=None, into memory; return (inputs, targets or None)."""
    source, rows = loader.dataset, _check_order(loader.sampler)

    def joined(samples: list[Any], _rows: Any) -> Any:
        return split_batch(loader.collate_fn(samples[0]))[0]

    check_samples(type(source).__name__, rows, lambda row: _read_sample(source, row), joined, own_collate=False)
    with preserve_random_states():  # a DataLoader takes a seed for its workers
        return collect_batches(loader)


def _check_order(sampler: Any) -> np.ndarray:
    """Return the row numbers of a sampler; ValueError if it shuffles."""
    rows = None if isinstance(sampler, SHUFFLING) else find_fixed_order(lambda: _read_order(sampler))
    if rows is None:
        raise ValueError(
            f"the DataLoader shuffles ({type(sampler).__name__}): its samples are in another order each time, so rows"
            " of two models would not correspond. Create it with shuffle=False."
        )
    return rows


def _read_order(sampler: Any) -> np.ndarray:
    """Return the row numbers of a sampler, or of a sampler of batches."""
    return np.array(
        [row for some in sampler for row in (some if isinstance(some, (list, tuple)) else [some])], dtype=np.int64
    )


def find_targets(source: Any) -> np.ndarray | None:
    """Return the targets of a dataset that need no reading of samples; else None.

    They are `.targets`, a TensorDataset's second tensor, those of a Subset, or the `y` of graphs in memory.
    """
    if isinstance(source, list):
        return find_graph_targets(source) if source and all(map(is_graph, source)) else None
    if isinstance(source, Subset):
        whole = find_targets(source.dataset)
        return None if whole is None else whole[np.asarray(source.indices)]
    tensors: tuple[Any, ...] = getattr(source, "tensors", ())
    targets: Any = tensors[1] if len(tensors) == 2 else getattr(source, "targets", None)
    if is_of(source, "torch_geometric", "InMemoryDataset"):
        targets = getattr(source, "y", None)  # of all graphs
    if targets is None or not hasattr(targets, "__len__") or len(targets) != len(source):
        return None
    try:
        return targets.detach().cpu().numpy() if isinstance(targets, torch.Tensor) else np.asarray(targets)
    except (TypeError, ValueError):  # ragged, or of a type that NumPy lacks: no class numbers
        return None
