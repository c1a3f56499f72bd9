"""The four subtasks of the grounding benchmark, on models of our own [Ding, Denain, Steinhardt 2021].

`load` trains a subtask's models, or reads them from the cache, and returns what `grounding.benchmark` takes:
representations, the functionality of each, and its error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import rotate

from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.recording import record
from repsim_nb.inputs.store import Key
from repsim_nb.measures.arrays import PrincipalComponents
from repsim_nb.results.grounding import paired_sd
from repsim_nb.results.probes import linear_probe
from repsim_nb.support.errors import check_name
from repsim_nb.support.labels import to_axis
from repsim_nb.support.progress import Tick
from repsim_nb.support.workers import map_with_progress

from . import training, tuning

DEPTH, WIDTH = 6, 64
BLOCKS = tuple(f"block{number}" for number in range(1, DEPTH + 1))
COMPONENTS = (24, 16, 12, 8, 6, 4, 2, 1)
# rows of the training split of MNIST that its models may see; those after them are for probes and tests
TRAINING_ROWS = {"seeds": 2500, "tuning": 2000}
Recipe = dict[str, Any]

SEEDS: dict[str, Recipe] = {
    f"vit6-{seed}": {
        "architecture": "vit",
        "options": {"depth": DEPTH, "width": WIDTH},
        "data": "mnist",
        "rows": (0, TRAINING_ROWS["seeds"]),
        "seed": seed,
        "epochs": 10,
        "learning_rate": 1.5e-3,
    }
    for seed in range(10)
}
"""Ten transformers of six blocks for `training.train_or_load`, trained identically but for the seed."""

TUNED: dict[str, Recipe] = {
    f"pre{start}-from{first}": {
        "data": "mnist",
        "rows": (0, TRAINING_ROWS["tuning"]),
        "seed": first,
        "epochs": 8,
        "learning_rate": 2e-3,
        "start": {
            "architecture": "vit",
            "options": {"depth": DEPTH, "width": WIDTH},
            "data": "fashion",
            "seed": start,
            "epochs": 8,
            "learning_rate": 1.5e-3,
        },
    }
    for start in range(5)
    for first in (range(0, 20, 5) if start == 0 else (0,))
}
"""For `tuning.train_or_load`: five transformers pre-trained on garments and fine-tuned on digits, five times each, the
first of them twenty times.
"""


# -- shifted tests


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated": lambda pictures: rotate(pictures, 30, axes=(1, 2), reshape=False, order=1),
    "noisy": lambda pictures: pictures + np.random.default_rng(0).normal(0, 80, pictures.shape),
    "faint": lambda pictures: 0.4 * pictures,
}
"""MNIST as no model was trained on it: turned by 30 degrees; with Gaussian noise of standard deviation 80, of 255;
with 40 % of the contrast.
"""


def load_shifted(test: str, *, fast: bool = False) -> Dataset:
    """Load 3,000 MNIST images that no model of TUNED was trained on, changed by one of SHIFTS; or "plain", as they are.

    The test split is among them. fast: every third image.
    """
    check_name("test", test, (*SHIFTS, "plain"))
    sides = [_load_rest("tuning"), load_dataset("mnist", "test")]
    inputs, targets = np.concatenate([side.inputs for side in sides]), np.concatenate([side.targets for side in sides])
    if test != "plain":
        inputs = np.rint(SHIFTS[test](inputs.astype(float))).clip(0, 255).astype(np.uint8)
    data = Dataset(f"mnist/{test}", inputs, targets, sides[0].classes)
    return _take_every(3, data) if fast else data


def _take_every(step: int, data: Dataset) -> Dataset:
    return data.take(range(0, len(data), step), f"{data.name}/every{step}")


def _load_rest(models: str) -> Dataset:
    """Return the rows of the training split that these models were not trained on."""
    whole, first = load_dataset("mnist", "train"), TRAINING_ROWS[models]
    return whole.take(range(first, len(whole)), f"mnist/from{first}")


# -- the subtasks


@dataclass(frozen=True)
class Subtask:
    """One of the four subtasks.

    varies: what tells its representations apart.  functionality: what F of each is.  recipes: of its models.
    models: how many of them it takes.
    test: of SHIFTS; None is a probe.
    """

    varies: str
    functionality: str
    recipes: Mapping[str, Recipe]
    models: int
    test: str | None = None


class Loaded(NamedTuple):
    """What `load` returns.

    representations: {Key: array (1000, p)} of the MNIST test images.  functionality: F of each, a Series over the
    fields of the keys. noise: the standard deviation of the error of F, a Series of the same index: all models are
    tested on the same images, see `grounding.paired_sd`.
    """

    representations: dict[Key, np.ndarray]
    functionality: pd.Series
    noise: pd.Series


_PROBED = (
    "the fraction of the 1,000 test images that a linear probe classifies correctly, fitted to 1,500 images that the"
    " model was not trained on"
)
SUBTASKS: dict[str, Subtask] = {
    "layers": Subtask("the seed of a transformer, and the layer", _PROBED, SEEDS, 10),
    "deletion": Subtask(
        "the seed, the layer, and how many of its leading principal components are kept: all,"
        f" {', '.join(map(str, COMPONENTS))}",
        f"{_PROBED}, of what is kept",
        SEEDS,
        10,
    ),
    "tuning": Subtask(
        "the seed of fine-tuning: the head's weights and the order of batches",
        "the accuracy of the model on 3,000 shifted images, the same for all its layers",
        {name: recipe for name, recipe in TUNED.items() if name.startswith("pre0-")},
        20,
        "noisy",
    ),
    "pretraining": Subtask(
        "the seed of pre-training and that of fine-tuning, five by five",
        "the accuracy of the model on 3,000 shifted images, the same for all its layers",
        {name: recipe for name, recipe in TUNED.items() if name.endswith("-from0")},
        25,
        "noisy",
    ),
}
"""The subtasks by name, in the order of the published ones.

