"""`LayerProbe`: one model on a fixed set of samples, recorded again and again while the model is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.running import capture
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.recording.run import Run, warn_left_out


class LayerProbe(Run):
    """The layers of one model on a fixed set of samples.

    The first recording finds out which layers can be recorded, with all checks of `record`. Later ones are one forward
    pass: the code of the model is the same, only its weights have changed.
    """

    def __init__(self, model: Model, dataset: Dataset, layers: Any, pool: Any) -> None:
        super().__init__(model, dataset, layers, Pooling(pool))

    def first(self) -> dict[str, np.ndarray]:
        """Return {layer: array (n, p)} in forward order, after all checks."""
        with self.ready():
            self.probe()
        warn_left_out([self])
        return self.again()

    def again(self) -> dict[str, np.ndarray]:
        """Return {layer: array (n, p)} of the model as it is now. The model does not change."""
        found_rows: dict[str, list[np.ndarray]] = {layer: [] for layer in self.found}
        number = 0

        def sink(layer: str, out: Any) -> None:
            found_rows[layer].append(self.rows_of(self.found[layer], out, number).cpu().numpy())

        with self.ready(), capture(self.model.module, list(self.found), sink):
            for first, last, inputs in self.dataset.batches(0, self.batch_size):
                number = last - first
                with self.explain_errors(inputs, samples=f"samples {first} to {last}"):
                    self.forward(inputs, first)
        return {layer: np.concatenate(rows) for layer, rows in found_rows.items() if rows}
