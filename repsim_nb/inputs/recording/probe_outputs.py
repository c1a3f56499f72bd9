"""What one forward pass of the probe gave: the output of each call of each module."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.batches import is_graphs
from repsim_nb.inputs.models.axes import Axes
from repsim_nb.inputs.models.running import capture, forward
from repsim_nb.inputs.pooling import Layout

from .row_agreement import typical_size

# of a module's output: an item of a tuple, a field of a dataclass, or the tensor that stands for all of it
Part = int | str | None
ModuleCall = tuple[str, int, Part]  # a module's name, which of its calls in a pass, and which part of what it gave


@dataclass(frozen=True)
class Sizes:
    """The sizes of a batch: n samples, its masks by name, and the shapes of the columns with a second axis.

    parts: of graphs, how many nodes and edges they have.  ids: the columns of integers (n, tokens).
    """

    n: int
    masks: Mapping[str, Tensor]
    columns: Mapping[str, tuple[int, ...]]
    parts: Mapping[str, int] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()

    @property
    def one_text(self) -> bool:
        """Is there one mask, and one column that it can speak of?"""
        return len(self.masks) == 1 and sum(name not in self.masks for name in self.columns) == 1


@dataclass
class Output:
    """What one call of a module gave in a pass.

    shape, axes, address: of its tensor.  problem: why it cannot be recorded, or "".  value: a copy of the tensor, until
    it is known how it lies.
    layout: how it lies, once that is known.  plain: the same without a mask.  candidates: mask -> how it may lie with
    this one.  kin: mask -> the inputs that it speaks of whose tokens these are (None: not known).  certain: is that
    enough?  first_of: how many tensors the tuple has that it is the first of.
    no_logits: of what the whole model returns, why it is no matrix of logits.  scale: of the values of which the rows
    are means, by feature.  rows: an array (rows, p) for each sample.
    """

    place: int
    shape: tuple[int, ...] = ()
    axes: Axes = ()
    address: int = 0
    problem: str = ""
    value: Tensor | None = None
    layout: Layout | None = None
    plain: Layout = field(default_factory=Layout)
    candidates: dict[str, Layout] = field(default_factory=dict)
    kin: dict[str, frozenset[str] | None] = field(default_factory=dict)
    certain: bool = False
    first_of: int = 1
    no_logits: str = ""
    scale: np.ndarray | None = None
    rows: list[np.ndarray] = field(default_factory=list)

    @functools.cached_property
    def size(self) -> float:
        """The root mean square of the rows."""
        return typical_size(self.rows)


@dataclass(frozen=True)
class RecordableLayer:
    """A layer that can be recorded.

    shape, dtype: of one row.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one
    for every real token.
    layout: how its output lies.  part: which part of the module's output it is.  size: the root mean square of its
    values.
    expected: sample -> its rows (rows, p), as the probe saw them.  no_logits: of an output, why it cannot be compared
    as logits.
    scale: how large the values are of which a row's numbers are means; None if they are no means.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    place: int
    rows: int | None = 1
    layout: Layout = field(default_factory=Layout)
    part: Part = None
    size: float = 0.0
    expected: Mapping[int, np.ndarray] = field(default_factory=dict)
    no_logits: str = ""
    scale: np.ndarray | None = None


@dataclass
class Pass:
    """A batch that ran, by the numbers of its samples. parts: of each call of a module. stopped: the error that ended
    it early.
    """

    samples: list[int]
    prepared: Any
    masks: Mapping[str, Tensor]
    given: dict[ModuleCall, Output] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    parts: dict[tuple[str, int], list[Part]] = field(default_factory=dict)
    stopped: Exception | None = None

    @property
    def columns(self) -> Mapping[str, Any]:
        """The inputs by name; "" if they have none."""
        return self.prepared if isinstance(self.prepared, Mapping) else {"": self.prepared}

    @functools.cached_property
    def sizes(self) -> Sizes:
        parts = {"nodes": self.prepared.num_nodes, "edges": self.prepared.num_edges} if is_graphs(self.prepared) else {}
        tensors = {
            name: column for name, column in self.columns.items() if isinstance(column, Tensor) and column.ndim > 1
        }
        ids = frozenset(
            name
            for name, column in tensors.items()
            if column.ndim == 2 and not (column.is_floating_point() or column.is_complex())
        )
        return Sizes(
            len(self.samples), self.masks, {name: tuple(column.shape) for name, column in tensors.items()}, parts, ids
        )


@dataclass(frozen=True)
class Runner:
    """Runs prepared batches through a model and calls `note(name, number of the call, output)` for the modules asked
    for.

    parts: the names of all modules that hooks can see.  errors: a context that words the model's errors as ValueError.
    """

    module: nn.Module
    place: torch.device
    parts: list[str]
    errors: Callable[[Any, Any], AbstractContextManager[None]]

    def __call__(
        self, prepared: Any, names: list[str], note: Callable[[str, int, Any], None], batch: Any = None
    ) -> tuple[Counter[str], Exception | None]:
        """-> how often each module ran, and the error that ended the pass, or None."""
        calls: Counter[str] = Counter()

        def count(name: str, out: Any) -> None:
            calls[name] += 1
            note(name, calls[name], out)

        try:
            with capture(self.module, names, count), self.errors(prepared if batch is None else batch, prepared):
                forward(self.module, prepared, self.place)
        except ValueError as error:
            return calls, error
        return calls, None
