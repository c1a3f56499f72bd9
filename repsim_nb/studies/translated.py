"""Move one class, or one image, in the last hidden layer of a model, so that none of its predictions changes.

Measures and checks are followed along the distance [Davari and others 2023, figure 4].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.recording import record
from repsim_nb.results.inference import influence
from repsim_nb.results.probes import linear_probe
from repsim_nb.results.reliability import clip_lengths, diagnose, translate, translation_curves
from repsim_nb.support.progress import Tick
from repsim_nb.support.workers import map_with_progress

MOVED = ("class", "outlier")
DISTANCES = (0, 0.5, 1, 2, 4, 8, 16, 32, 64)  # in radii of a layer
MEASURES = (
    *("cka", "cka_rbf", "nbs", "mean_cca", "svcca", "linear_predictivity"),
    *("distance_correlation", "rsa", "mutual_knn", "cknna"),
)
LEFT_OUT = 0.01  # of the samples: those with the largest influence


@dataclass(frozen=True)
class Layer:
    """The last hidden layer of a model on test images, with the rows and the direction of a translation.

    Attributes
    ----------
    model : Model
        The model.
    x : array (1000, p)
        The layer. Measures see its first half; a probe is fitted to the second half.
    targets : array (1000,)
        The right labels.
    predicted : array (1000,)
        The labels that the model gives.
    rows : {"class" or "outlier": mask (1000,)}
        The images that the model assigns to one class, and one of them, both chosen by the seed of the model.
    direction : array (p,)
        Along it the logit of this class rises above all others by the same amount, so that no prediction changes.
    radius : float
        The root mean squared distance of the images from their mean: the unit of distances.
    """

    model: Model
    x: np.ndarray
    targets: np.ndarray
    predicted: np.ndarray
    rows: Mapping[str, np.ndarray]
    direction: np.ndarray
    radius: float

    @property
    def half(self) -> int:
        """The number of images that measures see."""
        return len(self.x) // 2

    def move(self, what: str, distance: float) -> np.ndarray:
        """Return the layer with a class or an outlier moved by so many radii."""
        return translate(self.x, self.rows[what], self.direction, distance * self.radius)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the labels that the head of the model gives to rows of this layer."""
        weight, bias = _head(self.model)
        return (x @ weight.T + bias).argmax(axis=1)


