"""Generalised, memorised and random models, compared layer by layer [Davari and others 2023, figures 2 and 3].

A generalised model is trained on the right labels, a memorised one on the same images with permuted labels until it
gives every training image its label, and a random one is not trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from repsim_nb import measures
from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.recording import record
from repsim_nb.measures import Measure
from repsim_nb.results.probes import linear_probe
from repsim_nb.support.progress import Tick
from repsim_nb.support.workers import map_with_progress

KINDS = ("generalised", "memorised", "random")
IMAGES = 600  # of the training split, the same for all models
MEASURES = ("cka", "cka_debiased", "cka_rbf", "nbs", "distance_correlation", "rsa", "mutual_knn")
PIXELS = ("pixels", 0)
ALL = 10**6  # more filters than any first layer has
PAIRS = (*combinations(KINDS, 2), ("generalised", "generalised"))
Recipe = dict[str, Any]

_EPOCHS = {("cnn", "generalised"): 12, ("cnn", "memorised"): 40, ("mlp", "generalised"): 20, ("mlp", "memorised"): 80}


def _recipe(architecture: str, data: str, kind: str, draw: int) -> Recipe:
    return {
        "architecture": architecture,
        "data": data,
        "rows": (0, IMAGES),
        "labels": "shuffled" if kind == "memorised" else "true",
        "epochs": _EPOCHS.get((architecture, kind), 0),
        "learning_rate": 3e-3,
        "seed": 10 * KINDS.index(kind) + draw,  # no two models begin with the same weights
        "about": {"kind": kind, "draw": draw},
    }


RECIPES: dict[str, Recipe] = {
    f"{architecture}-{data}-{kind}-{draw}": _recipe(architecture, data, kind, draw)
    for architecture in ("cnn", "mlp")
    for data in ("mnist", "fashion")
    for kind in KINDS
    for draw in range(5)
}
"""Five seeds of each kind, architecture and data set, for `training.train_or_load`: 40 trained and 20 random models."""


def shorten(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Select three seeds of RECIPES on MNIST, narrower and trained on 100 images: for tests."""
    small = {"cnn": ([4, 8], 30), "mlp": ([32, 16], 60)}
    found = {}
    for name, recipe in recipes.items():
        if recipe["data"] == "mnist" and recipe["about"]["draw"] < 3:
            widths, epochs = small[recipe["architecture"]]
            epochs = epochs if recipe["epochs"] else 0
            found[name] = {**recipe, "rows": (0, 100), "epochs": epochs, "options": {"widths": widths}}
    return found


def settings(models: Iterable[Model]) -> dict[tuple[str, str], list[Model]]:
    """Return {(architecture, data): models}, in the order of their first model."""
    found: dict[tuple[str, str], list[Model]] = {}
    for model in models:
        found.setdefault((model.card["architecture"], model.card["data"]), []).append(model)
    return found


def compare_kinds(
    models: Iterable[Model], *, names: Sequence[str] = MEASURES, images: int = 400, progress: bool | Tick = False
) -> pd.DataFrame:
    """Compare models of the three kinds, layer by layer, on test images.

    Parameters
    ----------
    models : iterable of Model
        Models of RECIPES. The two models of a pair have different initial weights.
    names : sequence of str
        The measures.
    images : int
        The number of test images.
    progress : bool or function(done, total)
        A bar that counts layers, or a function.

    Returns
    -------
    DataFrame
        One row for each pair and layer: architecture, data, layer, pair, draw and a column for each measure. The last
        pairs are a model and the pixels of the images.
    """
    chosen = {name: measures.get(name) for name in names}
    places, calls = [], []
    for (architecture, data), group in settings(models).items():
        shown = load_dataset(data, "test", n=images)
        x = record(group, shown, progress=False)
        for layer in dict.fromkeys(key.layer for key in x):
            sides = {
                (model.card["kind"], model.card["draw"]): np.asarray(value)
                for model, value in zip(group, x.where(layer=layer).values(), strict=True)
            }
            places.append({"architecture": architecture, "data": data, "layer": layer})
            calls.append((sides, np.asarray(shown.inputs, float), chosen))
    found = map_with_progress(
        lambda call: _compare_layer(*call), calls, progress=progress, what="comparing kinds", unit="layer"
    )
    return pd.DataFrame([{**place, **row} for place, rows in zip(places, found, strict=True) for row in rows])


