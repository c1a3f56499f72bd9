"""Graphs of torch_geometric: those of a batch, and their targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor


def split_graphs(batch: Any) -> list[Any]:
    """The graphs of a `Batch`."""
    try:
        return batch.to_data_list()
    except RuntimeError as error:
        raise ValueError(f"this Batch cannot be taken apart into graphs ({error}): give a list of graphs") from error


def find_graph_targets(graphs: Sequence[Any]) -> np.ndarray | None:
    """The `y` of each graph, if it is one number in all of them."""
    found = [getattr(graph, "y", None) for graph in graphs]
    values = [y.reshape(-1).tolist() if isinstance(y, Tensor) else [y] for y in found]
    return (
        np.asarray([value[0] for value in values])
        if all(len(value) == 1 and isinstance(value[0], (bool, int, float)) for value in values)
        else None
    )
