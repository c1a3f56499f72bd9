"""Train pairs of models whose features are alike and whose outputs differ, with CKA in the loss.

Two models, each with its own weights, learn different answers to the same images while CKA makes their features
similar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.recording import record
from repsim_nb.support.progress import Tick, show_progress, track

from .existence import CLASSES, compare_outputs, compute_logits, leading_components, train_head
from .pairs import take_classes, to_answers

WEIGHTS = (0.0, 0.1, 1.0, 10.0)

# Both models of a pair answer yes or no to the same images.
# "same": both learn dogs, not cats, without CKA in the loss.  "opposite": the second learns cats, not dogs.
# "unrelated": of the digits 0 to 7 the first learns the odd ones, the second those from 4, so that one answer says
# nothing about the other.
_ANIMALS: dict[str, Any] = {"data": "animals", "classes": CLASSES, "one": ("dog",), "epochs": 10}
_CASES: dict[str, dict[str, Any]] = {
    "same": {**_ANIMALS, "two": ("dog",)},
    "opposite": {**_ANIMALS, "two": ("cat",)},
    "unrelated": {
        "data": "mnist",
        "classes": tuple("01234567"),
        "one": tuple("1357"),
        "two": tuple("4567"),
        "epochs": 3,
    },
}

# 45 pairs of CNNs for `pairs.train_or_load`, five seeds each, by the weight of CKA in the loss
RECIPES: dict[str, dict[str, Any]] = {
    f"{case}-{weight:g}-{seed}": {**recipe, "weight": weight, "seed": seed, "about": {"case": case}}
    for case, recipe in _CASES.items()
    for weight in (WEIGHTS if case != "same" else WEIGHTS[:1])
    for seed in range(5)
}


def shorten(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Select one seed of RECIPES, without CKA and with weight 1, narrower and trained for a round or two: for tests."""
    chosen = {name: recipe for name, recipe in recipes.items() if recipe["weight"] in (0, 1) and recipe["seed"] == 0}
    return {
        name: {**recipe, "epochs": 2 if recipe["data"] == "animals" else 1, "options": {"widths": [8, 16, 24]}}
        for name, recipe in chosen.items()
    }


def compare_pairs(pairs: Mapping[str, tuple[Model, Model]], *, progress: bool | Tick = False) -> pd.DataFrame:
    """Measure the pairs that `pairs.train_or_load` returned, on the test images of their classes.

    Parameters
    ----------
    pairs : {name: (Model, Model)}

    Returns
    -------
    DataFrame
        A row a pair: case, weight, seed; CKA, debiased CKA and mean CCA of the penultimate features; JSD in nats and
        rank coefficient of the outputs; "accuracy 1" and "accuracy 2", each on its own answers. Then figures of the
        features, mean of both models: "largest direction", the fraction of their variance along the first principal
        component; "as in pixels", the absolute correlation of the images' places along it with those along the first
        principal component of the images themselves; "own answer" and "other's answer", the fraction of the variance
        that lies between the images to which one's own (the other's) right answer is yes and those to which it is no;
        "other's, read out", how often a linear head on one model's features, trained on half of these images, finds the
        other's right answer on the other half.
    """
    with show_progress(progress, "comparing pairs", "pair") as tick:
        rows = [{"pair": name, **_compare_pair(pair)} for name, pair in track(pairs.items(), tick)]
    return pd.DataFrame(rows)


def _compare_pair(pair: tuple[Model, Model]) -> dict[str, Any]:
    card = pair[0].card
    images = load_test_images(pair)
    x = record(list(pair), images, [-2, OUTPUT], progress=False)
    inside, outputs = (list(x.where(layer=layer).values()) for layer in (-2, OUTPUT))
    answers = [to_answers(images, model.card["yes"]) for model in pair]
    accuracies = {
        f"accuracy {k}": float((out.argmax(1) == y).mean())
        for k, (out, y) in enumerate(zip(outputs, answers, strict=True), 1)
    }
    known = {"case": card.get("case", ""), "weight": card["weight"], "seed": card["seed"]}
    similarities = {"CKA": "cka", "debiased CKA": "cka_debiased", "mean CCA": "mean_cca"}
    pixels = np.asarray(images.inputs, dtype=float).reshape(len(images), -1)
    holds = pd.DataFrame(
        [
            _measure_features(side, pixels, own, other, card["seed"])
            for side, own, other in zip(inside, answers, answers[::-1], strict=True)
        ]
    )
    return {
        **known,
        **{name: measures.get(measure)(*inside) for name, measure in similarities.items()},
        **compare_outputs(outputs),
        **accuracies,
        **holds.mean().to_dict(),
    }


def _measure_features(
    x: np.ndarray, pixels: np.ndarray, own: np.ndarray, other: np.ndarray, seed: int
) -> dict[str, float]:
    """Measure what the features of one model contain."""
    centred = x - x.mean(axis=0, dtype=float)
    total = (centred**2).sum()

    def between(answer: np.ndarray) -> float:
        return (
            sum((answer == group).sum() * (centred[answer == group].mean(axis=0) ** 2).sum() for group in (0, 1))
            / total
        )

    first, theirs = (leading_components(side, 1)[:, 0] for side in (x.astype(float), pixels))
    as_in_pixels = abs(float(np.corrcoef(first, theirs)[0, 1]))
    return {
        "largest direction": (first**2).sum() / total,
        "as in pixels": as_in_pixels,
        "own answer": between(own),
        "other's answer": between(other),
        "other's, read out": _held_out_accuracy(x, other, seed),
    }


def load_test_images(pair: tuple[Model, Model]) -> Dataset:
    """Load the test images of the classes of a pair."""
    card = pair[0].card
    return take_classes(load_dataset(card["data"], "test"), card["asked"])


def _held_out_accuracy(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[: len(x) // 2], order[len(x) // 2 :]
    x = (x - x[train].mean(axis=0)) / x[train].std()
    return float(
        (compute_logits(train_head(x[train], y[train], seed, epochs=100), x[test]).argmax(1) == y[test]).mean()
    )
