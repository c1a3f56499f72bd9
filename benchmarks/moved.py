"""How CKA of layers of the zoo changes without a few samples or components, and what helps against outliers.

`python -m benchmarks.moved thresholds 100` (two minutes) prints how far CKA of ordinary pairs of layers changes in the
checks of `rs.reliability.report`: their thresholds come from it. `python -m benchmarks.moved outliers` (six minutes)
moves samples of one layer of a pair far away, and compares ways to a robust value.
"""

import itertools
import sys

import numpy as np
import pandas as pd

import repsim_nb as rs
from repsim_nb.measures.arrays import reduce_features
from repsim_nb.results.reliability.pair_checks import unrelated_value, without_components

MODELS = {
    "mnist": ("mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0", "mnist-mlp-1", "mnist-resnet-0", "mnist-vit-0"),
    "fashion": ("fashion-cnn-0", "fashion-cnn-1", "mnist-cnn-0"),
    "animals": ("mnist-cnn-0", "animals-cnn-0"),
}
UNTRAINED = ("mnist-cnn-0", "mnist-mlp-0", "mnist-vit-0")
PAIRS, RADII = 40, 100
MOVED = {"one image": (1, True), "ten images": (10, True), "50 images": (50, False)}  # number, all in one direction


def layers(name: str, *, untrained: bool = False) -> dict[tuple[bool, str, str], np.ndarray]:
    """Return the layers of the models of a data set, by (untrained, model, layer)."""
    data, found = rs.load_dataset(name), {}
    given = [(False, model, f"zoo:{model}") for model in MODELS[name]]
    given += [(True, model, rs.models.untrained_twin(f"zoo:{model}", seed=0)) for model in UNTRAINED if untrained]
    for twin, model, spec in given:
        for key, x in rs.record(spec, data, progress=False).items():
            found[twin, model, key.layer] = np.asarray(x, dtype=float).reshape(len(data), -1)
    return found


def thresholds(n: int) -> pd.DataFrame:
    """Return quantiles of the changes of CKA in ordinary pairs of layers."""
    rows = []
    for name in MODELS:
        every = layers(name, untrained=name == "mnist")
        places = np.linspace(0, len(next(iter(every.values()))) - 1, n).astype(int)
        some = {key: reduce_features(x[places]) for key, x in every.items()}
        for one, other in itertools.combinations(some, 2):
            x, y = some[one], some[other]
            left, rest = rs.reliability.leave_out("cka", x, y, groups=range(n)), without_components(x, y)[0]
            clipped = [rs.reliability.clip_lengths(side) for side in (x, y)]
            rise = rs.measures.get("cka")(*clipped) - unrelated_value(*clipped) - left.value + unrelated_value(x, y)
            kind = "both untrained" if one[0] and other[0] else "one or both trained"
            rows.append((kind, left.change, rest - left.value, rest / left.value, rise))
    table = pd.DataFrame(rows, columns=["models", "without 1 %", "without components", "ratio", "clipped"])
    return table.groupby("models").describe(percentiles=[0.01, 0.5, 0.99]).T


def values(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the values of a pair by all ways."""
    cka, found = rs.measures.get("cka"), rs.reliability.diagnose(x, y, groups=range(len(x)))
    rows = found.outliers
    left = rs.reliability.leave_out("cka", x, y, groups=range(len(x)))
    clipped = (rs.reliability.clip_lengths(side) for side in (x, y))
    ways = {
        "cka": left.value,
        "cka without outliers": cka(np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)),
        "leave_out, high": left.high,
        "cka of clip_lengths": cka(*clipped),
    }
    return ways | {name: rs.measures.get(name)(x, y) for name in ("cka_debiased", "rsa", "mutual_knn")}


def outliers() -> pd.DataFrame:
    """Return the mean and the worst change of each value after samples of one side were moved."""
    rng, rows = np.random.default_rng(0), {}
    every = {key: x for key, x in layers("mnist").items() if x.shape[1] <= 1100}
    pairs = list(itertools.combinations(every, 2))
    for k in rng.choice(len(pairs), PAIRS, replace=False):
        x, y = (every[key] for key in pairs[k])
        before = values(x, y)
        rows["nothing moved", k] = {name: value - before["cka"] for name, value in before.items()}
        for what, (number, together) in MOVED.items():
            moved, some = x.copy(), rng.choice(len(x), number, replace=False)
            steps = rng.normal(size=(1 if together else number, x.shape[1]))
            steps /= np.linalg.norm(steps, axis=1, keepdims=True)
            moved[some] += RADII * np.sqrt(x.var(axis=0).sum()) * steps
            rows[what, k] = {name: value - before[name] for name, value in values(moved, y).items()}
    table = pd.DataFrame(rows).T
    return pd.concat({how: getattr(table.groupby(level=0), how)() for how in ("mean", "min", "max")}).T


if __name__ == "__main__":
    asked = sys.argv[1:]
    table = thresholds(int(asked[1])) if asked[:1] == ["thresholds"] else outliers()
    print(table.round(3).to_string())
