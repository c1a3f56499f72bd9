"""A batch of inputs: columns with a row for each sample, options, a column of labels, or graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from repsim_nb.support.dimensions import is_of
from repsim_nb.support.errors import as_clause

# a column of this name holds targets; it is an argument of a model only if the model's forward names it
LABELS = ("labels", "label")


def is_option(value: Any) -> bool:
    """Return whether a value of a dict is the same for all samples: one number, a truth value, a string, None."""
    return (
        value is None
        or isinstance(value, (bool, int, float, complex, str, np.generic))
        or (hasattr(value, "dtype") and len(value.shape) == 0)
    )


def find_label_column(batch: Any) -> str:
    """Find the column of a batch that contains the targets.

    Returns "" if there is none, or if it is the only column, and so the input.
    """
    if not isinstance(batch, Mapping):
        return ""
    columns = [name for name, column in batch.items() if not is_option(column)]
    return next((name for name in LABELS if name in batch and any(other != name for other in columns)), "")


def count_samples(batch: Any) -> int:
    """Return the number of samples in a batch."""
    columns = [column for column in batch.values() if not is_option(column)] if isinstance(batch, Mapping) else [batch]
    return len(columns[0]) if columns else 0


def check_batch_size(batch: Any, first: int, last: int, dataset: str) -> None:
    """Raise ValueError unless a batch of a data set has samples first to last, without the last."""
    if (came := count_samples(batch)) != last - first:
        raise ValueError(
            f"A batch must have one input for each sample; for samples {first} to {last}, data set '{dataset}' returned"
            f" {came} inputs in place of {last - first}. Check its inputs."
        )


def slice_batch(batch: Any, rows: slice) -> Any:
    """Return some samples of a batch."""
    if isinstance(batch, Mapping):
        return {name: column if is_option(column) else column[rows] for name, column in batch.items()}
    return batch[rows]


# -- graphs of torch_geometric, which is imported only when graphs are given


def is_graph(thing: Any) -> bool:
    """Return whether it is one graph: a `Data` or a `HeteroData`, and no `Batch`."""
    return is_of(thing, "torch_geometric", "Data", "HeteroData") and not is_graphs(thing)


def is_graphs(thing: Any) -> bool:
    """Return whether it is a `Batch` of graphs."""
    return is_of(thing, "torch_geometric", "Batch")


def join_graphs(graphs: Iterable[Any]) -> Any:
    """Join graphs to one `Batch`."""
    from torch_geometric.data import Batch

    return Batch.from_data_list(list(graphs))


def split_graphs(batch: Any) -> list[Any]:
    """Return the graphs of a `Batch`."""
    try:
        return batch.to_data_list()
    except RuntimeError as error:
        raise ValueError(
            f"this Batch cannot be taken apart into graphs ({as_clause(error)}): give a list of graphs"
        ) from error


def find_graph_targets(graphs: Sequence[Any]) -> np.ndarray | None:
    """Return the `y` of each graph, if it is one number in all of them."""
    found: list[Any] = [getattr(graph, "y", None) for graph in graphs]
    values = [y.reshape(-1).tolist() if hasattr(y, "detach") else [y] for y in found]
    if not all(len(value) == 1 and isinstance(value[0], (bool, int, float)) for value in values):
        return None
    return np.asarray([value[0] for value in values])
