"""Transform a representation and compare it with itself: the data of the lesson on measures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import PrincipalComponents, fewest_components

Transformation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _draw_rotation(p: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


def _stretch(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Units mixed and stretched unequally, up to 10 times: any invertible linear map."""
    return (
        x @ _draw_rotation(x.shape[1], rng) @ np.diag(np.geomspace(1, 10, x.shape[1])) @ _draw_rotation(x.shape[1], rng)
    )


def _add_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Independent noise of the same variance as the activations have on average."""
    return x + rng.normal(size=x.shape) * x.std(axis=0).mean()


def _move_sample(x: np.ndarray, distance: float = 30.0) -> np.ndarray:
    """Move the first sample away, by so many times the typical length of a centred sample [Davari et al. 2023]."""
    x = x.copy()
    away = x[0] - x.mean(axis=0)
    x[0] += distance * np.linalg.norm(x - x.mean(axis=0), axis=1).mean() * away / np.linalg.norm(away)
    return x


def take_leading_components(x: np.ndarray, fraction: float) -> np.ndarray:
    """Take the fewest leading principal components with this fraction of the variance; delete the others."""
    components = PrincipalComponents(x)
    return components.leading(fewest_components(components.s, fraction))


TRANSFORMATIONS: dict[str, Transformation] = {
    "permute units": lambda x, rng: x[:, rng.permutation(x.shape[1])],
    "rotate": lambda x, rng: x @ _draw_rotation(x.shape[1], rng),
    "scale × 2.7": lambda x, rng: 2.7 * x,
    "shift": lambda x, rng: x + 3 * x.std() * rng.normal(size=x.shape[1]),
    "stretch": _stretch,
    "add noise": _add_noise,
    "move one sample": lambda x, rng: _move_sample(x),
    "keep 90 % of variance": lambda x, rng: take_leading_components(x, 0.9),
    "shuffle samples": lambda x, rng: x[rng.permutation(len(x))],
}


def apply_measures(
    x: np.ndarray,
    names: Iterable[str],
    transformations: Mapping[str, Transformation] = TRANSFORMATIONS,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare x with x transformed: a row a measure, a column a transformation; missing if a measure has no value.

    x: (samples, features). "shuffle samples" is the chance level: the same numbers in another order.
    """
    x = np.asarray(x)  # without ids, which would refuse another order
    changed = {name: change(x, np.random.default_rng(seed)) for name, change in transformations.items()}
    return pd.DataFrame({name: _row(measures.get(name), x, changed) for name in names}).T.rename_axis(
        index="measure", columns="transformation"
    )


def _row(measure: Measure, x: np.ndarray, changed: Mapping[Any, np.ndarray]) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = measure.table({"x": x}, changed, on_undefined="mask").values[0]
    return pd.Series(values, index=list(changed))


def trace_measures(
    x: np.ndarray, names: Iterable[str], change: Callable[[np.ndarray, float], np.ndarray], amounts: Sequence[float]
) -> pd.DataFrame:
    """Compute each measure's dissimilarity of x and change(x, amount): a row an amount, a column a measure."""
    changed = {amount: change(x, amount) for amount in amounts}
    rows = {name: measures.get(name).dissimilarity(_row(measures.get(name), x, changed)) for name in names}
    return pd.DataFrame(rows).rename_axis(index="amount", columns="measure")
