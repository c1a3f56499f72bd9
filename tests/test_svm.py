"""Support vector machines that are fitted together: the function of liblinear, its minimum, and every way to it."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from repsim_nb.results.probes import svm
from repsim_nb.results.probes.features import reduce
from repsim_nb.results.probes.svm import fit_against_rest

COST = 0.1


def quiet(done, total):
    pass


def rows(rng, n=150, p=20, classes=4):
    true = np.arange(n) % classes
    return rng.normal(size=(n, p)) + 1.5 * rng.normal(size=(classes, p))[true], true


def value(weights, x, true, cost):
    """The function of each class, with the intercept among the weights."""
    sign = np.where(true[:, None] == np.arange(weights.shape[1]), 1, -1)
    loss = np.maximum(0, 1 - sign * (x @ weights[:-1] + weights[-1])) ** 2
    return np.sum(weights**2, axis=0) / 2 + cost * loss.sum(axis=0)


@pytest.mark.parametrize("cost", [1e-3, 0.1, 30.0])
@pytest.mark.parametrize("shape", [(150, 20), (400, 5), (60, 59)])
def test_it_is_the_minimum_that_liblinear_finds(shape, cost, rng):
    x, true = rows(rng, *shape)
    ours = fit_against_rest(x, true, 4, cost, quiet)
    for k in range(4):
        theirs = LinearSVC(C=cost, dual=False, tol=1e-9, max_iter=20000).fit(x, true == k)
        other = np.r_[theirs.coef_[0], theirs.intercept_]
        assert np.linalg.norm(ours[:, k] - other) < 2e-4 * np.linalg.norm(other)


@pytest.mark.parametrize("way", ["products", "direct", "conjugate gradients"])
@pytest.mark.parametrize("scale", [1.0, 0.01, 300.0])
def test_every_way_to_solve_ends_at_the_minimum(way, scale, rng, monkeypatch):
    monkeypatch.setattr(svm, "MOST_PRODUCTS", 4000 if way == "products" else 0)
    monkeypatch.setattr(svm, "CONJUGATE_STEPS", -1e9 if way == "conjugate gradients" else 1e9)
    x, true = rows(rng, 120, 40)
    x = x * np.geomspace(1, 30, 40) * scale  # unequal features, as without scaling
    weights = fit_against_rest(x, true, 4, COST, quiet)
    sign = np.where(true[:, None] == np.arange(4), 1, -1)
    rows_of_ones = np.column_stack([x, np.ones(len(x))])
    slope = weights - 2 * COST * rows_of_ones.T @ (sign * (1 - sign * (rows_of_ones @ weights)).clip(min=0))
    assert (np.linalg.norm(slope, axis=0) <= 1.1e-4 * np.linalg.norm(weights, axis=0)).all()
    near = [weights * (1 + change) for change in (-1e-3, 1e-3)]
    assert all((value(weights, x, true, COST) < value(other, x, true, COST)).all() for other in near)


@pytest.mark.filterwarnings("ignore:the SVMs of")
@pytest.mark.parametrize("size", [1e-9, 1e9])
def test_huge_and_tiny_features_do_not_fail(size, rng):
    x, true = rows(rng, 120, 40)
    x[:, 20:] = x[:, :20]
    assert np.isfinite(fit_against_rest(x * size, true, 4, COST, quiet)).all()


def test_a_row_alone_in_its_class_and_constant_features(rng):
    x, true = rows(rng, 80, 6, 2)
    x[:, 2], true[7] = 5.0, 2
    ours = fit_against_rest(x, true, 3, COST, quiet)
    theirs = LinearSVC(C=COST, dual=False, tol=1e-9, max_iter=20000).fit(x, true == 2)
    assert np.allclose(ours[:, 2], np.r_[theirs.coef_[0], theirs.intercept_], atol=1e-5)


def test_classes_that_do_not_converge_are_announced(rng, monkeypatch):
    monkeypatch.setattr(svm, "MOST_STEPS", 1)
    with pytest.warns(UserWarning, match="did not converge in 1 steps. Use scaling or a smaller cost"):
        fit_against_rest(*rows(rng), 4, 30.0, quiet)


def test_progress_ends_the_work(rng):
    class Enough(Exception):
        pass

    def tick(done, total):
        assert 0 <= done <= total == 4
        raise Enough

    with pytest.raises(Enough):
        fit_against_rest(*rows(rng), 4, COST, tick)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_reduction_keeps_all_products_between_rows(copies, rng):
    fit, test = np.tile(rng.normal(size=(30, 90)), (copies, 1)), rng.normal(size=(12, 90))
    fit -= fit.mean(axis=0)
    a, b = reduce(fit, test)
    assert a.shape[1] <= len(fit) and a.shape[1] == b.shape[1] <= 30
    assert np.allclose(a @ a.T, fit @ fit.T) and np.allclose(a @ b.T, fit @ test.T)
    narrow = reduce(fit[:, :20], test[:, :20])
    assert narrow[0].shape == (len(fit), 20)
