"""Points of least stress: the function and its gradient, the starts, the jumps, and maps on the way."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.manifold import smacof

from repsim_nb.results.embedding import mds
from repsim_nb.results.embedding.layout import classical_points, stress_of
from repsim_nb.results.embedding.smacof import Stress, descend, fit_size, jump, place


def frame(d):
    return pd.DataFrame(d)


def table(rng, n=120, p=6):
    return squareform(pdist(rng.normal(size=(n, p))))


def ignore(points):
    pass


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_value_is_the_squared_stress_and_the_gradient_its_slope(k, dtype, rng):
    d, points = table(rng), rng.normal(size=(120, k))
    value, slope = Stress(d, dtype)(points)
    exact = dtype == np.float64
    assert np.isclose(value, stress_of(points, d) ** 2, rtol=1e-12 if exact else 1e-5)
    fine = Stress(d, np.float64)
    expected = approx_fprime(points.ravel(), lambda flat: fine(flat.reshape(-1, k))[0], 1e-7)
    assert np.allclose(slope.ravel(), expected, atol=1e-7 if exact else 2e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_on_one_spot_have_a_finite_slope(dtype, rng):
    d = table(rng)
    points = rng.normal(size=(120, 2))
    points[60:] = points[0]
    value, slope = Stress(d, dtype)(points)
    assert np.isfinite(value) and np.isfinite(slope).all()
    assert np.isclose(value, stress_of(points, d) ** 2, rtol=1e-3)


def test_items_that_are_copies_lie_on_one_spot(rng):
    x = np.repeat(rng.normal(size=(60, 5)), 3, axis=0)
    found = mds(frame(squareform(pdist(x)))).points.to_numpy().reshape(60, 3, 2)
    assert np.abs(found - found[:, :1]).max() < 1e-5


def test_the_leading_axes_are_those_of_all_eigenvectors(rng):
    d = table(rng, 230)
    points, eigenvalues = classical_points(d, 3)
    centre = np.eye(230) - 1 / 230
    every, vectors = np.linalg.eigh(-0.5 * centre @ d**2 @ centre)
    expected = (vectors * np.sqrt(every.clip(min=0)))[:, ::-1][:, :3]
    assert np.allclose(np.abs(points), np.abs(expected), atol=1e-9)
    assert np.allclose(eigenvalues, np.where(np.abs(every) < 1e-12 * every.max(), 0, every), atol=1e-10)


def test_repeated_eigenvalues_give_as_many_axes():
    """All eigenvalues of a simplex are equal, but the one of the constant vector."""
    points, _ = classical_points(1 - np.eye(240), 4)
    assert np.allclose(points.T @ points, np.eye(4) / 2, atol=1e-10)


def test_the_stress_is_at_most_that_of_many_starts_of_scikit_learn(rng):
    for d in (table(rng, 90, 10), table(rng, 40, 3)):
        _, raw = smacof(d, n_init=4, max_iter=200, eps=1e-6, random_state=0, normalized_stress=False)
        assert mds(frame(d)).stress <= np.sqrt(2 * raw / np.sum(d**2)) + 1e-9


def test_a_point_in_a_wrong_valley_jumps_out_of_it(rng):
    """On a line, no descent takes a point past another one."""
    right = rng.normal(size=(80, 1))
    d, wrong = cdist(right, right), right.copy()
    wrong[right.argmax()] = 1.1 * right.min()
    stress = Stress(d, np.float64)
    stuck = descend(stress, wrong, 500, 1e-12, ignore)
    assert stress(stuck)[0] > 1e-3
    seen = []
    assert stress(jump(stress, stuck, d, ignore, seen.append))[0] < 1e-8
    assert seen


def test_points_are_placed_near_their_best_place(rng):
    points = rng.normal(size=(70, 2))
    assert np.abs(place(points[:60], cdist(points[60:], points[:60])) - points[60:]).max() < 0.1


def test_the_best_size_has_the_lowest_stress(rng):
    d, points = table(rng, 20), rng.normal(size=(20, 2))
    best = fit_size(points, d)
    assert all(stress_of(best, d) <= stress_of(best * scale, d) for scale in (0.9, 0.99, 1.01, 1.1))
    assert not fit_size(np.zeros((20, 2)), d).any()


def test_maps_on_the_way_begin_with_the_classical_one_and_get_better(rng, monkeypatch):
    monkeypatch.setattr("repsim_nb.results.embedding.maps.BETWEEN_MAPS", 0.0)
    d, seen = frame(table(rng, 260, 8)), []
    last = mds(d, watch=seen.append)
    assert seen[0].points.equals(mds(d, kind="classical").points) and seen[0].kind == "classical"
    assert {one.kind for one in seen[1:]} == {"smacof"} and seen[1].stress < seen[0].stress
    assert last.stress <= min(one.stress for one in seen) + 1e-9
    assert last.points.equals(mds(d).points), "to watch changes nothing"
    alone = []
    mds(d, kind="classical", watch=alone.append)
    assert not alone


def test_an_error_of_the_watching_function_ends_the_work(rng):
    def enough(found):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        mds(frame(table(rng, 20)), watch=enough)


@pytest.mark.parametrize("k", [1, 3, 4, 11])
def test_any_number_of_dimensions(k, rng):
    d = table(rng, 12, 14)
    assert mds(frame(d), k).stress <= mds(frame(d), k, kind="classical").stress