def load_layer(model: Model) -> Layer:
    """Record the last hidden layer of a model with a linear head, and choose a class and an image by its seed."""
    images = load_dataset(model.card["data"], "test")
    x = np.asarray(next(iter(record(model, images, -2, progress=False).values())), float)
    weight, bias = _head(model)
    predicted = (x @ weight.T + bias).argmax(axis=1)
    rng = np.random.default_rng(model.card["seed"])
    number = int(rng.choice(np.unique(predicted[: len(x) // 2])))
    mine = predicted == number
    alone = np.arange(len(x)) == rng.choice(np.flatnonzero(mine[: len(x) // 2]))
    radius = float(np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()))
    rows = {"class": mine, "outlier": alone}
    return Layer(model, x, np.asarray(images.targets), predicted, rows, keep_predictions(weight, number), radius)


def keep_predictions(weight: np.ndarray, number: int) -> np.ndarray:
    """Return the direction of length 1 in which logit `number` gains equally on all others, for a head (classes, p)."""
    gains = np.delete(weight[number] - weight, number, axis=0)
    direction = np.linalg.pinv(gains) @ np.ones(len(gains))
    return direction / np.linalg.norm(direction)


def _head(model: Model) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = (part.detach().numpy().astype(float) for part in model.module.get_submodule("head").parameters())
    return weight, bias


def follow(
    layers: Iterable[Layer],
    *,
    names: Sequence[str] = MEASURES,
    distances: Sequence[float] = DISTANCES,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Compare layers with themselves while one class, or one image, moves away.

    Parameters
    ----------
    layers : iterable of Layer
        Layers of `load_layer`.
    names : sequence of str
        The measures.
    distances : sequence of float
        In radii: the root mean squared distance of the images from their mean. The first one is 0.
    progress : bool or function(done, total)
        A bar that counts paths, or a function.

    Returns
    -------
    DataFrame
        One row for each model, for "class" and "outlier" (column "moved"), and each distance: the measures; "model
        accuracy", that of the model's own head; "probe accuracy", that of a probe that is fitted again, on held-out
        images; "found", what `diagnose` finds that it did not find at distance 0; "largest influence", of one image on
        CKA (absolute), and "points at it", whether this image was moved; "largest change" of CKA if the images of one
        class are left out, and "points at class", whether it is the moved class.
    """
    calls = [(layer, what, names, distances) for layer in layers for what in MOVED]
    found = map_with_progress(lambda call: _follow_path(*call), calls, progress=progress, what="moving", unit="path")
    return pd.concat(found, ignore_index=True)


def _follow_path(layer: Layer, what: str, names: Sequence[str], distances: Sequence[float]) -> pd.DataFrame:
    n, card, before = layer.half, layer.model.card, layer.x[: layer.half]
    rows = layer.rows[what][:n]
    values = translation_curves(before, rows, layer.direction, np.array(distances) * layer.radius, use=names)
    place = {
        **{name: card[name] for name in ("architecture", "data", "draw")},
        "model": layer.model.name,
        "moved": what,
    }
    known: set[str] | None = None
    found = []
    for distance, (_, value) in zip(distances, values.iterrows(), strict=True):
        checked = _check(layer, what, distance)
        known = checked["found"] if known is None else known
        checked["found"] = ", ".join(sorted(checked["found"] - known))
        found.append({**place, "distance": distance, **dict(zip(names, value, strict=True)), **checked})
    return pd.DataFrame(found)


def _check(layer: Layer, what: str, distance: float) -> dict[str, Any]:
    """Return accuracies, findings and influences at one distance."""
    n, y = layer.half, layer.move(what, distance)
    before, after, independent = layer.x[:n], y[:n], np.arange(n)
    probe = linear_probe(y[n:], layer.targets[n:], test=(after, layer.targets[:n]), n_permutations=1)
    effect = abs(influence("cka", before, after, groups=independent))
    by_class = leave_out_classes(before, after, layer.predicted[:n])
    moved = layer.predicted[layer.rows[what]][0]
    return {
        "model accuracy": float((layer.predict(after) == layer.targets[:n]).mean()),
        "probe accuracy": probe.accuracy,
        "found": {finding.title for finding in diagnose(before, after, groups=independent).findings},
        "largest influence": float(effect.max()),
        "points at it": bool(layer.rows[what][:n][effect.argmax()]),
        "largest change": float(by_class.abs().max()),
        "points at class": bool(by_class.abs().idxmax() == moved),
    }


def leave_out_classes(x: np.ndarray, y: np.ndarray, classes: np.ndarray) -> pd.Series:
    """Return by how much linear CKA rises if the images of a class are left out, for each class."""
    cka = measures.get("cka")
    whole = cka(x, y)
    without = {label: cka(x[classes != label], y[classes != label]) for label in np.unique(classes)}
    return pd.Series(without, name="change of CKA").rename_axis("class left out") - whole


# -- remedies


def _without_outliers(x: np.ndarray, y: np.ndarray) -> float:
    rows = diagnose(x, y, groups=np.arange(len(x))).outliers
    return measures.get("cka")(*(np.delete(side, rows, axis=0) for side in (x, y)))


def _without_influential(x: np.ndarray, y: np.ndarray) -> float:
    effect = abs(influence("cka", x, y, groups=np.arange(len(x))))
    keep = np.sort(np.argsort(effect)[: len(x) - round(LEFT_OUT * len(x))])
    return measures.get("cka")(x[keep], y[keep])


def shrink_first(x: np.ndarray) -> np.ndarray:
    """Return x, centred, with its largest principal component as long as the second."""
    u, s, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return (u * np.append(s[1], s[1:])) @ vt


REMEDIES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "CKA as it is": measures.get("cka"),
    "debiased": measures.get("cka_debiased"),
    "RBF kernel": measures.get("cka_rbf"),
    "without outliers that diagnose names": _without_outliers,
    "without the 1 % most influential images": _without_influential,
    "first component not larger than the second": lambda x, y: measures.get("cka")(shrink_first(x), shrink_first(y)),
    "lengths clipped at the median": lambda x, y: measures.get("cka")(clip_lengths(x), clip_lengths(y)),
}
"""{name: function(x, y)}: linear CKA, and ways to make it less sensitive to few samples."""

CASES = {"class, 2 radii": ("class", 2), "class, 8 radii": ("class", 8), "outlier, 64 radii": ("outlier", 64)}


def try_remedies(
    layers: Sequence[Layer],
    others: Mapping[str, Sequence[Layer]],
    *,
    remedies: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = REMEDIES,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Apply remedies to translated layers, and to ordinary pairs of models, whose values should not change.

    Parameters
    ----------
    layers : sequence of Layer
        Layers of `load_layer`.
    others : {name: sequence of Layer}
        What each layer is compared with, such as the layer of another seed.
    remedies : {name: function(x, y)}
        The remedies.
    progress : bool or function(done, total)
        A bar that counts pairs, or a function.

    Returns
    -------
    DataFrame
        One row for each model and case (columns "model" and "case"): the cases of CASES, then those of `others`, then
        "permuted", the layer with its images permuted. A column for each remedy.
    """
    rng = np.random.default_rng(0)
    pairs = []
    for k, layer in enumerate(layers):
        n, x = layer.half, layer.x[: layer.half]
        sides = {case: layer.move(*how)[:n] for case, how in CASES.items()}
        sides |= {case: found[k].x[:n] for case, found in others.items()}
        sides["permuted"] = x[rng.permutation(n)]
        pairs += [(layer.model.name, case, x, y) for case, y in sides.items()]
    rows = map_with_progress(
        lambda pair: {name: float(remedy(*pair[2:])) for name, remedy in remedies.items()},
        pairs,
        progress=progress,
        what="remedies",
        unit="pair",
    )
    return pd.DataFrame(
        [{"model": model, "case": case, **row} for (model, case, *_), row in zip(pairs, rows, strict=True)]
    )