Training the models of all four takes about eleven minutes of one core.

Of SHIFTS the test of fine-tunings is the one on which they differ most, measured in binomial standard deviations: 6.4
for noisy images, 2.8 for faint and 2.0 for rotated ones, 1.2 as they are.
"""


def load(
    name: str,
    *,
    test: str | None = None,
    fast: bool = False,
    folder: str | Path | None = None,
    progress: bool | Tick = True,
) -> Loaded:
    """Return the representations of a subtask, the functionality F of each, and the error of F.

    Representations are mean tokens of six blocks. In "deletion" the field `step` of a key is the number of principal
    components that are kept, the width where nothing is deleted; they are those of the test images, also for what the
    probe is fitted to.
    test: of SHIFTS, on which the accuracies of "tuning" and "pretraining" are measured; None is the subtask's own.
    fast: three seeds, five fine-tunings, or two by five, narrower and trained for a moment, tested on a
    third of the shifted images: seconds, the same fields.
    folder, progress: as in `training.train_or_load`.
    Errors: ValueError for an unknown subtask or test, or a test where F is a probe's.
    """
    check_name("subtask", name, SUBTASKS)
    subtask = SUBTASKS[name]
    if test is not None and subtask.test is None:
        raise ValueError(
            f"the functionality of '{name}' is the accuracy of a probe, which has no test={test!r}. Use 'tuning' or"
            " 'pretraining'."
        )
    if test is not None:
        check_name("test", test, SHIFTS)
    models = load_models(name, fast=fast, folder=folder, progress=progress)
    if subtask.test is None:
        return _probe(models, name == "deletion", progress)
    return _test(models, load_shifted(test or subtask.test, fast=fast), progress)


def load_models(
    name: str, *, fast: bool = False, folder: str | Path | None = None, progress: bool | Tick = True
) -> list[Model]:
    """Return the models of a subtask; train those that are not in the cache."""
    check_name("subtask", name, SUBTASKS)
    recipes = _shorten(SUBTASKS[name].recipes) if fast else SUBTASKS[name].recipes
    if SUBTASKS[name].recipes is SEEDS:
        return training.train_or_load(recipes, folder=folder, progress=progress)
    tuned = tuning.train_or_load(recipes, folder=folder, progress=progress)
    return [
        replace(model, name=f"pre{model.card['pretraining']}-tune{model.card['seed']}")
        for models in tuned.values()
        for model in models
    ]


def _shorten(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    small = {"options": {"depth": DEPTH, "width": WIDTH // 2}, "rows": (0, 320), "epochs": 2, "learning_rate": 5e-3}
    chosen = [item for item in recipes.items() if item[0] in ("vit6-0", "vit6-1", "vit6-2", "pre0-from0", "pre1-from0")]
    return {
        name: (
            {**recipe, **small}
            if recipes is SEEDS
            else {
                **recipe,
                **{one: small[one] for one in ("rows", "epochs", "learning_rate")},
                "start": {**recipe["start"], **small},
            }
        )
        for name, recipe in chosen
    }


# -- what they can do


def measure_accuracies(models: Sequence[Model], test: Dataset, *, progress: bool | Tick = False) -> pd.Series:
    """Return the accuracy of each model on a test, by the model's name."""
    correct = _find_correct(models, test, progress)
    return pd.Series({name: right.mean() for name, right in correct.items()}, name="accuracy").rename_axis("model")


