"""`TrainingWatch`: the context manager that records a model while it is trained, and compares."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.models import load_model
from repsim_nb.inputs.randomness import preserve_random_states
from repsim_nb.inputs.recording.run import to_dataset
from repsim_nb.measures import Measure
from repsim_nb.measures.table_inputs import check_compares_layers, check_sides
from repsim_nb.support.errors import UndefinedError, as_clause, join_names, warn_user
from repsim_nb.support.validation import check_integer

from .probing_samples import LayerProbe
from .training_record import PREVIOUS, REFERENCE, START, TrainingRecord

Show = Callable[[TrainingRecord, bool], None]  # show(record so far, whether training is over)


class TrainingWatch:
    """Records a model while it is trained, inside a `with` block; `watch` makes it.

    Parameters
    ----------
    model, data, reference, layers, measure, every, pool
        As for `watch`.
    show : function(record, over), optional
        Called with the TrainingRecord after each recording, and once when training is over.

    Attributes
    ----------
    result : TrainingRecord
        What was recorded so far, also after the block.

    See Also
    --------
    watch : Makes one, with an example.

    Examples
    --------
    >>> from torch import nn
    >>> samples = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    >>> with rs.watch(nn.Linear(4, 3), samples, every=10, live=False) as watch:
    ...     for batch in range(25):
    ...         watch.step()
    >>> watch.result.steps
    (0, 10, 20, 25)
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        reference: Any,
        layers: Any,
        measure: str | Measure,
        every: int,
        pool: Any,
        show: Show | None = None,
    ) -> None:
        self._measure, self._every = measures.get(measure), check_integer(every, "every", minimum=1)
        check_compares_layers(self._measure, "watch")
        with preserve_random_states():  # a new module draws its weights before those of the file replace them
            self._model, self._data = load_model(model), to_dataset(data)
            self._reference = None if reference is None else load_model(reference)
        if self._data.ids is not None:  # the inputs that a measure holds constant may have ids, too
            check_sides({"data": {"data": pd.DataFrame(index=self._data.ids)}}, self._measure)
        self._probe = LayerProbe(self._model, self._data, layers, pool)
        self._layers, self._pool, self._show = layers, pool, show
        self._step, self._recorded, self._seconds = 0, False, 0.0
        self._rows: list[tuple[int, str, str, float]] = []
        self._undefined: dict[tuple[Any, str, str], str] = {}
        self._notes: list[str] = []
        self._fixed: dict[str, dict[str, Any]] = {}  # {comparison: {layer: prepared, or why it has no value}}

    def __enter__(self) -> Self:
        """Record the start and the reference."""
        with preserve_random_states():
            now = {layer: self._prepare(x) for layer, x in self._probe.first().items()}
            self._fixed = {START: now, PREVIOUS: now}
            if self._reference is not None:
                self._fixed[REFERENCE] = self._reference_layers(list(now))
        self._compare(now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record the last step, unless it was recorded or an exception ended training."""
        if kind is None and not self._recorded:
            self._record()
        if self._show is not None:
            self._show(self.result, True)

    def step(self) -> None:
        """Count one step of training, and record if it is the turn of this one.

        Examples
        --------
        >>> from torch import nn
        >>> samples = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
        >>> with rs.watch(nn.Linear(4, 3), samples, live=False) as watch:
        ...     watch.step()
        >>> watch.result.steps
        (0, 1)
        """
        if not self._fixed:
            raise RuntimeError(
                "step must be called inside the block: with rs.watch(model, data) as watch: ... watch.step()."
            )
        self._step, self._recorded = self._step + 1, False
        if self._step % self._every == 0:
            self._record()

    @property
    def result(self) -> TrainingRecord:
        """What was recorded so far (TrainingRecord)."""
        return TrainingRecord(
            pd.DataFrame(self._rows, columns=["step", "layer", "compared_to", "value"]),
            measures.short_name(self._measure),
            self._model.name,
            "" if self._reference is None else self._reference.name,
            self._data.name,
            len(self._data),
            self._seconds,
            dict(self._undefined),
            tuple(self._notes),
        )

    def _record(self) -> None:
        """Record the model as it is now."""
        began = time.perf_counter()
        with preserve_random_states():
            now = {layer: self._prepare(x) for layer, x in self._probe.again().items()}
            self._compare(now)
        self._fixed[PREVIOUS] = now
        self._seconds += time.perf_counter() - began

    def _compare(self, now: dict[str, Any]) -> None:
        """Add the values of this step."""
        for compared, before in self._fixed.items():
            for layer in self._fixed[START]:
                if layer in before:
                    value = self._value(now.get(layer, "it did not run"), before[layer], layer, compared)
                    self._rows.append((self._step, layer, compared, value))
        self._recorded = True
        if self._show is not None:
            self._show(self.result, False)

    def _value(self, now: Any, before: Any, layer: str, compared: str) -> float:
        """Return the similarity of two prepared layers, NaN if it is undefined."""
        why = next((side for side in (now, before) if isinstance(side, str)), None)
        if why is None:
            try:
                return self._measure.pair(now, before)
            except UndefinedError as error:
                why = as_clause(error)
        self._undefined[self._step, layer, compared] = f"step {self._step}, {layer}, compared to {compared}: {why}"
        return math.nan

    def _prepare(self, x: np.ndarray) -> Any:
        """Return a layer as the measure prepares it, or why it has no value: training goes on."""
        if not np.isfinite(x).all():
            return f"{int((~np.isfinite(x)).sum())} of {x.size} activations are NaN or infinite"
        try:
            return self._measure.prepare(x)
        except UndefinedError as error:
            return as_clause(error)

    def _reference_layers(self, layers: list[str]) -> dict[str, Any]:
        """Return the prepared layers of the reference, those that the model has, too."""
        model = self._reference
        assert model is not None
        found = LayerProbe(model, self._data, self._layers, self._pool).first()
        missing = [layer for layer in layers if layer not in found]
        if len(missing) == len(layers):
            raise ValueError(
                f"the reference '{model.name}' has no layer of '{self._model.name}': it has {join_names(found, 6)}, the"
                f" model {join_names(layers, 6)}. Choose layers that both have, layers='output'."
            )
        if missing:
            self._notes.append(f"The reference '{model.name}' has no layer {join_names(missing, 6)}.")
            warn_user(self._notes[-1])
        return {layer: self._prepare(found[layer]) for layer in layers if layer in found}
