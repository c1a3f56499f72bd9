"""The results of one forward pass of the probe: the output of each call of each module."""

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

from repsim_nb.inputs.models.axes import Axes
from repsim_nb.inputs.models.running import capture, forward
from repsim_nb.inputs.pooling import Layout, NoSampleAxis

from .row_agreement import typical_size

# part of an output: an item of a tuple, a field of a dataclass, or None for the tensor that stands for all of it
Part = int | str | None
ModuleCall = tuple[str, int, Part]  # the name of a module, the number of its call in a pass, and the part of the output


@dataclass
class Output:
    """What one call of a module gave in a pass."""

    place: int  # in forward order
    shape: tuple[int, ...] = ()  # of its tensor
    axes: Axes = ()
    address: int = 0
    problem: str = ""  # why it cannot be recorded
    lacks_samples: bool = False  # whether that is because it has no axis of samples
    value: Tensor | None = None  # a copy of the tensor, until its layout is known
    layout: Layout | None = None  # where its samples, features and tokens are, once known
    plain: Layout = field(default_factory=Layout)  # the layout without a mask
    candidates: dict[str, Layout] = field(default_factory=dict)  # {mask: the layout with this mask}
    # {mask: the inputs of this mask whose tokens these are, None if unknown}
    mask_inputs: dict[str, frozenset[str] | None] = field(default_factory=dict)
    certain: bool = False  # whether that is enough to choose the mask
    first_of: int = 1  # the number of tensors in the tuple that it is the first of
    no_logits: str = ""  # for the output of the model: why it is no matrix of logits
    scale: np.ndarray | None = None  # the size of the values whose means the rows are, by feature
    rows: list[np.ndarray] = field(default_factory=list)  # an array (rows, p) for each sample

    def refuse(self, error: ValueError) -> None:
        """Note why it cannot be recorded."""
        self.problem, self.lacks_samples = str(error), isinstance(error, NoSampleAxis)

    @functools.cached_property
    def size(self) -> float:
        """The root mean square of the rows."""
        return typical_size(self.rows)


@dataclass(frozen=True)
class RecordableLayer:
    """A layer that can be recorded."""

    shape: tuple[int, ...]  # of one row
    dtype: np.dtype
    place: int  # in forward order
    rows: int | None = 1  # the number of rows of a sample; None: one for each real token
    layout: Layout = field(default_factory=Layout)  # where its samples, features and tokens are
    part: Part = None  # of the output of the module
    size: float = 0.0  # the root mean square of its values
    expected: Mapping[int, np.ndarray] = field(default_factory=dict)  # {sample: its rows (rows, p) in the probe}
    no_logits: str = ""  # for an output: why it cannot be compared as logits
    scale: np.ndarray | None = None  # the size of the values whose means the rows are; None if rows are no means


@dataclass
class Pass:
    """A batch that ran."""

    samples: list[int]  # their numbers
    prepared: Any
    masks: Mapping[str, Tensor]
    given: dict[ModuleCall, Output] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    parts: dict[tuple[str, int], list[Part]] = field(default_factory=dict)  # of the output of each call
    stopped: Exception | None = None  # the error that ended the pass early

    @property
    def columns(self) -> Mapping[str, Any]:
        """The inputs by name; "" if they have none."""
        return self.prepared if isinstance(self.prepared, Mapping) else {"": self.prepared}

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs with a second axis, by name."""
        tensors = {name: column for name, column in self.columns.items() if isinstance(column, Tensor)}
        return {name: tuple(column.shape) for name, column in tensors.items() if column.ndim > 1}


@dataclass(frozen=True)
class Runner:
    """Runs prepared batches and calls `note(name, number of the call, output)` for the given modules.

    parts: the names of all modules that hooks can see.  errors: a context that rewords errors of the model as
    ValueError.
    """

    module: nn.Module
    place: torch.device
    parts: list[str]
    errors: Callable[[Any, Any], AbstractContextManager[None]]

    def __call__(
        self, prepared: Any, names: list[str], note: Callable[[str, int, Any], None], batch: Any = None
    ) -> tuple[Counter[str], Exception | None]:
        """Return how often each module ran, and the error that ended the pass, or None."""
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
