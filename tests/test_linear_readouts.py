"""Linear predictivity by its definition, fold by fold, against the three ways in which tables compute it."""

import numpy as np
import pytest
import torch

from repsim_nb.measures import LinearPredictivity
from repsim_nb.measures import linear_readouts as readouts


def by_definition(x, y, folds=5, ridge=None, predict="y"):
    """R² of maps that are fitted in each fold by a decomposition of its own."""
    x, y = (side.astype(float) - side.astype(float).mean(0) for side in ((x, y) if predict == "y" else (y, x)))
    place, missed, total = np.arange(len(x)) % (folds or 1), 0.0, 0.0
    for fold in range(folds or 1):
        tested = place == fold
        fitted = ~tested if folds else tested
        start, end = x[fitted].mean(0), y[fitted].mean(0)
        u, s, vt = np.linalg.svd(x[fitted] - start, full_matrices=False)
        kept = s > 1e-7 * np.linalg.norm(x)
        u, s, vt = u[:, kept], s[kept], vt[kept]
        penalty = ridge * np.mean(s * s) if ridge else 0.0
        weights = vt.T @ ((s / (s * s + penalty))[:, None] * (u.T @ (y[fitted] - end)))
        missed += ((y[tested] - end - (x[tested] - start) @ weights) ** 2).sum()
        total += ((y[tested] - end) ** 2).sum()
    return 1 - missed / total


def sides(n=62):
    """{label: side}: one for each way, and what is hard for one."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 6))

    def related(p):
        return z @ rng.normal(size=(6, p)) + 0.5 * rng.normal(size=(n, p))

    lonely = np.zeros((n, 1))
    lonely[[0, 5]] = 7.3  # both in the first fold
    return {
        "few": related(9),
        "half": related(36),
        "nearly n": related(n - 6),
        "n - 1": related(n - 1),
        "wide": related(90),
        "linear map": z @ rng.normal(size=(6, 20)),
        "twice": np.hstack([z, z]),
        "lonely": np.hstack([z, lonely]),
        "faint": np.hstack([z, lonely + 1e-4 * rng.normal(size=(n, 1))]),
    }


OPTIONS = [
    {},
    {"predict": "x"},
    {"folds": 2},
    {"folds": 7},
    {"folds": None},
    {"ridge": 0.1},
    {"ridge": 3.0, "folds": 3, "predict": "x"},
    {"ridge": 0.1, "folds": None},
]


@pytest.mark.parametrize(
    ("options", "library"),
    [*((options, "numpy") for options in OPTIONS), ({}, "torch"), ({"ridge": 0.1}, "torch"), ({"folds": 2}, "torch")],
    ids=str,
)
def test_a_table_is_its_definition(options, library):
    xs = sides()
    if "folds" in options and options["folds"] is None and "ridge" not in options:
        xs = {name: x for name, x in xs.items() if name not in ("n - 1", "wide")}  # refused: R² is 1 whatever the data
    given = xs if library == "numpy" else {name: torch.from_numpy(x) for name, x in xs.items()}
    measure = LinearPredictivity(**options)
    expected = np.array([[by_definition(x, y, **options) for y in xs.values()] for x in xs.values()])
    values = measure.table(given).values
    assert np.all(np.abs(values - expected) < 1e-10 * np.maximum(1, np.abs(expected)))
    assert values.max() <= 1
    some = ["few", "half", "nearly n", "lonely"]
    rows = values[[list(xs).index(name) for name in some]]
    two_sides = measure.table({name: given[name] for name in some}, given).values  # one side is only predicted
    assert np.all(np.abs(two_sides - rows) < 1e-10 * np.maximum(1, np.abs(rows)))


def test_each_way_is_taken():
    measure, xs = LinearPredictivity(), sides()
    ways = {name: type(measure.prepare(x).how).__name__ for name, x in xs.items()}
    assert ways == {
        **dict.fromkeys(("few", "linear map", "twice"), "ByFeatures"),
        **dict.fromkeys(("half", "nearly n", "n - 1", "wide"), "BySamples"),
        **dict.fromkeys(("lonely", "faint"), "ByFold"),
    }
    assert type(LinearPredictivity(folds=None).prepare(xs["few"]).how) is readouts.InSample


def test_reordered_samples_are_prepared_samples_in_that_order():
    options = {"folds": None, "ridge": 0.1}
    measure, xs = LinearPredictivity(**options), sides()
    order = np.random.default_rng(1).permutation(62)
    source = measure.prepare(xs["few"])
    for name, x in xs.items():
        reordered = measure.permute(measure.prepare(x), order)
        for a, b in ((source, reordered), (reordered, source)):
            sample = (xs["few"], x[order]) if a is source else (x[order], xs["few"])
            assert measure.pair(a, b) == pytest.approx(by_definition(*sample, **options), abs=1e-10), name


def test_an_exact_map_is_predicted_without_loss_of_digits():
    rng = np.random.default_rng(0)
    for p in (9, 36, 45):  # few features, many, many that the fitted samples just determine
        x = rng.normal(size=(62, p))
        values = LinearPredictivity().table({"x": x, "map": x @ rng.normal(size=(p, 4)) + 5}).values
        assert abs(values[0] - 1).max() < 1e-12
