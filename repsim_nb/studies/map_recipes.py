"""Students with maps on demand: the recipes for `cka_maps.train_or_load`, and what measures see of the students."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.recording import record
from repsim_nb.inputs.store import Activations
from repsim_nb.measures import Measure
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.support.progress import Tick, show_progress, track

from .cka_maps import make_target, to_recipe
from .map_targets import error, text_target

TEXT = "LIE"
PERCENT = (0, 5, 10, 15, 20, 30, 40, 60, 80, 100)  # of the training of a student: its checkpoints
OWN: dict[str, Measure] = {  # what the losses drive, on many images
    "linear": measures.get("cka_debiased"),
    "rbf": measures.CKA(kernel="rbf", debiased=True),
}
MEASURES = (  # similarities that are 1 for a layer and itself
    *("cka_debiased", "cka", measures.CKA(kernel="rbf", debiased=True), "distance_correlation", "rsa", "nbs"),
    *("svcca", "pwcca", "mean_cca", "mutual_knn", "cknna"),
)

# Two plain models without skips: 17 fully connected layers, and four convolutions and a fully connected layer; with the
# head, maps of 18 and 6 layers.
_DEEP: dict[str, Any] = {
    "data": "mnist",
    "architecture": "mlp",
    "options": {"widths": [128] * 17},
    "teacher_epochs": 20,
    "validate_every": 2,
    "shift": 1,
}
_CNN: dict[str, Any] = {
    "data": "mnist",
    "architecture": "cnn",
    "options": {"widths": [12, 24, 32, 48]},
    "teacher_epochs": 5,
    "teacher_rate": 3e-3,
    "shift": 1,
}
_EPOCHS = {"ends": 20, "ones": 20, "zeros": 60, "text": 60}


def _recipe(model: Mapping[str, Any], target: str, kernel: str, epochs: int) -> dict[str, Any]:
    wanted = to_recipe(text_target(TEXT, len(model["options"]["widths"]) + 1)) if target == "text" else target
    return {
        **model,
        "target": wanted,
        "kernel": kernel,
        "epochs": epochs,
        "checkpoints": [epochs * percent // 100 for percent in PERCENT],
        "about": {"map": TEXT if target == "text" else target},
    }


RECIPES: dict[str, dict[str, Any]] = {
    **{
        f"{target}-{kernel}": _recipe(_DEEP, target, kernel, epochs)
        for kernel in ("linear", "rbf")
        for target, epochs in _EPOCHS.items()
    },
    **{f"cnn-{target}": _recipe(_CNN, target, "linear", 40) for target in ("ends", "ones", "zeros")},
}


def shorten(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return recipes with narrow models, few images and 20 epochs, for tests: no map is reached."""
    return {
        name: {
            **recipe,
            "options": {"widths": [24] * 17 if recipe["architecture"] == "mlp" else [4, 6, 8, 8]},
            "rows": (0, 500),
            "held_out": 200,
            "teacher_epochs": 4,
            "epochs": 20,
            "checkpoints": [20 * percent // 100 for percent in PERCENT],
        }
        for name, recipe in recipes.items()
    }


def target_of(model: Model) -> np.ndarray:
    """Return the target of the map of a student, (layers, layers); NaN are free cells."""
    return make_target(model.card["target"], len(model.layers))


def draw_map(model: Model, measure: str | Measure | None = None, *, progress: bool | Tick = False) -> Comparison:
    """Compare all layers of a student with each other, and with its head, on the test images of its data.

    measure: None is that of the loss of the student, over all images and not in batches.
    """
    measure = OWN[model.card["kernel"]] if measure is None else measure
    return compare(measure, _record_layers(model), on_undefined="mask", progress=progress)


def _record_layers(model: Model) -> Activations:
    """Record all layers of a teacher or student on all test images."""
    return record(model, load_dataset(model.card["data"], "test"), progress=False)


def _map_of(layers: Activations, measure: str | Measure) -> np.ndarray:
    """Return the map of recorded layers as an array, NaN where the measure is undefined."""
    return compare(measure, layers, on_undefined="mask").values.to_numpy(float)


def follow(student: Mapping[int, Model]) -> pd.DataFrame:
    """Return the training of a student: a row an epoch.

    Columns: "answers" and "map", the means of both losses; "accuracy", on held-out images; "weight", that of the map.
    """
    return pd.DataFrame(student[max(student)].card["curves"]).rename_axis("epoch")


def summarise(students: Mapping[str, Mapping[int, Model]], *, progress: bool | Tick = False) -> pd.DataFrame:
    """Compare each student with its teacher: a row a student.

    Columns: "first-last before" and "after", the similarity of the first and the last layer; "error before", "after"
    and "plain", the root mean square distance of the map from the target, the last with the biased estimate; "accuracy
    before" and "after", of the test images.
    """
    rows = {}
    with show_progress(progress, "comparing layers", "student") as tick:
        for name, student in track(students.items(), tick):
            teacher, last = (student[epoch] for epoch in (min(student), max(student)))
            target = target_of(last)
            layers = [_record_layers(model) for model in (teacher, last)]
            own = [_map_of(each, OWN[last.card["kernel"]]) for each in layers]
            biased = "cka" if last.card["kernel"] == "linear" else "cka_rbf"
            rows[name] = {
                "first-last before": own[0][0, -1],
                "first-last after": own[1][0, -1],
                "error before": error(own[0], target),
                "error after": error(own[1], target),
                "error plain": error(_map_of(layers[1], biased), target),
                "accuracy before": teacher.card["test_accuracy"],
                "accuracy after": last.card["test_accuracy"],
            }
    return pd.DataFrame(rows).T.rename_axis("student")


def compare_measures(
    student: Mapping[int, Model], which: Iterable[str | Measure] = MEASURES, *, progress: bool | Tick = False
) -> pd.DataFrame:
    """Ask measures that had no part in the loss for the maps of a teacher and of its student: a row a measure.

    Columns: "before" and "after", the root mean square distance of the map from the target, over the cells that are
    defined; "moved", the fraction of the distance that is gone, 1 at the target and below 0 further away from it;
    "cells", the fraction of the cells with a target that are defined.
    """
    teacher, last = (student[epoch] for epoch in (min(student), max(student)))
    target, rows = target_of(last), {}
    counted = np.isfinite(target) & ~np.eye(len(target), dtype=bool)
    layers = [_record_layers(model) for model in (teacher, last)]
    with show_progress(progress, "comparing layers", "measure") as tick:
        for measure in track(list(which), tick):
            maps = [_map_of(each, measure) for each in layers]
            defined = counted & np.isfinite(maps[0]) & np.isfinite(maps[1])
            before, after = (
                error(np.where(defined, found, np.nan), target) if defined.any() else np.nan for found in maps
            )
            rows[measures.short_name(measures.get(measure))] = {
                "before": before,
                "after": after,
                "moved": 1 - after / before,
                "cells": defined.sum() / counted.sum(),
            }
    return pd.DataFrame(rows).T.rename_axis("measure")
