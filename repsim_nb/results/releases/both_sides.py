"""Record two releases of a model on the same data."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model, load_model
from repsim_nb.inputs.pooling import Pooling
from repsim_nb.inputs.recording.record_models import run_all
from repsim_nb.inputs.recording.recorder import Recorder
from repsim_nb.inputs.recording.run import to_dataset
from repsim_nb.inputs.recording.samples import read_samples
from repsim_nb.support.errors import warn_user
from repsim_nb.support.validation import to_numpy

from .layer_pairs import Recorded


def record_both(old: Any, new: Any, data: Any, layers: Any, rename: Mapping[str, str], pool: Any) -> Recorded:
    """Return the recordings of both models, and what is known of them."""
    models, dataset = [load_model(side) for side in (old, new)], to_dataset(data)
    names, notes = [model.name for model in models], _compare_inputs(models, dataset)
    for note in notes:
        warn_user(note)
    sides: list[Mapping[Any, Any]] = []
    left_out: list[Mapping[str, str]] = []
    without_values: list[Collection[str]] = []
    for model, wanted, word in zip(models, (layers, _renamed(layers, rename)), ("old", "new"), strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = Recorder(model, dataset, _with_renamed(wanted, model, rename, word), Pooling(pool))
            sides.append(run_all([run], dataset, None, progress=False))
        left_out.append(run.left_out)
        without_values.append(run.without_values)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            notes.append(f"While the {word} model was recorded: {text}")
            warn_user(notes[-1])
    return Recorded(sides, names, dataset.name, left_out, without_values, notes)


def _compare_inputs(models: Sequence[Model], dataset: Dataset) -> list[str]:
    """Return a sentence if the two models prepare the same samples in other ways; a bare module has no preprocess."""
    batch = read_samples(dataset, [0, len(dataset) - 1])
    try:
        first, second = (model.preprocess(batch) for model in models)
        same = first.shape == second.shape and np.allclose(to_numpy(first), to_numpy(second), rtol=1e-5, atol=1e-6)
    except Exception:  # inputs that are no tensors, or an error that recording explains
        return []
    if same:
        return []
    return [
        f"'{models[0].name}' and '{models[1].name}' prepare the same samples in other ways (preprocess), so layers"
        " differ even where weights are equal. If that is not part of the release, load both with the same preprocess."
    ]


def _renamed(layers: Any, rename: Mapping[str, str]) -> Any:
    """Return the layers to record of the new model, under their names there."""
    if isinstance(layers, str):
        return rename.get(layers, layers)
    if isinstance(layers, Sequence):
        return [rename.get(layer, layer) if isinstance(layer, str) else layer for layer in layers]
    return layers


def _with_renamed(layers: Any, model: Model, rename: Mapping[str, str], word: str) -> Any:
    """Return the default layers with those that are renamed, if no layers were chosen."""
    asked = list(rename if word == "old" else rename.values())
    return layers if layers is not None or not asked else list(dict.fromkeys([*model.layers, *asked]))