def _compare_layer(
    sides: Mapping[tuple[str, int], np.ndarray], pixels: np.ndarray, chosen: Mapping[str, Measure]
) -> list[dict[str, Any]]:
    """Compare the models of one layer; the next seed of the same kind is the partner within a kind."""
    prepared = {side: {n: m.prepare(x) for n, m in chosen.items()} for side, x in [*sides.items(), (PIXELS, pixels)]}
    draws = sorted({draw for _, draw in sides})
    pairs = [
        (f"{one}, {other}", draw, (one, draw), (other, draw if one != other else draws[(k + 1) % len(draws)]))
        for one, other in PAIRS
        for k, draw in enumerate(draws)
    ]
    pairs += [(f"{kind}, pixels", draw, (kind, draw), PIXELS) for kind, draw in sides]
    return [
        {
            "pair": pair,
            "draw": draw,
            **{name: m.pair(prepared[one][name], prepared[other][name]) for name, m in chosen.items()},
        }
        for pair, draw, one, other in pairs
    ]


def probe_layers(models: Iterable[Model], *, images: int = 400, progress: bool | Tick = False) -> pd.DataFrame:
    """Fit a linear probe for the right labels to each hidden layer, and test it on other images.

    Parameters
    ----------
    models : iterable of Model
        Models of RECIPES.
    images : int
        The number of images to fit a probe to, which no model was trained on, and of test images.
    progress : bool or function(done, total)
        A bar that counts layers, or a function.

    Returns
    -------
    DataFrame
        One row for each layer: architecture, data, layer, kind, draw, accuracy; and rows with the kind "pixels", a
        probe of the images themselves.
    """
    places, calls = [], []
    for (architecture, data), group in settings(models).items():
        unseen = load_dataset(data, "train").take(range(IMAGES, IMAGES + images), f"{data}/unseen")
        shown = load_dataset(data, "test", n=images)
        known, x = (record(group, side, progress=False) for side in (unseen, shown))
        cards = {model.name: model.card for model in group}
        hidden = [(before, after) for before, after in zip(known, x, strict=True) if after.layer != OUTPUT]
        sides = [(PIXELS[0], 0, PIXELS[0], unseen.inputs, shown.inputs)] + [
            (after.layer, cards[after.model]["draw"], cards[after.model]["kind"], known[before], x[after])
            for before, after in hidden
        ]
        for layer, draw, kind, fit, test in sides:
            places.append({"architecture": architecture, "data": data, "layer": layer, "kind": kind, "draw": draw})
            calls.append(((np.asarray(fit, float), unseen.targets), (np.asarray(test, float), shown.targets)))

    def probed(call: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> float:
        return linear_probe(*call[0], test=call[1], cost=0.1, n_permutations=1).accuracy

    accuracies = map_with_progress(probed, calls, progress=progress, what="probing", unit="layer")
    return pd.DataFrame([{**place, "accuracy": value} for place, value in zip(places, accuracies, strict=True)])


def first_filters(model: Model, number: int = 12) -> np.ndarray:
    """Return the weights of the first layer as images (number, h, w): those of its first units.

    Each is divided by its largest absolute weight, so that it is between -1 and 1.
    """
    weight = next(p for p in model.module.parameters() if p.ndim > 1).detach().numpy().astype(float)
    side = round(weight[0].size ** 0.5)
    found = weight[:number].reshape(-1, side, side)
    return found / abs(found).max(axis=(1, 2), keepdims=True)


def filter_similarity(one: Model, other: Model) -> float:
    """Return how alike the filters of two first layers are: the mean absolute cosine of the best one-to-one match."""
    sides = []
    for model in (one, other):
        rows = first_filters(model, ALL).reshape(-1, first_filters(model, 1).size)
        sides.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    cosines = abs(sides[0] @ sides[1].T)
    return float(cosines[linear_sum_assignment(-cosines)].mean())