def _find_correct(models: Sequence[Model], test: Dataset, progress: bool | Tick) -> dict[str, np.ndarray]:
    """Return which images of a test each model gets right."""
    outputs = record(list(models), test, OUTPUT, progress=progress)
    return {key.model: predicted.argmax(axis=1) == test.targets for key, predicted in outputs.items()}


def _probe(models: list[Model], deleted: bool, progress: bool | Tick) -> Loaded:
    fitted, tested = _load_rest("seeds"), load_dataset("mnist", "test")
    known = record(models, fitted, BLOCKS, pool="mean", progress=progress)
    x = record(models, tested, BLOCKS, pool="mean", progress=progress)
    sides = {
        key._replace(step=components): pair
        for before, (key, after) in zip(known.values(), x.items(), strict=True)
        for components, pair in (_project_on_leading(before, after) if deleted else {key.step: (before, after)}).items()
    }

    def probed(sides: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        predictions = linear_probe(
            sides[0], fitted.targets, test=(sides[1], tested.targets), n_permutations=1
        ).predictions.sort_values("sample")
        return (predictions["true"] == predictions["predicted"]).to_numpy()

    correct = map_with_progress(probed, sides.values(), progress=progress, what="probing", unit="representation")
    return _make_loaded({key: seen for key, (_, seen) in sides.items()}, correct)


def _project_on_leading(before: np.ndarray, after: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return both sides for each number of principal components of `after` that is kept, all of them first.

    Values are in their own coordinates, float64.
    """
    before, after = before.astype(float), after.astype(float)
    components = PrincipalComponents(after)
    mean, axes = components.mean, components.vt
    projections = {k: axes[:k].T @ axes[:k] for k in COMPONENTS if k < after.shape[1]}
    return {after.shape[1]: (before, after)} | {
        k: (mean + (before - mean) @ onto, mean + (after - mean) @ onto) for k, onto in projections.items()
    }


def _test(models: list[Model], test: Dataset, progress: bool | Tick) -> Loaded:
    x = record(models, load_dataset("mnist", "test"), BLOCKS, pool="mean", progress=progress)
    correct = _find_correct(models, test, progress)
    found = dict(x.items())
    return _make_loaded(found, [correct[key.model] for key in found])


def _make_loaded(found: dict[Key, np.ndarray], correct: list[np.ndarray]) -> Loaded:
    """Return representations with their functionality F; correct: which test images each of them gets right.

    The error of F is that of the models in one layer and step.
    """
    index, rows = to_axis(found), np.array(correct)
    places = index.droplevel("model")
    noise = pd.Series(0.0, index=index, name="noise")
    for place in dict.fromkeys(places):
        noise[places == place] = paired_sd(rows[places == place])
    return Loaded(found, pd.Series(rows.mean(axis=1), index=index, name="functionality"), noise)
