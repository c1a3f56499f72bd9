"""Procrustes distance of populations from moments: unbiased moments, and intervals of distances that are known."""

import itertools
import math

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.measures import UndefinedError
from repsim_nb.results.inference import shape_intervals
from repsim_nb.results.inference.shape_intervals import procrustes_interval

CORRELATIONS = {"unrelated": np.zeros(8), "some in common": np.repeat([0.9, 0.0], [3, 5]), "alike": np.full(8, 0.95)}


def sides(kind, seed, n=64):
    """Two sides of eight features whose cross-covariance has known singular values: the squared distance is known."""
    rng = np.random.default_rng(seed)
    r = CORRELATIONS[kind]
    x = rng.normal(size=(n, 8))
    y = r * x + np.sqrt(1 - r**2) * rng.normal(size=(n, 8))
    return x, y @ np.linalg.qr(np.random.default_rng(7).normal(size=(8, 8)))[0], 2 - 2 * r.sum() / 8


def test_moments_are_means_of_products_along_chains():
    rng = np.random.default_rng(0)
    k, other = (side @ side.T for side in rng.normal(size=(2, 7, 3)))
    found = shape_intervals._moments(shape_intervals._Sides(k, other, 1.0, 3), np.arange(7), 3)
    for power in (1, 2, 3):
        chains = itertools.combinations(range(7), 2 * power)
        products = [
            math.prod((k, other)[step % 2][chain[step], chain[(step + 1) % (2 * power)]] for step in range(2 * power))
            for chain in chains
        ]
        assert found[power - 1] == pytest.approx(np.mean(products), rel=1e-10)


def test_moments_are_those_of_the_population():
    found = []
    for seed in range(200):
        x, y, _ = sides("some in common", seed, n=40)
        prepared = shape_intervals._prepare(x, y, 8)
        unit = math.sqrt(x.var(axis=0, ddof=1).sum() * y.var(axis=0, ddof=1).sum()) / prepared.total
        found.append(shape_intervals._moments(prepared, np.arange(40), 2) * unit ** np.array([2, 4]))
    right = 3 * 0.9 ** np.array([2, 4])
    error = np.std(found, axis=0) / np.sqrt(200)
    assert (np.abs(np.mean(found, axis=0) - right) < 3 * error).all() and (error < 0.1 * right).all()


@pytest.mark.parametrize("kind", CORRELATIONS)
def test_intervals_hold_the_distance_of_the_populations(kind):
    found = []
    for seed in range(12):
        x, y, right = sides(kind, seed)
        interval = procrustes_interval(x, y, moments=3)
        found.append((interval.estimate - right, right in interval, rs.measures.get("procrustes")(x, y) - right))
    off, held, plain = np.mean(found, axis=0)
    assert held == 1, "the bound of the bias is for the worst spectrum"
    assert plain < 0 and (kind == "alike" or abs(off) < abs(plain))
    if kind == "unrelated":
        assert plain < -0.4 and abs(off) < 0.1


def test_the_dial_trades_bias_for_variance():
    covariance = np.diag([0.02, 0.04, 0.1])
    weights, errors = zip(*(shape_intervals._weights(covariance, 8, b) for b in (0.001, 0.1, 1.0, 2.0)), strict=True)
    variances = [w @ covariance @ w for w in weights]
    assert all(a >= b - 1e-6 for a, b in itertools.pairwise(errors)) and errors[0] > errors[-1] + 0.01
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(variances)) and variances[0] < variances[-1]
    # the best approximation of a root without constant, by equal ripples
    grid = np.linspace(0, 1, 101)[1:]
    rest = np.sqrt(grid) - (grid[:, None] ** [1, 2, 3]) @ weights[-1]
    assert np.sum(np.isclose(np.abs(rest), errors[-1], rtol=1e-3)) >= 4


def test_forms_seeds_and_what_is_refused():
    x, y, _ = sides("some in common", 3)
    squared = procrustes_interval(x, y, moments=2)
    root, angle = (procrustes_interval(x, y, moments=2, form=form) for form in ("distance", "angle"))
    assert [root.estimate, root.high] == pytest.approx([math.sqrt(squared.estimate), math.sqrt(squared.high)])
    assert math.cos(angle.low) == pytest.approx(1 - squared.low / 2) and squared.low < squared.estimate < squared.high
    assert procrustes_interval(x, 5 * y + 2, moments=2).estimate == pytest.approx(squared.estimate, abs=1e-9)
    assert procrustes_interval(x, y, moments=2, seed=1).estimate != squared.estimate
    assert procrustes_interval(x, y, moments=2, level=0.5).high < squared.high
    for options, words in (
        ({"moments": 0}, "moments of procrustes_interval"),
        ({"moments": 9}, "at most 8"),
        ({"balance": 0}, "balance of procrustes_interval"),
        ({"level": 1}, "level of procrustes_interval"),
        ({"form": "root"}, "form of procrustes_interval"),
    ):
        with pytest.raises(ValueError, match=words):
            procrustes_interval(x, y, **options)
    with pytest.raises(UndefinedError, match="20 samples are too few: 24 or more"):
        procrustes_interval(x[:20], y[:20], moments=6)
    with pytest.raises(ValueError, match="64"):
        procrustes_interval(x, y[:-1])
    with pytest.raises(UndefinedError, match="constant"):
        procrustes_interval(x, np.ones((64, 2)))
