"""Maps and probes next to scikit-learn: the same function minimised, in turn, and the value that each reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import clock

MODELS = ("mnist-cnn-0", "mnist-cnn-1", "fashion-cnn-0", "untrained-cnn-0")
DATA = ("mnist", "fashion", "animals")
SETS = len(MODELS) * len(DATA)
LAYERS = {64: "fc", 432: "conv3", 1568: "conv2"}
TARGETS = {("map", 400): 5.0, ("map", 1000): 10.0, ("probe", 1568): 5.0}  # how many times faster than scikit-learn
TITLES = {
    "map": "SMACOF of {size:,} pictures of MNIST: `embedding.mds` and `smacof(n_init=5)`",
    "probe": (
        "12 linear SVMs on 2,520 rows of {size:,} features of CNNs: `dataset_bias` and `LinearSVC(dual=False)` for each"
        " set"
    ),
}


def distances(n: int) -> np.ndarray:
    """Euclidean distances between pictures of MNIST."""
    from scipy.spatial.distance import pdist, squareform

    import repsim_nb as rs

    return squareform(pdist(np.asarray(rs.load_dataset("mnist", n=n).inputs, float).reshape(n, -1)))


def sources(p: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features of the layer with p features: four models on n images of three data sets, and the set."""
    import repsim_nb as rs

    sets: list[np.ndarray] = []
    for name in DATA:
        images = rs.load_dataset(name, n=n)
        found = rs.record([f"zoo:{model}" for model in MODELS], images, LAYERS[p], progress=False)
        sets += [np.asarray(x, float).reshape(n, -1) for x in found.values()]
    x = np.concatenate(sets)
    spread = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1), np.repeat(np.arange(SETS), n)


def loss(scores: np.ndarray, weights: np.ndarray, true: np.ndarray, cost: float = 0.01) -> float:
    """The mean of the functions that the SVMs minimise; weights with their intercepts."""
    sign = np.where(true[:, None] == np.arange(SETS), 1, -1)
    hinge = (1 - sign * scores).clip(min=0)
    return float(np.mean(np.sum(weights**2, axis=0) / 2 + cost * np.sum(hinge**2, axis=0)))


def map_side(who: str, n: int) -> Any:
    import pandas as pd
    from sklearn.manifold import smacof

    import repsim_nb as rs

    d = distances(n)
    frame = pd.DataFrame(d)

    def theirs() -> float:
        _, raw = smacof(d, n_components=2, n_init=5, max_iter=300, random_state=0, normalized_stress=False)
        return float(np.sqrt(2 * raw / np.sum(d**2)))

    work = theirs if who == "scikit-learn" else lambda: rs.embedding.mds(frame).stress
    return lambda: clock.in_cpu_time(work)


def probe_side(who: str, p: int, n: int = 210) -> Any:
    from sklearn.svm import LinearSVC

    from repsim_nb.results.probes.svm import fit_against_rest

    x, true = sources(p, n)

    def theirs() -> np.ndarray:
        fits = [LinearSVC(C=0.01, dual=False).fit(x, true == k) for k in range(SETS)]
        return np.column_stack([np.append(fit.coef_[0], fit.intercept_) for fit in fits])

    def value() -> float:
        ours = who != "scikit-learn"
        weights = fit_against_rest(x, true, SETS, 0.01, lambda done, total: None) if ours else theirs()
        return loss(x @ weights[:-1] + weights[-1], weights, true)

    return lambda: clock.in_cpu_time(value)


def measure(*, fast: bool, out: Path) -> list[dict[str, Any]]:
    """Both sides of each row in turn."""
    rows = []
    for kind, make, sizes in (("map", map_side, (400, 1000)), ("probe", probe_side, (432, 1568))):
        quick = (40,) if kind == "map" else (64, 12)
        for size in (quick,) if fast else ((one,) for one in sizes):
            sides = {who: clock.Side(make, who, *size) for who in ("repsim_nb", "scikit-learn")}
            rows.append({"kind": kind, "size": size[0], "rows": clock.both_in_turn(sides, TITLES[kind])})
    return rows
